"""Which path goes where."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any
from urllib.parse import unquote

import msgspec
from klein import Klein
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from . import errors
from .dialects import choose, listing
from .dialects.jsontext import OBJECT, InvalidJSON, kind, members, minify
from .door import ProxyRequest, send
from .errors import Answer, Dialect
from .forward import Forward
from .journal import Journal
from .ollama.api import Ollama
from .status.health import Health
from .upstream.models import Models

# what may stand before a JSON document: white space, and the byte order mark that llama-server takes
_BEFORE_JSON = b"\xef\xbb\xbf \t\r\n"

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
        self._journal.asked(request)
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
                await Deferred()  # till klein cancels it: after a return it would finish the answer
            answer = errors.answer(e, request.dialect, request.user_agent)
        if answer is not None and not exchange.gone:
            send(request, answer)

    return answering


class Routes:
    """The routes and what they need; `app.resource()` is the web resource."""

    app = Klein()
    log = Logger()

    def __init__(
        self,
        models: Models,
        health: Health,
        forward: Forward,
        ollama: Ollama,
        journal: Journal,
        api_dialect: Dialect | None,
    ) -> None:
        self._models = models
        self._health = health
        self._forward = forward
        self._ollama = ollama
        self._journal = journal
        self._api_dialect = api_dialect

    # ------------------------------------------------------------------ of the proxy itself

    @app.route("/", methods=["GET", "HEAD"])
    @_answering
    async def root(self, request: ProxyRequest) -> Answer:
        return Answer(200, b"Ollama is running", b"text/plain; charset=utf-8")

    @app.route("/health", methods=["GET", "HEAD"])
    @_answering
    async def health(self, request: ProxyRequest) -> Answer:
        return _json(self._health.document())

    @app.route("/health/live", methods=["GET", "HEAD"])
    @_answering
    async def live(self, request: ProxyRequest) -> Answer:
        return _json({"status": "ok"})

    @app.route("/health/ready", methods=["GET", "HEAD"])
    @_answering
    async def ready(self, request: ProxyRequest) -> Answer:
        obstacle = await self._health.obstacle()
        if obstacle is None:
            return _json({"status": "ok"})
        return _json({"status": "not ready", "detail": obstacle}, 503)

    @app.route("/debug/json", methods=["POST"])
    @_answering
    async def debug_json(self, request: ProxyRequest) -> Answer:
        return _json({"minified": msgspec.Raw(request.json())})

    # ------------------------------------------------------------------ which models there are

    @app.route("/v1/models", methods=["GET", "HEAD"])
    @app.route("/models", methods=["GET", "HEAD"])
    @app.route("/api/models", methods=["GET", "HEAD"])
    @_answering
    async def models(self, request: ProxyRequest) -> Answer:
        found = await self._models.listing()
        return _json(listing.openai_models(found.document, found.cards))

    @app.route("/v1/models/", branch=True, methods=["GET", "HEAD"])
    @_answering
    async def model(self, request: ProxyRequest) -> Answer:
        found = await self._models.listing()
        card = found.find(unquote(request.path.removeprefix(b"/v1/models/").decode()))
        known = listing.openai_models(found.document, found.cards)["data"]
        return _json(next(entry for entry in known if entry["id"] == card.name))

    # ------------------------------------------------------------------ what llama-server answers

    @app.route("/api/chat", methods=["POST"])
    @app.route("/api/generate", methods=["POST"])
    @_answering
    async def either(self, request: ProxyRequest) -> Answer | None:
        known = self._api_dialect or choose.by_headers(request.getAllHeaders())
        request.dialect = known or Dialect.OPENAI
        if known is None:
            request.body = request.json()
            request.dialect = choose.by_body(members(request.body) or {})
        if request.dialect is Dialect.OLLAMA:
            return await self._ollama.answer(request)
        request.must_be_plain()
        await self._forward.json(request)
        return None

    @app.route("/v1/chat/completions", methods=["POST"])
    @app.route("/chat/completions", methods=["POST"])
    @app.route("/v1/completions", methods=["POST"])
    @_answering
    async def completions(self, request: ProxyRequest) -> None:
        request.must_be_plain()
        await self._forward.json(request)

    @app.route("/api/", branch=True, methods=None)
    @_answering
    async def ollama(self, request: ProxyRequest) -> Answer | None:
        return await self._ollama.answer(request)

    @app.route("/", branch=True, methods=None)
    @_answering
    async def anything(self, request: ProxyRequest) -> None:
        is_json = b"json" in (request.getHeader(b"content-type") or b"").lower()
        # llama-server reads JSON whatever the content type, and curl's is that of a form
        if request.body.lstrip(_BEFORE_JSON)[:1] in (b"{", b"[") or (is_json and request.body):
            try:
                request.body = minify(request.body)
            except InvalidJSON:
                if is_json and request.getHeader(b"content-encoding") is None:
                    raise
            else:
                if kind(request.body) == OBJECT:  # an array is a body too, of /lora-adapters
                    await self._forward.json(request)
                    return
        await self._forward.plain(request, request.target)
