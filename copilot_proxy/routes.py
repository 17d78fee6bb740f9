"""Which path goes where."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, Final

import msgspec
from klein import Klein
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from . import errors
from .dialects import choose, listing
from .dialects.jsontext import OBJECT, InvalidJSON, kind, members, minify
from .dialects.payload import Rewritten, rewrite
from .door import ProxyRequest, send
from .errors import Answer, Dialect
from .headers import end_to_end
from .journal import Journal
from .status.health import Health
from .stream.relay import relay
from .upstream.client import Upstream
from .upstream.models import Models

# Ollama's paths, as the project has always rewritten them
REWRITTEN: Final = {
    b"/api/chat": b"/v1/chat/completions",
    b"/api/generate": b"/v1/completions",
}

# What a client says to this proxy and not to llama-server. CORS is settled at the door. A stream with an
# X-Conversation-Id goes on when its reader has left, and would keep its slot (llama.cpp b11549).
_NOT_FOR_UPSTREAM: Final = frozenset(
    {
        b"access-control-request-headers",
        b"access-control-request-method",
        b"access-control-request-private-network",
        b"expect",
        b"host",
        b"origin",
        b"x-conversation-id",
    }
)

Handler = Callable[["Routes", ProxyRequest], Awaitable[Any]]


def _json(document: Any, status: int = 200) -> Answer:
    return Answer(status, msgspec.json.encode(document))


def _answering(handler: Handler) -> Handler:
    """Turn what a handler returns or raises into the one end of the request.

    Nothing may escape: after the head is out, klein would write its error page into the stream and finish it,
    so that the client takes it for whole.
    """

    @wraps(handler)
    async def answering(self: Routes, request: ProxyRequest) -> None:
        exchange = request.exchange
        try:
            answer = await handler(self, request)
        except Exception as e:
            if exchange.gone:
                return
            if isinstance(e, InvalidJSON):
                e = errors.BadJSON(str(e), logged=f"not valid JSON at line {e.line}, column {e.column}")
            if not isinstance(e, errors.ProxyError):
                self.log.failure("a defect of copilot-proxy", Failure())
                e = errors.ProxyError("copilot-proxy failed over this request; its log has the details")
            exchange.failure = e
            if request.startedWriting:
                request.loseConnection()
                return
            answer = errors.answer(e, self.dialect(request), request.user_agent)
        if answer is not None and not exchange.gone:
            send(request, answer)

    return answering


class Routes:
    """The routes and what they need; `app.resource()` is the web resource."""

    app = Klein()
    log = Logger()

    def __init__(
        self,
        upstream: Upstream,
        models: Models,
        health: Health,
        journal: Journal,
        clock: IReactorTime,
        api_dialect: Dialect | None,
    ) -> None:
        self._upstream = upstream
        self._models = models
        self._health = health
        self._journal = journal
        self._clock = clock
        self._api_dialect = api_dialect

    # ------------------------------------------------------------------ of the proxy itself

    @app.route("/", methods=["GET", "HEAD"])
    @_answering
    async def root(self, request: ProxyRequest) -> Answer:
        return Answer(200, b"Ollama is running", b"text/plain; charset=utf-8")

    @app.route("/api/version", methods=["GET", "HEAD"])
    @_answering
    async def version(self, request: ProxyRequest) -> Answer:
        return _json({"version": listing.OLLAMA_VERSION})

    @app.route("/health", methods=["GET", "HEAD"])
    @_answering
    async def health(self, request: ProxyRequest) -> Answer:
        return _json(self._health.document())

    @app.route("/debug/json", methods=["POST"])
    @_answering
    async def debug_json(self, request: ProxyRequest) -> Answer:
        return _json({"minified": msgspec.Raw(minify(self._body(request)))})

    # ------------------------------------------------------------------ which models there are

    @app.route("/api/tags", methods=["GET", "HEAD"])
    @_answering
    async def tags(self, request: ProxyRequest) -> Answer:
        return _json(listing.tags((await self._models.listing()).cards))

    @app.route("/api/show", methods=["POST"])
    @_answering
    async def show(self, request: ProxyRequest) -> Answer:
        fields = members(minify(self._body(request))) or {}
        for key in ("model", "name"):  # the Ollama command line writes an empty model beside its name
            name = msgspec.json.decode(fields.get(key, b'""'))
            if name and isinstance(name, str):
                card = await self._models.find(name)
                return _json(listing.show(card, await self._models.show(card)))
        raise errors.BadRequest("model is required")

    @app.route("/v1/models", methods=["GET", "HEAD"])
    @app.route("/models", methods=["GET", "HEAD"])
    @app.route("/api/models", methods=["GET", "HEAD"])
    @_answering
    async def models(self, request: ProxyRequest) -> Answer:
        found = await self._models.listing()
        return _json(listing.openai_models(found.document, found.cards))

    # ------------------------------------------------------------------ what llama-server answers

    @app.route("/api/chat", methods=["POST"])
    @app.route("/api/generate", methods=["POST"])
    @_answering
    async def either(self, request: ProxyRequest) -> None:
        body = minify(self._body(request))
        if self._dialect_of(request, body) is Dialect.OLLAMA:
            raise errors.NotBuilt(
                "this version answers Ollama's own chat protocol not yet: use /v1/chat/completions, or "
                "--api-dialect openai if the client reads OpenAI's answers here"
            )
        await self._forward_json(request, body)

    @app.route("/v1/chat/completions", methods=["POST"])
    @app.route("/chat/completions", methods=["POST"])
    @app.route("/v1/completions", methods=["POST"])
    @_answering
    async def completions(self, request: ProxyRequest) -> None:
        await self._forward_json(request, self._body(request))

    @app.route("/", branch=True, methods=None)
    @_answering
    async def anything(self, request: ProxyRequest) -> None:
        body = request.body
        self._journal.asked(request, body)
        is_json = b"json" in (request.getHeader(b"content-type") or b"").lower()
        # llama-server reads JSON whatever the content type, and curl's is that of a form
        if body[:1] in (b"{", b"[") or (is_json and body):
            try:
                body = minify(body)
            except InvalidJSON:
                if is_json and request.getHeader(b"content-encoding") is None:
                    raise
            else:
                if kind(body) == OBJECT:  # an array is a body too, of /lora-adapters
                    await self._forward_json(request, body)
                    return
        await self._forward(request, request.target, body)

    # ------------------------------------------------------------------ helpers

    def dialect(self, request: ProxyRequest) -> Dialect:
        """In which shape this request's errors are read."""
        if request.path not in REWRITTEN:
            return request.dialect
        try:
            return self._dialect_of(request, request.body)
        except InvalidJSON:
            return self._dialect_of(request, b"{}")

    def _dialect_of(self, request: ProxyRequest, body: bytes) -> Dialect:
        return (
            self._api_dialect
            or choose.by_headers(request.getHeader(b"accept") or b"", request.user_agent)
            or choose.by_body(members(body) or {})
        )

    def _body(self, request: ProxyRequest) -> bytes:
        if request.getHeader(b"content-encoding") not in (None, b"identity"):
            raise errors.EncodedBody("the body is compressed: send it as it is, without Content-Encoding")
        body: bytes = request.body
        self._journal.asked(request, body)
        return body

    async def _forward_json(self, request: ProxyRequest, body: bytes) -> None:
        rewritten: Rewritten = rewrite(body, resolve_model=await self._models.resolver())
        request.exchange.model = rewritten.model
        target = REWRITTEN.get(request.path, request.path) + request.target[len(request.path) :]
        self._journal.sent(target, rewritten.body, rewritten.changes)
        await self._forward(request, target, rewritten.body)

    async def _forward(self, request: ProxyRequest, target: bytes, body: bytes) -> None:
        headers = end_to_end(request.requestHeaders, without=_NOT_FOR_UPSTREAM)
        for name in (b"authorization", b"x-api-key"):
            # Copilot without a key sends `Bearer` and nothing more, which llama-server would refuse
            if (headers.getRawHeaders(name) or [b""])[0].strip().lower() in (b"", b"bearer"):
                headers.removeHeader(name)
        if body and request.path in _STREAMED:
            headers.removeHeader(b"accept-encoding")  # a zipped stream comes in lumps
        response = await self._upstream.send(request.method, target, headers, body)
        self._journal.answered(response.code, response.headers)
        await relay(response, request, request.exchange, self._clock.seconds, self._upstream.lost)
        request.finish()


# Where answers are streams: nothing there may be zipped on its way.
_STREAMED: Final = frozenset({*REWRITTEN, b"/v1/chat/completions", b"/chat/completions", b"/v1/completions"})
