"""How long does a chat wait for llama-server to read its model?"""

from __future__ import annotations

from typing import Final

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from . import errors
from .journal import Journal
from .upstream.client import Upstream

# Seconds between two looks whether it has.
_LOOK: Final = 1.0
_PATIENCE: Final = 10.0


class Loading:
    """Waits for `upstream`; `timeout` is how many seconds one chat waits in all."""

    def __init__(self, upstream: Upstream, journal: Journal, clock: IReactorTime, timeout: float) -> None:
        self._upstream = upstream
        self._journal = journal
        self._clock = clock
        self._timeout = timeout

    def deadline(self) -> float:
        """The time of the clock until which a chat waits that comes now."""
        return self._clock.seconds() + self._timeout

    async def wait(self, deadline: float) -> None:
        """Return when the model is loaded, as /health tells; raises UpstreamLoading at the deadline."""
        self._journal.waits()
        status = 503
        while status == 503:
            if self._clock.seconds() >= deadline:
                raise errors.UpstreamLoading(
                    f"llama-server at {self._upstream.shown} is still loading its model after "
                    f"{self._timeout:g} s; --load-timeout sets how long to wait"
                )
            await deferLater(self._clock, _LOOK)
            try:
                status, _ = await self._upstream.fetch(b"GET", b"/health", timeout=_PATIENCE)
            except errors.UpstreamSlow:
                pass  # it is busy with its model, and --load-timeout is the limit for that
