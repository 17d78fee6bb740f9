"""The agent below treq: it keeps bodies and URLs as they are, and sends a lost request once more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, cast
from weakref import WeakSet

from hyperlink import EncodedURL
from twisted.internet import error
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IConsumer, IStreamClientEndpoint, ITCPTransport
from twisted.python.failure import Failure
from twisted.web.client import URI, ResponseNeverReceived
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IAgentEndpointFactory, IBodyProducer, IResponse
from zope.interface import implementer

# Under this name a response's Content-Encoding passes treq, which would unzip the body and so change it.
ENCODING: Final = b"x-kept-content-encoding"


@implementer(IBodyProducer)
class Body:
    """A body that is in memory already: one write, and again from the start where a request is sent anew."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.length = len(data)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        consumer.write(self._data)
        return succeed(None)

    def pauseProducing(self) -> None:
        """Nothing to pause: all is written at the start."""

    def resumeProducing(self) -> None:
        """Nothing to resume."""

    def stopProducing(self) -> None:
        """Nothing to stop."""

    def release(self) -> None:
        """Let the bytes go: upstream has them."""
        self._data = b""


class Target(EncodedURL):
    """A URL that reaches the agent as it was written; hyperlink would quote `|`, `[` and `]` anew."""

    def __init__(self, written: str) -> None:
        super().__init__()
        self._written = written

    def to_uri(self) -> EncodedURL:
        return self

    def to_text(self, with_password: bool = False) -> str:
        return self._written


@implementer(IAgentEndpointFactory)
class Connections:
    """Every URI leads to the one upstream; knows the connections, and how many were opened."""

    def __init__(self, endpoint: IStreamClientEndpoint) -> None:
        self._endpoint = endpoint
        self.opened = 0
        self._protocols: WeakSet[Any] = WeakSet()

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        return cast(IStreamClientEndpoint, self)

    def connect(self, factory: Any) -> Deferred[Any]:
        self.opened += 1
        factory.noisy = False  # or the log has a line for each connection opened, and one for each closed
        return self._endpoint.connect(factory).addCallback(self._keep)

    def _keep(self, protocol: Any) -> Any:
        self._protocols.add(protocol)
        return protocol

    def abort(self) -> None:
        """Close all of them at once, whatever is under way on them."""
        for protocol in tuple(self._protocols):
            cast(ITCPTransport, protocol.transport).abortConnection()


@implementer(IAgent)
class Plain:
    """An agent that asks for the encodings the client asked for, and sends a lost request once more.

    llama-server may close a kept connection in the moment in which it is used again. Only then, when the
    connection was not a new one and not a byte of an answer came, is the request sent anew, on a new one. (A
    server that dies over a request gets it twice if it came on a kept connection: the two look the same.)
    """

    def __init__(self, agent: IAgent, fresh: IAgent, connections: Connections) -> None:
        """`agent` keeps connections, `fresh` opens one for each request; both do so over `connections`."""
        self._agent = agent
        self._fresh = fresh
        self._connections = connections

    def request(
        self, method: bytes, uri: bytes, headers: Headers | None = None, bodyProducer: Any = None
    ) -> Deferred[IResponse]:
        headers = headers or Headers()
        # treq has added its own `gzip` as the last
        wanted = headers.getRawHeaders(b"accept-encoding", [])[:-1]
        headers.setRawHeaders(b"accept-encoding", wanted or [b"identity"])
        opened = self._connections.opened
        answered = self._agent.request(method, uri, headers, bodyProducer)
        if self._connections.opened == opened:
            answered.addErrback(self._again, method, uri, headers, bodyProducer)
        return answered.addCallback(self._keep_encoding)

    def _again(self, failure: Failure, *request: Any) -> Any:
        if isinstance(failure.value, ResponseNeverReceived) and _is_close(failure.value.reasons):
            return self._fresh.request(*request)
        return failure

    def _keep_encoding(self, response: IResponse) -> IResponse:
        encodings = response.headers.getRawHeaders(b"content-encoding")
        if encodings:
            response.headers.removeHeader(b"content-encoding")
            response.headers.setRawHeaders(ENCODING, encodings)
        return response


def _is_close(reasons: Sequence[Failure]) -> bool:
    return all(reason.check(error.ConnectionDone, error.ConnectionLost) is not None for reason in reasons)
