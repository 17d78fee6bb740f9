"""Does a look at upstream end, also where it is known at once?"""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from copilot_proxy.errors import UpstreamRefused
from copilot_proxy.status.health import Health
from copilot_proxy.upstream.client import Upstream


class Refused:
    """An upstream that refuses in the same turn in which it is asked, as a child process that ended does."""

    shown = "demo:"

    def __init__(self) -> None:
        self.asked = 0

    async def fetch(self, *_: Any, **__: Any) -> tuple[int, bytes]:
        self.asked += 1
        raise UpstreamRefused("it ended")


def test_refused_at_once() -> None:
    """A look that ends in the turn in which it began is one look, and the next one is begun in its time."""
    clock, upstream = Clock(), Refused()
    health = Health(cast(Upstream, upstream), clock)
    assert health.document()["upstream"] == {
        "url": "demo:",
        "reachable": False,
        "detail": "it ended",
        "seconds_ago": 0.0,
    }
    health.document()
    assert upstream.asked == 1
    clock.advance(1.1)
    health.document()
    assert upstream.asked == 2


class Silent:
    """An upstream that takes the question and says nothing."""

    shown = "http://gpu:1"

    async def fetch(self, *_: Any, **__: Any) -> tuple[int, bytes]:
        return await Deferred()


def test_before_the_first_answer() -> None:
    """Until upstream has answered for the first time, the proxy is not ready; a probe waits three seconds."""
    clock = Clock()
    health = Health(cast(Upstream, Silent()), clock)
    told = Deferred.fromCoroutine(health.obstacle())
    clock.advance(2.9)
    assert not told.called
    clock.advance(0.2)
    assert told.result == "llama-server at http://gpu:1 has not answered yet: ask again in a moment"
