"""One client's connection: known while it is open, given up where nobody reads, and closed without loss.

twisted.web's channel does all of HTTP. What it leaves open is who may hold a connection: a client that stops
reading would keep its slot of llama-server for ever, and a stop of the process would cut every answer.
"""

from __future__ import annotations

from typing import Any, Final

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel

# Seconds for which a client that is refused before its body has come may go on sending it: a close while
# bytes come in is a reset, which may take the answer with it (nginx's lingering_timeout is 5 s as well).
# Over TLS these are also the seconds in which a client has to say that it has seen the end.
LINGER: Final = 5.0


class Channel(HTTPChannel):
    """One connection of a client. Its site is a Door."""

    site: Any
    transport: Any
    callLater: Any
    requests: list[Any]
    _refused = False
    _deadline: IDelayedCall | None = None

    def connectionMade(self) -> None:
        super().connectionMade()
        self.site.clients.came(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._in_time()
        super().connectionLost(reason)
        self.site.clients.left(self)

    # ------------------------------------------------------------------ who reads nothing

    def pauseProducing(self) -> None:
        """More than a buffer is full: the client has to read within the stall timeout."""
        super().pauseProducing()
        self._within(self.site.stall_timeout)

    def resumeProducing(self) -> None:
        """All that was written has left."""
        self._in_time()
        super().resumeProducing()

    def loseConnection(self) -> None:
        """Close once everything that was written has left; a client that does not take it is given up."""
        if self._refused and not self.isSecure():
            self.transport.loseWriteConnection()
            self._within(LINGER)
            return
        super().loseConnection()
        # a close over TLS waits for the client's own, which one with idle connections may never send
        self._within(LINGER if self.isSecure() else self.site.stall_timeout)

    def _within(self, seconds: float) -> None:
        if self._deadline is None:
            self._deadline = self.callLater(seconds, self._too_late, seconds)

    def _in_time(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_late(self, seconds: float) -> None:
        self._deadline = None
        self.give_up(f"the client read nothing for {seconds:g} s")

    def give_up(self, why: str) -> None:
        """Close now, whatever is still to be sent; `why` is for the log."""
        for request in self.requests:
            exchange = getattr(request, "exchange", None)  # there once the request is whole
            if exchange is not None:
                exchange.left = why
        self.transport.abortConnection()

    # ------------------------------------------------------------------ the last answer

    def last(self) -> None:
        """Make the answer under way the last one here; where there is none, close."""
        self.persistent = False
        for request in self.requests:
            if not request.startedWriting:
                request.setHeader(b"Connection", b"close")
        if not self.requests:
            self.loseConnection()

    def checkPersistence(self, request: Any, version: bytes) -> bool:
        persistent: bool = super().checkPersistence(request, version)
        if self.site.clients.draining:
            request.setHeader(b"Connection", b"close")
            return False
        return persistent

    # ------------------------------------------------------------------ a body that is not wanted

    def lineReceived(self, line: bytes) -> None:
        super().lineReceived(line)
        if not line and self.length and self.requests[-1].too_large:
            self._refused = True  # the head is whole and tells enough: the answer need not wait for the body
            self.last()
            self.allContentReceived()

    def rawDataReceived(self, data: bytes) -> None:
        if not self._refused:
            super().rawDataReceived(data)


class Clients:
    """The connections that are open."""

    def __init__(self) -> None:
        self._open: set[Channel] = set()
        self._waiting: list[Deferred[None]] = []
        self.draining = False
        """Each connection closes after the answer that is under way on it."""

    def came(self, channel: Channel) -> None:
        self._open.add(channel)

    def left(self, channel: Channel) -> None:
        self._open.discard(channel)
        if not self._open:
            waiting, self._waiting = self._waiting, []
            for each in waiting:
                each.callback(None)

    @property
    def busy(self) -> int:
        """How many wait for an answer, or read one."""
        return sum(1 for channel in self._open if channel.requests)

    def drain(self) -> None:
        """Close every connection that is idle, and each of the others after its answer."""
        self.draining = True
        for channel in tuple(self._open):
            channel.last()

    def gone(self) -> Deferred[None]:
        """Fires when no connection is open. Who waits no more cancels it."""
        if not self._open:
            return succeed(None)
        waiting: Deferred[None] = Deferred(self._waiting.remove)
        self._waiting.append(waiting)
        return waiting

    def give_up(self, why: str) -> None:
        """Close what is open, whatever is still to be sent."""
        for channel in tuple(self._open):
            channel.give_up(why)
