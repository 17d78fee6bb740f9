"""Who comes in, and with how much: the socket's requests are bounded, checked, and logged once each."""

from __future__ import annotations

import re
from collections import deque
from io import BytesIO
from typing import Any, Final, cast
from urllib.parse import unquote_to_bytes

from twisted.internet.interfaces import ILoggingContext, IReactorTime
from twisted.python.failure import Failure
from twisted.web.http import Request as HTTPRequest
from twisted.web.resource import IResource
from twisted.web.server import Request, Site
from zope.interface import implementer

from . import errors
from .channel import Channel, Clients
from .cors import Cors
from .dialects.choose import SHARED
from .dialects.jsontext import minify
from .errors import Answer, Dialect
from .exchange import Exchange
from .headers import SERVER, VIA
from .hosts import Hosts
from .journal import VERBOSE_SEGMENTS, Journal
from .keys import ROOM_WITHOUT_KEY, Keys

_SLASHES: Final = re.compile(rb"/{2,}")
# what may stand in a request target (RFC 9112 section 3.2, RFC 3986): printable ASCII
_UNPRINTABLE: Final = re.compile(rb"[^\x21-\x7e]")
# Files for models are refused whatever is in them, and "too large" would be no help.
_UNREAD: Final = b"/api/blobs/"
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def tidy(path: bytes) -> bytes:
    """The path with single slashes and none at its end: VS Code keeps the slash of a configured URL."""
    return _SLASHES.sub(b"/", path).rstrip(b"/") or b"/"


def send(request: Request, answer: Answer) -> None:
    """Write a whole answer, and finish the request."""
    request.setResponseCode(answer.status)
    request.setHeader(b"Server", SERVER)
    if answer.status != 204:  # which has neither (RFC 9110 section 8.6)
        request.setHeader(b"Content-Type", answer.content_type)
        request.setHeader(b"Content-Length", b"%d" % len(answer.body))
    request.write(answer.body)
    request.finish()


class ProxyRequest(Request):
    """A request whose body is in memory and never over the limit.

    twisted.web would spool a large one to a temporary file, which blocks, and fails on a read-only root.
    """

    # twisted.web's own is text/html, on answers that bring none
    defaultContentType = None
    exchange: Exchange
    body: bytes = b""
    """The whole body; what stands here when the request is sent on is what goes upstream."""
    dialect = Dialect.OPENAI
    """The shape in which errors are read."""
    too_large = False
    _room = 0

    def gotLength(self, length: int | None) -> None:
        self.content = BytesIO()
        self._room = self.door.room(self)
        if length is not None and length > self._room:
            self.too_large = True
            self.requestHeaders.removeHeader(b"expect")  # nobody is asked to send it

    def handleContentChunk(self, data: bytes) -> None:
        self._room -= len(data)
        if self._room >= 0:
            cast(BytesIO, self.content).write(data)
        elif not self.too_large:
            self.too_large = True  # what follows is read and thrown away, so that the client reads the answer
            self.content = BytesIO()

    def process(self) -> None:
        door = self.door
        door.opened(self)
        self.body = cast(BytesIO, self.content).getvalue()
        self.content = BytesIO()
        path = tidy(self.path)
        if path.startswith(b"/api/") and path not in SHARED:
            self.dialect = Dialect.OLLAMA
        try:
            answer = door.at_once(self)
        except errors.ProxyError as e:
            self.exchange.failure = e
            answer = errors.answer(e, self.dialect, self.user_agent)
        if answer is not None:
            send(self, answer)
            return
        self.path = tidy(self.path)
        super().process()

    @property
    def door(self) -> Door:
        """Where this request came in."""
        return cast(Door, cast(Any, self.channel).site)

    def getRequestHostname(self) -> bytes:
        """A name for klein, which asks for one and would stumble over some: no route depends on it."""
        return b"localhost"

    def must_be_plain(self) -> None:
        """Return where the body can be read as it is; raises EncodedBody."""
        if self.getHeader(b"content-encoding") not in (None, b"identity"):
            raise errors.EncodedBody("the body is compressed: send it as it is, without Content-Encoding")

    def json(self) -> bytes:
        """The body, minified; raises InvalidJSON or EncodedBody."""
        self.must_be_plain()
        return minify(self.body)

    def take_body(self) -> bytes:
        """The body, which this request then holds no more."""
        body, self.body = self.body, b""
        return body

    @property
    def user_agent(self) -> bytes:
        value: bytes = self.getHeader(b"user-agent") or b""
        return value

    @property
    def target(self) -> bytes:
        """The tidied path and the query as it was written."""
        _, mark, query = self.uri.partition(b"?")
        return self.path + mark + query


