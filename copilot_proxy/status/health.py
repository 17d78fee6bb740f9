"""Whether upstream answers, known without asking it while somebody waits."""

from __future__ import annotations

from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from .. import __version__, errors
from ..upstream.client import Upstream

# Seconds. A look is begun when somebody asks and the last one is older than this; who asks gets the last one.
_FRESH: Final = 1.0
_PATIENCE: Final = 5.0


class Health:
    """What /health says. Upstream's own /health is asked in the background."""

    log = Logger()

    def __init__(self, upstream: Upstream, clock: IReactorTime) -> None:
        self._upstream = upstream
        self._clock = clock
        self._looked: float | None = None
        self._looking: Deferred[None] | None = None
        self._told: dict[str, Any] = {"reachable": None, "detail": "not asked yet"}

    def document(self) -> dict[str, Any]:
        """The proxy's state and, as of the last look, upstream's; before the first, `reachable` is null.

        `seconds_ago` is the age of that look. A stale one makes who asks next see a new one.
        """
        age = self._age()
        if self._looking is None and (age is None or age > _FRESH):
            self.look()
        return {
            "status": "ok",
            "version": __version__,
            "upstream": {
                "url": self._upstream.shown,
                **self._told,
                "seconds_ago": self._age(),
            },
        }

    def _age(self) -> float | None:
        return None if self._looked is None else round(self._clock.seconds() - self._looked, 1)

    def look(self) -> Deferred[None]:
        """Ask upstream now; fires when it is known, and never fails."""
        self._looking = looking = Deferred.fromCoroutine(self._look())
        if looking.called:
            self._looking = None
        return looking

    async def _look(self) -> None:
        try:
            status, _ = await self._upstream.fetch(b"GET", b"/health", timeout=_PATIENCE)
            told: dict[str, Any] = {"reachable": True, "detail": _DETAILS.get(status, f"answers {status}")}
        except errors.UpstreamError as e:
            told = {"reachable": False, "detail": e.message}
        except Exception as e:
            self.log.failure("a defect of copilot-proxy", Failure())
            told = {"reachable": False, "detail": f"its answer cannot be read: {e}"}
        self._told = told
        self._looked = self._clock.seconds()
        self._looking = None


_DETAILS: Final = {200: "ready", 503: "still loading its model"}
