"""How does an answer reach a client that must be told everything: kept alive, made right, and ended once?

Where it has a stream, the client gets its 200 at the latest after 3 s, and everything that happens then
inside the stream: what upstream sends goes through a machine, and a failure becomes the machine's terminal.
Where it has none, the machine collects the answer, and a failure still has a status.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, cast

from attrs import frozen
from twisted.internet.interfaces import IProtocol, IReactorTime
from twisted.web.iweb import IResponse
from twisted.web.server import Request

from ..errors import BrokenAnswer, ProxyError
from ..exchange import Exchange
from .heartbeat import Heartbeat
from .relay import MAX_EVENT, EventRelay, begin


@frozen
class Answered:
    """Upstream's answer; `body` is what was read of it already, None where it is still to be delivered."""

    response: IResponse
    body: bytes | None = None


class Machine(Protocol):
    """What turns upstream's events into what the client reads: a Guard, or an answer of Ollama's."""

    failure: ProxyError | None
    """Why the answer is none that the client could use."""

    @property
    def finished(self) -> bool:
        """The terminal has left; whatever comes later is dropped."""

    def feed(self, events: bytes, /) -> bytes:
        """What the client gets for one or more whole events."""

    def fail(self, error: ProxyError, /) -> bytes:
        """What the client gets when upstream broke off."""


class StreamMachine(Machine, Protocol):
    """One whose client reads while the answer comes."""

    @property
    def content_type(self) -> bytes:
        """What the head says of the stream."""

    def heartbeat(self) -> bytes:
        """What the client gets where nothing else came for long."""

    def end(self) -> bytes:
        """The terminal, where none has left."""


class GuardedRelay(EventRelay):
    """What a machine makes of upstream's events goes to the client.

    `finished` fires whenever upstream's body has ended, after a failure too: the client's end is a clean one,
    since the machine has told the failure, and a client that sees the connection break may throw away what it
    has not read yet. The terminal of an answer that came to its end is left to who waits for it.
    """

    def __init__(
        self,
        request: Request,
        exchange: Exchange,
        now: Callable[[], float],
        lost: Callable[[], ProxyError],
        machine: Machine,
        heartbeat: Heartbeat | None = None,
    ) -> None:
        super().__init__(request, exchange, now, lost)
        self._machine = machine
        self._heartbeat = heartbeat

    def write(self, data: bytes) -> None:
        """Send bytes of the stream to the client in this very reactor turn."""
        super()._send(data)

    def _send(self, data: bytes) -> None:
        if self._inside_event:  # a piece of one that is not kept whole, and that nobody could judge
            out = self._machine.fail(
                BrokenAnswer(f"llama-server sent an event of more than {MAX_EVENT} bytes in its answer")
            )
        else:
            out = self._machine.feed(data)
        if self._exchange.first_byte is None:
            self._exchange.first_byte = self._now()
        if self._heartbeat is not None:
            if out:
                self._heartbeat.heard()
            if self._machine.finished:
                self._heartbeat.stop()  # nothing may stand behind the terminal, however late upstream ends
        self.write(out)

    def _end(self, whole: bool) -> None:
        if whole:
            self._flush()
        else:
            self.write(self._machine.fail(self._lost()))
        self.finished.callback(None)


async def attend(
    answer: Awaitable[Answered],
    request: Request,
    exchange: Exchange,
    clock: IReactorTime,
    lost: Callable[[], ProxyError],
    refused: Callable[[Answered], Awaitable[ProxyError]],
    machine: StreamMachine,
    last: Callable[[], Awaitable[bytes]] | None = None,
) -> Answered | None:
    """Wait for upstream's answer and stream it; what is no stream and came in time is returned untouched.

    Raises what `answer` raises while the client has no head yet. `refused` reads the error out of an answer
    that is no stream, for a client that already has its 200. `last` makes the terminal of an answer that came
    to its end, where the machine needs more for it than its `end`; the machine's `fail` is for a ProxyError
    out of it. Cancelling closes upstream. The caller finishes the request.
    """
    heartbeat = Heartbeat(
        clock, lambda: begin(request, machine.content_type), lambda: request.write(machine.heartbeat())
    )
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
            request.write(machine.fail(e))
            return None
        heartbeat.answered()
        body = GuardedRelay(request, exchange, clock.seconds, lost, machine, heartbeat)
        answered.response.deliverBody(cast(IProtocol, body))
        await body.finished
        if not machine.finished:
            try:
                body.write(machine.end() if last is None else await last())
            except ProxyError as e:
                body.write(machine.fail(e))
        exchange.failure = machine.failure
    finally:
        heartbeat.stop()
    return None


async def collect(
    response: IResponse,
    request: Request,
    exchange: Exchange,
    now: Callable[[], float],
    lost: Callable[[], ProxyError],
    machine: Machine,
) -> None:
    """Let the machine read upstream's whole stream, and return when it has ended; the client gets no byte.

    Raises the failure with which upstream broke off, or that it told. Cancelling closes upstream.
    """
    body = GuardedRelay(request, exchange, now, lost, machine)
    response.deliverBody(cast(IProtocol, body))
    await body.finished
    if machine.failure is not None:
        raise machine.failure