@implementer(ILoggingContext)
class Door(Site):
    """The server's side of every connection. `body_limit` is bytes."""

    protocol = cast(Any, Channel)
    requestFactory = ProxyRequest
    noisy = False

    def __init__(
        self,
        resource: IResource,
        clock: IReactorTime,
        *,
        body_limit: int,
        stall_timeout: float,
        cors: Cors,
        hosts: Hosts,
        keys: Keys,
        journal: Journal,
    ) -> None:
        super().__init__(resource, requestFactory=ProxyRequest, reactor=clock, parsePOSTFormSubmission=False)
        self.body_limit = body_limit
        self.stall_timeout = stall_timeout
        self.clients = Clients()
        self._keys = keys
        self._clock = clock
        self._cors = cors
        self.hosts = hosts
        self._journal = journal

    def logPrefix(self) -> str:
        """The name before Twisted's own lines about this port (ILoggingContext)."""
        return "copilot-proxy"

    def log(self, request: HTTPRequest) -> None:
        """Nothing: twisted.web's access line knows neither the model nor a client that left."""

    def acceptableProtocols(self) -> list[bytes]:
        """What a TLS handshake may agree on: no HTTP/2, whose requests have no transport of their own."""
        return [b"http/1.1"]

    def room(self, request: ProxyRequest) -> int:
        """How many bytes of body are read of a request whose head is here."""
        if self._keys.allow(request.requestHeaders):
            return self.body_limit
        return min(self.body_limit, ROOM_WITHOUT_KEY)

    def opened(self, request: ProxyRequest) -> None:
        """Begin the request's record; it is logged when the answer has ended, however it does."""
        request.exchange = Exchange(self._clock.seconds())
        if self._journal.verbose:
            request.exchange.tail = deque(maxlen=VERBOSE_SEGMENTS)
        request.notifyFinish().addCallbacks(
            lambda _: self._ended(request, ""), lambda reason: self._broken(request, reason)
        )

    def at_once(self, request: ProxyRequest) -> Answer | None:
        """The answer that needs no route, None where a route has to find it; raises ProxyError."""
        self._cors.mark(request)
        options = self.hosts.answer(request)
        preflight = self._cors.answer(request)
        if preflight is not None:
            return preflight
        self._keys.check(request, tidy(request.path))
        if VIA in request.requestHeaders.getRawHeaders(b"via", ()):
            raise errors.UpstreamIsProxy(
                "--upstream names this proxy itself: llama-server usually listens on port 11433"
            )
        if not request.uri.startswith(b"/"):
            # an absolute URL or `*` (RFC 9112 section 3.2) would lead somewhere else than to upstream
            raise errors.BadRequest("the request target must be a path such as /v1/models")
        if _UNPRINTABLE.search(request.uri):
            raise errors.BadRequest("the request target holds bytes that have to be percent-encoded")
        try:
            path = unquote_to_bytes(request.path).decode("utf-8")
        except UnicodeDecodeError:
            raise errors.BadRequest("the path is not UTF-8") from None
        if _CONTROL.search(path):
            raise errors.BadRequest("the path holds control characters")
        if request.too_large and not tidy(request.path).startswith(_UNREAD):
            raise errors.BodyTooLarge(
                f"the request body is over the limit of {self.body_limit} bytes: --body-limit raises it"
            )
        return options

    def _broken(self, request: ProxyRequest, reason: Failure) -> None:
        exchange = request.exchange
        exchange.gone = True
        if exchange.failure is None:
            self._ended(request, exchange.left)
        else:
            self._ended(request, "" if isinstance(exchange.failure, errors.Stopped) else "cut by upstream")

    def _ended(self, request: ProxyRequest, how: str) -> None:
        failure = request.exchange.failure
        if failure is not None:
            how = f"{how}: {failure.logged}" if how else failure.logged
        self._journal.ended(
            request.exchange,
            self._clock.seconds(),
            client=getattr(request.client, "host", None) or "unix",
            method=request.method,
            path=request.path,
            status=request.code if request.startedWriting else 0,
            how=how,
        )
