"""The ends of the connections to the proxy and from it: clients and upstream, as raw bytes in memory."""

from __future__ import annotations

import json
from typing import Any, Protocol

from twisted.internet import error
from twisted.internet.address import IPv4Address
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from tests.wire.message import Message, answer, messages, request


class Turns(Protocol):
    """What a peer needs of the wire that it is on."""

    def turn(self) -> None:
        """Let everything happen that can happen now."""


class Transport(StringTransport):
    """The proxy's end of one connection. What comes in while it is paused waits, as in a kernel's buffer."""

    protocol: Any
    doWrite: Any
    aborted = False
    half_closed = False
    lost = False

    def __init__(self, peer: IPv4Address) -> None:
        super().__init__(peerAddress=peer, lenient=True)
        self.incoming = b""

    def write(self, data: bytes) -> None:
        if not self.lost:
            super().write(data)

    def setTcpNoDelay(self, enabled: bool) -> None:
        """What the HTTP client asks of a transport over TLS."""

    def loseWriteConnection(self) -> None:
        self.half_closed = True

    def abortConnection(self) -> None:
        self.aborted = True
        super().abortConnection()

    def stopProducing(self) -> None:
        super().stopProducing()
        self.loseConnection()

    def pauseProducing(self) -> None:
        if not self.disconnecting:
            self.producerState = "paused"

    def resumeProducing(self) -> None:
        if not self.disconnecting:
            self.producerState = "producing"

    def delivers(self) -> bool:
        """Hand on what has come in; false where there is nothing that may be."""
        if not self.incoming or self.lost or self.disconnecting or self.producerState != "producing":
            return False
        data, self.incoming = self.incoming, b""
        self.protocol.dataReceived(data)
        return True

    def closes(self, reason: Exception) -> None:
        """The connection is gone, in the steps that Twisted's TCP transport takes."""
        if self.lost:
            return
        self.lost = self.disconnecting = True
        if self.producer is not None:
            self.producer.stopProducing()
        self.protocol.connectionLost(Failure(reason))


class Peer:
    """The other end of a connection: a client of the proxy, or upstream."""

    def __init__(self, wire: Turns, transport: Transport) -> None:
        self.wire = wire
        self.transport = transport

    def sends(self, data: bytes) -> None:
        self.transport.incoming += data
        self.wire.turn()

    def leaves(self, reason: Exception | None = None) -> None:
        self.wire.turn()
        self.transport.closes(reason or error.ConnectionDone())
        self.wire.turn()

    @property
    def received(self) -> bytes:
        """All that the proxy has written."""
        written: bytes = self.transport.value()
        return written

    @property
    def closed(self) -> bool:
        """The proxy has closed, or is closing, the connection."""
        return self.transport.disconnecting


class Client(Peer):
    """A client of the proxy, on one connection."""

    def __init__(self, wire: Turns, transport: Transport) -> None:
        super().__init__(wire, transport)
        self._methods: list[bytes] = []

    def asks(self, method: str, target: str, *fields: str, body: bytes = b"", version: str = "1.1") -> None:
        self._methods.append(method.encode())
        self.sends(request(method, target, *fields, body=body, version=version))

    def gets(self, target: str, *fields: str) -> None:
        self.asks("GET", target, *fields)

    def posts(self, target: str, document: Any, *fields: str) -> None:
        self.asks(
            "POST", target, "Content-Type: application/json", *fields, body=json.dumps(document).encode()
        )

    def chats(self, *fields: str, **members: Any) -> None:
        """A small streamed chat, as OpenAI's clients ask for it."""
        document = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}], "stream": True}
        self.posts("/v1/chat/completions", {**document, **members}, *fields)

    @property
    def answers(self) -> list[Message]:
        return messages(self.received, methods=self._methods, closed=self.closed)

    @property
    def answer(self) -> Message:
        """The one answer that has come, or has begun to."""
        (found,) = (found for found in self.answers if found.status >= 200)
        return found

    @property
    def server_side(self) -> Any:
        """What Twisted's HTTP server registered as the producer of this connection."""
        return self.transport.producer

    def stalls(self) -> None:
        """Read nothing more: the proxy's send buffer is full."""
        self.server_side.pauseProducing()

    def reads(self) -> None:
        """Read on: the send buffer is empty."""
        self.server_side.resumeProducing()
        self.wire.turn()


class UpstreamConnection(Peer):
    """One connection that the proxy opened to upstream."""

    def __init__(self, wire: Turns, transport: Transport) -> None:
        super().__init__(wire, transport)
        self.answered = 0

    @property
    def requests(self) -> list[Message]:
        return messages(self.received)

    @property
    def request(self) -> Message:
        """The newest request on this connection."""
        return self.requests[-1]

    @property
    def waits(self) -> bool:
        """A request is here that nothing was said to."""
        return not self.transport.lost and len(self.requests) > self.answered

    def answers(self, status: int, body: bytes = b"", *fields: str, phrase: str = "OK") -> None:
        self.answered += 1
        self.sends(answer(status, body, *fields, phrase=phrase))

    def tells(self, document: Any, status: int = 200) -> None:
        """A small JSON answer, after which the connection ends."""
        self.answered += 1
        body = json.dumps(document).encode()
        self.sends(answer(status, body, "Content-Type: application/json", "Connection: close"))
