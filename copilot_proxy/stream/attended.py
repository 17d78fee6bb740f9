"""How a stream reaches a client of Copilot's: kept alive while it is silent, made right, and ended once.

Such a client gets its 200 at the latest after 3 s, and everything that happens then inside the stream: what
upstream sends goes through a guard, and a failure becomes the guard's terminal.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import cast

from attrs import frozen
from twisted.internet.interfaces import IProtocol, IReactorTime
from twisted.web.iweb import IResponse
from twisted.web.server import Request

from ..errors import BrokenAnswer, ProxyError
from ..exchange import Exchange
from .guard import Guard
from .heartbeat import Heartbeat
from .relay import MAX_EVENT, EventRelay, begin


@frozen
class Answered:
    """Upstream's answer; `body` is what was read of it already, None where it is still to be delivered."""

    response: IResponse
    body: bytes | None = None


class GuardedRelay(EventRelay):
    """What the guard makes of upstream's events goes to the client, and its terminal at the end.

    The end is a clean one, also after a failure: the guard has said in the stream that the answer is not
    whole, and a client that sees the connection break may throw away what it has not read yet.
    """

    def __init__(
        self,
        request: Request,
        exchange: Exchange,
        now: Callable[[], float],
        lost: Callable[[], ProxyError],
        guard: Guard,
        heartbeat: Heartbeat,
    ) -> None:
        super().__init__(request, exchange, now, lost)
        self._guard = guard
        self._heartbeat = heartbeat

    def _send(self, data: bytes) -> None:
        if self._inside_event:  # a piece of one that is not kept whole, and that nobody could judge
            out = self._guard.fail(
                BrokenAnswer(f"llama-server sent an event of more than {MAX_EVENT} bytes in its answer")
            )
        else:
            out = self._guard.feed(data)
        if out:
            self._heartbeat.heard()
            super()._send(out)
        if self._guard.finished:
            self._heartbeat.stop()  # nothing may stand behind [DONE], however late upstream ends its body

    def _end(self, whole: bool) -> None:
        if whole:
            self._flush()
            last = self._guard.end()
        else:
            last = self._guard.fail(self._lost())
        self._exchange.failure = self._guard.failure
        super()._send(last)
        self.finished.callback(None)


async def attend(
    answer: Awaitable[Answered],
    request: Request,
    exchange: Exchange,
    clock: IReactorTime,
    lost: Callable[[], ProxyError],
    refused: Callable[[Answered], Awaitable[ProxyError]],
    guard: Guard,
) -> Answered | None:
    """Wait for upstream's answer and stream it; what is no stream and came in time is returned untouched.

    Raises what `answer` raises while the client has no head yet. `refused` reads the error out of an answer
    that is no stream, for a client that already has its 200. Cancelling closes upstream. The caller finishes
    the request.
    """
    heartbeat = Heartbeat(clock, lambda: begin(request), request.write)
    heartbeat.start(exchange.started)
    try:
        try:
            answered = await answer
            if answered.response.code != 200:
                if not heartbeat.began:
                    return answered
                raise await refused(answered)
        except ProxyError as e:
            if not heartbeat.began:
                raise
            exchange.failure = e
            request.write(guard.fail(e))
            return None
        heartbeat.answered()
        body = GuardedRelay(request, exchange, clock.seconds, lost, guard, heartbeat)
        answered.response.deliverBody(cast(IProtocol, body))
        await body.finished
    finally:
        heartbeat.stop()
    return None
