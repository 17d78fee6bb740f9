"""The proxy between raw bytes of clients and of upstream, in memory, with a clock that the test moves.

All between the two transports is real: Twisted's HTTP server and client, Klein, treq, and the whole proxy as
it is composed at its start.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from twisted.internet import error
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IConnector, IListeningPort, IStreamServerEndpoint
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from zope.interface import implementer

from copilot_proxy import settings
from copilot_proxy.service import compose
from tests.wire.peers import Client, Transport, UpstreamConnection


@implementer(IListeningPort)
class Port:
    """Where the proxy listens, in memory."""

    listening = True

    def startListening(self) -> None: ...

    def stopListening(self) -> None:
        self.listening = False

    def getHost(self) -> IPv4Address:
        return IPv4Address("TCP", "127.0.0.1", 11434)


@implementer(IStreamServerEndpoint)
class Listener:
    """The endpoint of --port: it keeps the factory that would get its connections."""

    factory: Any

    def __init__(self) -> None:
        self.port = Port()

    def listen(self, protocolFactory: Any) -> Deferred[IListeningPort]:
        self.factory = protocolFactory
        return succeed(cast(IListeningPort, self.port))


class Wire:
    """The proxy as it is composed and started, with its two sides. `flags` are options of the command line.

    `documents` are what upstream tells of its models at the start; with None it is not there at the start.
    """

    def __init__(self, documents: Mapping[str, Any] | None, **flags: Any) -> None:
        chosen = settings.read({name.replace("_", "-"): value for name, value in flags.items()}, {})
        self.clock = MemoryReactorClock()
        self.connections: list[UpstreamConnection] = []
        self.clients: list[Client] = []
        self.refusal: Exception | None = None
        """Why upstream refuses connections."""
        self.silent = False
        """Upstream neither takes nor refuses connections."""
        self.announced: list[str] = []
        """What the log told at the start."""
        self.log: list[LogEvent] = []
        """What it tells since."""
        globalLogPublisher.addObserver(cast(ILogObserver, self.log.append))
        self._listener = Listener()
        self._stopped: Deferred[None] | None = None
        self._proxy = compose(self.clock, cast(IStreamServerEndpoint, self._listener), chosen)
        self._starts(documents)

    def _starts(self, documents: Mapping[str, Any] | None) -> None:
        """Start, and let the proxy ask what it asks at a start."""
        self.refusal = error.ConnectionRefusedError() if documents is None else None
        self._proxy.startService()
        self.turn()
        self.serves(documents or {})
        self.refusal = None
        self.announced = self.lines
        self.log.clear()
        self.connections.clear()

    def _connects(self) -> bool:
        """Take or refuse the next connection that the proxy opens; false where there is none."""
        if self.silent or not self.clock.connectors:
            return False
        connector = self.clock.connectors.pop(0)
        is_tcp = bool(self.clock.tcpClients)
        factory = self.clock.tcpClients.pop(0)[2] if is_tcp else self.clock.unixClients.pop(0)[1]
        if connector.stoppedConnecting:
            return True
        if self.refusal is not None:
            factory.clientConnectionFailed(cast(IConnector, connector), Failure(self.refusal))
            return True
        transport = Transport(IPv4Address("TCP", "127.0.0.1", 11433))
        transport.protocol = factory.buildProtocol(None)
        self.connections.append(UpstreamConnection(self, transport))
        transport.protocol.makeConnection(transport)
        return True

    def turn(self) -> None:
        """Let everything happen that can happen now."""
        busy = True
        while busy:
            self.clock.advance(0)
            busy = self._connects()
            ports = [peer.transport for peer in (*self.clients, *self.connections)]
            for transport in ports:
                busy = transport.delivers() or busy
                if transport.disconnecting and not transport.lost:
                    gone = error.ConnectionAborted() if transport.aborted else error.ConnectionDone()
                    transport.closes(gone)
                    busy = True

    def passes(self, seconds: float) -> None:
        """Move the clock, from one call that waits for it to the next, each at its own time."""
        end = self.clock.seconds() + seconds
        due = self.clock.seconds()
        while due < end:
            due = min([end, *(call.getTime() for call in self.clock.getDelayedCalls())])
            self.clock.advance(max(0, due - self.clock.seconds()))
            self.turn()

    def client(self) -> Client:
        """A new connection to the proxy."""
        peer = IPv4Address("TCP", "127.0.0.1", 50000 + len(self.clients))
        transport = Transport(peer)
        transport.protocol = self._listener.factory.buildProtocol(peer)
        client = Client(self, transport)
        self.clients.append(client)
        transport.protocol.makeConnection(transport)
        return client

    @property
    def asked(self) -> list[UpstreamConnection]:
        """The connections on which upstream has something to answer."""
        return [connection for connection in self.connections if connection.waits]

    def chat(self) -> tuple[Client, UpstreamConnection]:
        """A streamed chat that upstream has got, and said nothing to."""
        client = self.client()
        client.chats()
        return client, self.asked[-1]

    def serves(self, documents: Mapping[str, Any]) -> list[str]:
        """Answer by target until no request waits, 404 where there is no document; the targets in order.

        A document may bring a status: (document, status).
        """
        seen: list[str] = []
        while self.asked:
            connection = self.asked[0]
            target = connection.request.target.decode()
            seen.append(target)
            if target in documents:
                told = documents[target]
                connection.tells(*told if isinstance(told, tuple) else (told,))
            else:
                connection.tells({"error": {"code": 404, "message": "File Not Found"}}, 404)
        return seen

    @property
    def lines(self) -> list[str]:
        """The log, as people read it."""
        return [formatEvent(logged) for logged in self.log]

    @property
    def listening(self) -> bool:
        """New connections would be taken."""
        return self._listener.port.listening

    @property
    def stopped(self) -> bool:
        """The stop that was begun is done, so that the process ends."""
        return self._stopped is not None and self._stopped.called

    def stops(self) -> None:
        """Tell the proxy to stop, as a first SIGTERM does."""
        self._stopped = self._proxy.stopService()
        self.turn()

    def ends(self) -> None:
        """Close what is open on all sides. Nothing may be left that waits for the clock."""
        self.refusal = error.ConnectionRefusedError()
        self.silent = False
        for peer in (*self.clients, *self.connections):
            peer.leaves()
        if self._stopped is None:
            self.stops()
        assert self.stopped
        assert not self.listening
        left = self.clock.getDelayedCalls()
        assert not left, f"calls are left that wait for the clock: {left}"

    def forget(self) -> None:
        """Collect the log no longer."""
        globalLogPublisher.removeObserver(cast(ILogObserver, self.log.append))


OpenWire = Callable[..., Wire]


def got(wire: Wire, documents: dict[str, Any], target: str = "/api/tags", body: Any = None) -> Client:
    """A client that asked for a listing, with upstream answering from `documents`."""
    client = wire.client()
    if body is None:
        client.gets(target)
    else:
        client.posts(target, body)
    wire.serves(documents)
    return client
