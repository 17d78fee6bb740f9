"""How one upstream body reaches one client: as it comes, no faster than it is read, never half as whole.

Upstream's transport is registered as the client request's push producer, so that a slow client pauses
upstream and a client that leaves closes it; neither needs code here. What twisted.web buffers for a slow
client is one transport buffer (64 KiB), and what the kernel takes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol, IPushProducer, ITCPTransport, ITransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import NO_BODY_CODES, PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH, IResponse
from twisted.web.server import Request

from ..errors import ProxyError, event, status_for
from ..exchange import Exchange
from ..headers import SERVER, end_to_end
from .events import whole_events

EVENT_STREAM = b"text/event-stream"

# An event larger than this is passed on in pieces. llama-server's are about 250 bytes, and those that carry
# all log probabilities a few KiB; memory for a stream stays bounded whatever an upstream sends.
MAX_EVENT = 1024 * 1024

# Of upstream's head, what the proxy settles itself, at the door.
_OURS = frozenset(
    {
        b"access-control-allow-credentials",
        b"access-control-allow-headers",
        b"access-control-allow-methods",
        b"access-control-allow-origin",
        b"access-control-allow-private-network",
        b"access-control-expose-headers",
        b"access-control-max-age",
    }
)
# How a whole stream ends: /v1/chat/completions and /v1/completions, /v1/responses, /v1/messages
_LAST_EVENTS = (b"data: [DONE]", b"event: response.completed", b"event: message_stop")

_STREAM_HEAD = ((b"Cache-Control", b"no-cache"), (b"X-Accel-Buffering", b"no"))


class Relay(Protocol):
    """Every byte of upstream's body goes to the client in the reactor turn in which it came.

    `finished` fires when the body is whole; cancelling it closes upstream. Where upstream breaks off it does
    not fire: the client's connection is closed instead, without the end that a whole answer has.
    """

    def __init__(
        self, request: Request, exchange: Exchange, now: Callable[[], float], lost: Callable[[], ProxyError]
    ) -> None:
        self._request = request
        self._exchange = exchange
        self._now = now
        self._lost = lost
        self.finished: Deferred[None] = Deferred(self._close_upstream)

    def _close_upstream(self, _: Deferred[None]) -> None:
        if self.transport is not None:
            cast(IPushProducer, self.transport).stopProducing()

    def connectionMade(self) -> None:
        self._request.registerProducer(self.transport, True)

    def dataReceived(self, data: bytes) -> None:
        self._send(data)

    def _send(self, data: bytes) -> None:
        exchange = self._exchange
        if exchange.first_byte is None:
            exchange.first_byte = self._now()
        exchange.tail.append(data)
        self._request.write(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.finished.called:
            return  # cancelled: the client left first
        self._request.unregisterProducer()
        self._end(self._is_whole(reason))

    def _end(self, whole: bool) -> None:
        """Upstream's body has ended; fire `finished`, or close the connection to the client."""
        if whole:
            self._flush()
            self.finished.callback(None)
            return
        self._exchange.failure = failure = self._lost()
        self._tell(failure)
        if self._request.clientproto == b"HTTP/1.0":
            # there the end of the connection is the end of the body: only a reset says "truncated"
            cast(ITCPTransport, self._request.transport).abortConnection()
        else:
            self._request.loseConnection()  # flush, then close without the last chunk

    def _is_whole(self, reason: Failure) -> bool:
        """PotentialDataLoss is a body framed by the end of its connection, and it did end."""
        return reason.check(ResponseDone, PotentialDataLoss) is not None

    def _flush(self) -> None:
        """Send what is held back when upstream has ended."""

    def _tell(self, failure: ProxyError) -> None:
        """Say in the body itself why it ends here."""


def begin(request: Request, content_type: bytes) -> None:
    """Send the head of a stream of ours."""
    request.setHeader(b"Server", SERVER)
    request.setHeader(b"Content-Type", content_type)
    for name, value in _STREAM_HEAD:
        request.setHeader(name, value)
    request.write(b"")


def is_event_stream(response: IResponse) -> bool:
    """Whether upstream answers with SSE that can be read: zipped, its bytes show no event's end."""
    content_type: bytes = (response.headers.getRawHeaders(b"content-type") or [b""])[0]
    encoding: bytes = (response.headers.getRawHeaders(b"content-encoding") or [b"identity"])[0]
    return content_type.partition(b";")[0].strip().lower() == EVENT_STREAM and encoding == b"identity"


