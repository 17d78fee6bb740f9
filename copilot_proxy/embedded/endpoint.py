"""How does an HTTP client connect to a llama.cpp that may be starting, and whose port changes?"""

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IReactorTCP, IStreamClientEndpoint
from zope.interface import implementer

from .supervisor import Address, EmbeddedServer


@implementer(IStreamClientEndpoint)
@attrs.frozen
class EmbeddedEndpoint:
    """Connects to the embedded server's port of the moment, and waits for it while it starts."""

    reactor: IReactorTCP
    server: EmbeddedServer
    connectTimeout: float = 30  # seconds for TCP alone: a large model takes minutes to load

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Fail with EmbeddedFailed where `whenListening` does, else as TCP does; cancelling ends either."""

        def to(address: Address) -> Deferred[IProtocol]:
            host, port = address
            return TCP4ClientEndpoint(self.reactor, host, port, self.connectTimeout).connect(protocolFactory)

        return self.server.whenListening().addCallback(to)
