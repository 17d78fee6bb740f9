"""Whether upstream answers, known without asking it while somebody waits."""

from __future__ import annotations

from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as TookTooLong
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from .. import __version__, errors
from ..upstream.client import Upstream

# Seconds. A look is begun when somebody asks and the last one is older than this; who asks gets the last one.
_FRESH: Final = 1.0
_PATIENCE: Final = 5.0
# Seconds that a probe waits for a look; then it gets the last one. Kubernetes waits for 1 s unless told
# otherwise, and takes silence for a no.
_PROBE: Final = 3.0


class Health:
    """What /health says, and /health/ready. Upstream's own /health is asked in the background."""

    log = Logger()

    def __init__(self, upstream: Upstream, clock: IReactorTime) -> None:
        self._upstream = upstream
        self._clock = clock
        self._looked: float | None = None
        self._looking: Deferred[None] | None = None
        self._waiting: list[Deferred[None]] = []
        self._told: dict[str, Any] = {"reachable": None, "detail": "not asked yet"}
        self._obstacle: str | None = (
            f"llama-server at {upstream.shown} has not answered yet: ask again in a moment"
        )
        self.draining = False
        """The proxy is being stopped, and takes no new connections."""

    def document(self) -> dict[str, Any]:
        """The proxy's state and, as of the last look, upstream's; before the first, `reachable` is null.

        `seconds_ago` is the age of that look. A stale one makes who asks next see a new one.
        """
        self._look_again()
        return {
            "status": "ok",
            "version": __version__,
            "draining": self.draining,
            "upstream": {
                "url": self._upstream.shown,
                **self._told,
                "seconds_ago": self._age(),
            },
        }

    async def obstacle(self) -> str | None:
        """Why a request now would not be answered, and what to do; None where nothing stands in its way.

        Waits up to three seconds for a look that is not older than one.
        """
        if self.draining:
            return "copilot-proxy is being stopped: ask another one, or this one when it is back"
        self._look_again()
        if self._looking is not None:
            seen: Deferred[None] = Deferred()
            self._waiting.append(seen)
            try:
                await seen.addTimeout(_PROBE, self._clock)
            except TookTooLong:
                pass
        return self._obstacle

    def _look_again(self) -> None:
        age = self._age()
        if self._looking is None and (age is None or age > _FRESH):
            self.look()

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
            loading = status == 503
        except errors.UpstreamError as e:
            told, loading = {"reachable": False, "detail": e.message}, False
        except Exception as e:
            self.log.failure("a defect of copilot-proxy", Failure())
            told, loading = {"reachable": False, "detail": f"its answer cannot be read: {e}"}, False
        self._told = told
        self._obstacle = None if told["reachable"] else told["detail"]
        if loading:
            self._obstacle = f"llama-server at {self._upstream.shown} is still loading its model: wait for it"
        self._looked = self._clock.seconds()
        self._looking = None
        waiting, self._waiting = self._waiting, []
        for seen in waiting:
            if not seen.called:
                seen.callback(None)


_DETAILS: Final = {200: "ready", 503: "still loading its model"}
