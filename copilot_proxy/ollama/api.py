"""Which path of Ollama's API goes where?"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec

from .. import errors, names
from ..dialects import listing
from ..dialects.ollama.body import Named, read
from ..door import ProxyRequest
from ..errors import Answer
from ..upstream.models import Models
from . import library
from .chats import NativeChats
from .embed import Embeddings
from .generates import NativeGenerates

_PLAIN: Final = b"text/plain"
_IN_ORDER: Final = (b"HEAD", b"GET", b"POST", b"DELETE")

Handler = Callable[["Ollama", ProxyRequest], Awaitable[Answer | None]]


def _json(document: Any) -> Answer:
    return Answer(200, msgspec.json.encode(document))


def _body(request: ProxyRequest) -> bytes:
    """The body, minified, empty where there is none; raises InvalidJSON and EncodedBody.

    The request itself holds it no more: hundreds of streams should not hold their prompts.
    """
    body = request.json() if request.body.strip() else b""
    request.take_body()
    return body


def _always(answer: Callable[[], Answer]) -> Handler:
    """Answers the same to everybody."""

    async def handler(self: Ollama, request: ProxyRequest) -> Answer:
        return answer()

    return handler


def _about_models(answer: Callable[[Any, Any], Answer], what: type[msgspec.Struct]) -> Handler:
    """Reads the body as a `what`, and answers it out of the listing of models."""

    async def handler(self: Ollama, request: ProxyRequest) -> Answer:
        asked = read(_body(request), what)
        if isinstance(asked, Named):
            request.exchange.model = asked.called or None
        return answer(asked, await self.models.listing())

    return handler


class Ollama:
    """Ollama's API over the models of llama-server."""

    def __init__(
        self, models: Models, embeddings: Embeddings, chats: NativeChats, generates: NativeGenerates
    ) -> None:
        self.models = models
        self.embeddings = embeddings
        self.chats = chats
        self.generates = generates

    async def answer(self, request: ProxyRequest) -> Answer | None:
        """The answer to any request below /api/, None where it is written already.

        Raises InvalidJSON and ProxyErrors.
        """
        path: bytes = request.path
        methods = TABLE.get(path) or TABLE.get(path[: path.rfind(b"/") + 1] + b"*") or {}
        if request.method in methods:
            return await methods[request.method](self, request)
        allowed = [method for method in _IN_ORDER if method in methods]
        if not allowed:
            return Answer(404, b"404 page not found", _PLAIN)
        request.setHeader(b"Allow", b", ".join(allowed))
        return Answer(405, b"405 method not allowed", _PLAIN)

    async def chat(self, request: ProxyRequest) -> Answer | None:
        return await self.chats.answer(request, _body(request))

    async def generate(self, request: ProxyRequest) -> Answer | None:
        return await self.generates.answer(request, _body(request))

    async def tags(self, request: ProxyRequest) -> Answer:
        return _json(listing.tags((await self.models.listing()).cards))

    async def ps(self, request: ProxyRequest) -> Answer:
        return _json(listing.ps((await self.models.listing()).cards))

    async def show(self, request: ProxyRequest) -> Answer:
        name = read(_body(request), Named).called
        if not name:
            raise errors.BadRequest("model is required")
        request.exchange.model = name
        card = (await self.models.listing()).find(name, unknown=f"model '{names.shown(name)}' not found")
        return _json(listing.show(card, await self.models.show(card)))

    async def embed(self, request: ProxyRequest) -> Answer:
        return await self.embeddings.embed(request, _body(request))

    async def embed_one(self, request: ProxyRequest) -> Answer:
        return await self.embeddings.embeddings(request, _body(request))

    async def take_blob(self, request: ProxyRequest) -> Answer:
        return library.take_blob(await self.models.listing())


# path -> method -> what answers it; `*` stands for one more segment
TABLE: Final[Mapping[bytes, Mapping[bytes, Handler]]] = {
    # Ollama's recommendations are of its own library; the extension waits 2 s for them
    b"/api/experimental/model-recommendations": dict.fromkeys(
        (b"GET", b"HEAD"), _always(lambda: _json({"recommendations": []}))
    ),
    b"/api/version": dict.fromkeys(
        (b"GET", b"HEAD"), _always(lambda: _json({"version": listing.OLLAMA_VERSION}))
    ),
    b"/api/status": {b"GET": _always(lambda: _json(library.STATUS))},
    b"/api/tags": {b"GET": Ollama.tags, b"HEAD": Ollama.tags},
    b"/api/ps": {b"GET": Ollama.ps},
    b"/api/show": {b"POST": Ollama.show},
    b"/api/chat": {b"POST": Ollama.chat},
    b"/api/generate": {b"POST": Ollama.generate},
    b"/api/embed": {b"POST": Ollama.embed},
    b"/api/embeddings": {b"POST": Ollama.embed_one},
    b"/api/pull": {b"POST": _about_models(library.pull, library.Pulled)},
    b"/api/push": {b"POST": _about_models(library.push, library.Pulled)},
    b"/api/create": {b"POST": _about_models(library.create, library.Created)},
    b"/api/copy": {b"POST": _about_models(library.copy, library.Copied)},
    b"/api/delete": {b"DELETE": _about_models(library.delete, Named)},
    b"/api/blobs/*": {b"HEAD": _always(library.no_blob), b"POST": Ollama.take_blob},
    b"/api/me": {b"POST": _always(library.account)},
    b"/api/signout": {b"POST": _always(library.sign_out)},
    b"/api/user/keys/*": {b"DELETE": _always(library.sign_out)},
    b"/api/experimental/web_search": {b"POST": _always(library.web_search)},
    b"/api/experimental/web_fetch": {b"POST": _always(library.web_fetch)},
}