class EventRelay(Relay):
    """SSE passes byte for byte, and what the client has read ends at an event's end at any time.

    So an unfinished event is held back until its rest comes, and an error event can follow whatever was sent.
    """

    def __init__(
        self, request: Request, exchange: Exchange, now: Callable[[], float], lost: Callable[[], ProxyError]
    ) -> None:
        super().__init__(request, exchange, now, lost)
        self._held = b""
        self._inside_event = False

    def connectionMade(self) -> None:
        super().connectionMade()
        # A plain socket can be written to in this very reactor turn (IWriteDescriptor); by itself the reactor
        # first asks whether it can, and a token waits. TLS encrypts in the next turn, and has nothing yet.
        self._client = cast(ITransport, self._request.channel.transport)
        plain = None if self._request.isSecure() else self._client
        self._write_now = getattr(plain, "doWrite", lambda: None)

    def _send(self, data: bytes) -> None:
        exchange = self._exchange
        if exchange.gone or not data:  # an empty chunk would be the end of the body
            return
        if exchange.first_byte is None:
            exchange.first_byte = self._now()
        exchange.tail.append(data)
        if self._request.chunked:
            # as Request.write would, which hands the transport a chunk in four pieces (RFC 9112 section 7.1)
            self._client.write(b"%x\r\n%b\r\n" % (len(data), data))
        else:
            self._request.write(data)
        self._write_now()

    def dataReceived(self, data: bytes) -> None:
        if self._held:
            data = self._held + data
        whole = whole_events(data)
        if whole == len(data):
            self._held = b""
            self._inside_event = False
        else:
            self._held = data[whole:]
            data = data[:whole]
            if whole:
                self._inside_event = False
            if len(self._held) > MAX_EVENT:
                data += self._held
                self._held = b""
                self._inside_event = True
            if not data:
                return
        self._send(data)

    def _is_whole(self, reason: Failure) -> bool:
        # framed by the end of the connection, nothing but its last event tells a whole stream from a cut one
        if reason.check(PotentialDataLoss):
            tail = b"".join(self._exchange.tail) + self._held
            return any(last in tail for last in _LAST_EVENTS)
        return super()._is_whole(reason)

    def _flush(self) -> None:
        if self._held:
            self._send(self._held)

    def _tell(self, failure: ProxyError) -> None:
        self._request.write((b"\n\n" if self._inside_event else b"") + event(failure))
        self._write_now()


def _copy_head(response: IResponse, request: Request, headers: Headers) -> None:
    user_agent = request.getHeader(b"user-agent") or b""
    status = status_for(response.code, user_agent)
    request.setResponseCode(status, response.phrase if status == response.code else None)
    for name, values in headers.getAllRawHeaders():
        if name == b"Vary":  # the door may have said something already
            values = [*request.responseHeaders.getRawHeaders(name, []), *values]
        request.responseHeaders.setRawHeaders(name, values)
    has_body = request.method != b"HEAD" and status not in NO_BODY_CODES
    if has_body and response.length is not UNKNOWN_LENGTH:
        request.setHeader(b"Content-Length", b"%d" % response.length)


def replay(
    response: IResponse, body: bytes, request: Request, exchange: Exchange, now: Callable[[], float]
) -> None:
    """Send an answer whose body was read already, as `relay` would have. The caller finishes the request."""
    _copy_head(response, request, end_to_end(response.headers, without=_OURS))
    request.setHeader(b"Content-Length", b"%d" % len(body))
    exchange.first_byte = now()
    exchange.tail.append(body)
    request.write(body)


async def relay(
    response: IResponse,
    request: Request,
    exchange: Exchange,
    now: Callable[[], float],
    lost: Callable[[], ProxyError],
) -> None:
    """Send upstream's answer to the client, its head at once, and return when the body is whole.

    Cancelling closes upstream. `now` is the reactor's clock; `lost` makes the error that tells why a body was
    cut. The caller finishes the request.
    """
    headers = end_to_end(response.headers, without=_OURS)
    _copy_head(response, request, headers)
    body: Relay
    if is_event_stream(response):
        for name, value in _STREAM_HEAD:
            request.setHeader(name, value)
        body = EventRelay(request, exchange, now, lost)
    else:
        body = Relay(request, exchange, now, lost)
    request.write(b"")
    response.deliverBody(cast(IProtocol, body))
    await body.finished
