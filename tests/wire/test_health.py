"""Is /health answered without waiting for upstream?"""

from __future__ import annotations

import pytest
from twisted.internet import error

from tests.wire.pair import Wire


def test_health_does_not_wait(fresh: Wire) -> None:
    """/health answers at once, whatever upstream does, with what was seen of it last."""
    fresh.passes(1.1)
    client = fresh.client()
    client.gets("/health")
    assert client.answer.status == 200
    assert client.answer.json["status"] == "ok"
    assert client.answer.json["upstream"]["reachable"] is False, "as it was at the start"
    (upstream,) = fresh.asked
    assert upstream.request.target == b"/health"
    client.gets("/health")
    assert len(fresh.connections) == 1, "one look at a time"
    upstream.tells({"status": "ok"})
    client.gets("/health")
    assert client.answers[-1].json["upstream"] == {
        "url": "http://127.0.0.1:11433",
        "reachable": True,
        "detail": "ready",
        "seconds_ago": 0.0,
    }


@pytest.mark.parametrize(("status", "detail"), [(503, "still loading its model"), (404, "answers 404")])
def test_health_of_an_upstream_that_is_not_ready(fresh: Wire, status: int, detail: str) -> None:
    """An upstream that is there and not ready is reachable, and is told as what it says."""
    fresh.passes(1.1)
    fresh.client().gets("/health")
    fresh.asked[0].tells({}, status)
    client = fresh.client()
    client.gets("/health")
    assert client.answer.json["upstream"]["reachable"] is True
    assert client.answer.json["upstream"]["detail"] == detail


def test_health_of_an_upstream_that_is_away(fresh: Wire) -> None:
    """An upstream that cannot be reached is told with the reason; it is looked at anew after a second."""
    fresh.refusal = error.ConnectionRefusedError()
    fresh.passes(1.1)
    client = fresh.client()
    client.gets("/health")
    client.gets("/health")
    assert client.answers[-1].json["upstream"]["reachable"] is False
    assert "is it running?" in client.answers[-1].json["upstream"]["detail"]
    assert client.answers[-1].json["status"] == "ok"
    fresh.refusal = None
    client.gets("/health")
    assert fresh.connections == []
    fresh.passes(1.1)
    client.gets("/health")
    assert len(fresh.connections) == 1


def test_health_of_an_upstream_that_says_nothing(fresh: Wire) -> None:
    """A look at upstream is given up after five seconds."""
    fresh.passes(1.1)
    client = fresh.client()
    client.gets("/health")
    (upstream,) = fresh.asked
    fresh.passes(5.1)
    assert upstream.closed
    client.gets("/health")
    assert client.answers[-1].json["upstream"]["reachable"] is False
