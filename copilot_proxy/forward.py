"""How a request goes upstream, and its answer comes back."""

from __future__ import annotations

from functools import partial
from typing import Final

from twisted.internet.interfaces import IReactorTime
from twisted.web.iweb import IResponse

from .chat import Chats
from .dialects.payload import rewrite
from .door import ProxyRequest
from .headers import end_to_end
from .journal import Journal
from .stream.relay import relay
from .upstream.client import Upstream
from .upstream.models import Models

# Ollama's paths, as the project has always rewritten them
REWRITTEN: Final = {
    b"/api/chat": b"/v1/chat/completions",
    b"/api/generate": b"/v1/completions",
}

# Where a refusal may be cured: what is written like a chat of OpenAI's.
_CHATS: Final = frozenset({b"/api/chat", b"/v1/chat/completions", b"/chat/completions"})

# Where answers may be streams: nothing there may be zipped on its way, for it would come in lumps.
_STREAMED: Final = frozenset(
    {
        *REWRITTEN,
        *(prefix + path for prefix in (b"", b"/v1") for path in (b"/chat/completions", b"/completions")),
        *(prefix + path for prefix in (b"", b"/v1") for path in (b"/responses", b"/messages")),
    }
)

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
_KEYS: Final = (b"authorization", b"x-api-key")


class Forward:
    """Sends requests to `upstream` and relays what it answers; `chats` does so for chats.

    A request's body is let go as soon as upstream has begun to answer: a stream may run for minutes, and
    hundreds of them should not hold their prompts.
    """

    def __init__(
        self, upstream: Upstream, models: Models, chats: Chats, journal: Journal, clock: IReactorTime
    ) -> None:
        self._upstream = upstream
        self._models = models
        self._chats = chats
        self._journal = journal
        self._clock = clock

    async def json(self, request: ProxyRequest) -> None:
        """Send a body that is a JSON object, rewritten for llama-server, to the path that stands for its.

        Raises InvalidJSON or an UpstreamError, and finishes the request otherwise.
        """
        resolve = self._models.resolve
        rewritten = rewrite(request.body, resolve_model=resolve)
        if rewritten.model and await self._models.learn(rewritten.model):
            rewritten = rewrite(request.body, resolve_model=resolve)
        request.body = rewritten.body
        request.exchange.model = rewritten.model
        changes = rewritten.changes
        streamed = rewritten.stream
        del rewritten
        target = REWRITTEN.get(request.path, request.path) + request.target[len(request.path) :]
        if request.path in _CHATS:
            await self._chats.chat(
                request,
                partial(self.ask, request, target),
                target=target,
                model=resolve(request.exchange.model or ""),
                changes=changes,
                streamed=streamed,
            )
        else:
            self._journal.sent(target, request.body, changes)
            await self.plain(request, target)

    async def plain(self, request: ProxyRequest, target: bytes) -> None:
        """Send the request as it is. Raises an UpstreamError, and finishes the request otherwise."""
        response = await self.ask(request, target, request.take_body())
        await relay(response, request, request.exchange, self._clock.seconds, self._upstream.lost)
        request.finish()

    async def ask(self, request: ProxyRequest, target: bytes, body: bytes) -> IResponse:
        """Upstream's answer to the request with this body, its head read and its body not."""
        headers = end_to_end(request.requestHeaders, without=_NOT_FOR_UPSTREAM)
        for name in _KEYS:
            # Copilot without a key sends `Bearer` and nothing more, which llama-server would refuse
            if (headers.getRawHeaders(name) or [b""])[0].strip().lower() in (b"", b"bearer"):
                headers.removeHeader(name)
        if body[:1] == b"{" and b"json" not in (headers.getRawHeaders(b"content-type") or [b""])[0].lower():
            # curl -d calls everything a form, and llama-server takes no form of more than 1 MiB (b11549)
            headers.setRawHeaders(b"content-type", [b"application/json"])
        if request.path in _STREAMED:
            headers.removeHeader(b"accept-encoding")
        response = await self._upstream.send(request.method, target, headers, body)
        self._journal.answered(response.code, response.headers)
        return response
