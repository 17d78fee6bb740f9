"""How a request goes upstream, and its answer comes back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

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

# Where answers are streams: nothing there may be zipped on its way, for it would come in lumps.
_STREAMED: Final = frozenset({*REWRITTEN, b"/v1/chat/completions", b"/chat/completions", b"/v1/completions"})

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
    """Sends requests to `upstream` and relays what it answers. `now` is the reactor's clock, in seconds.

    A request's body is let go as soon as upstream has begun to answer: a stream may run for minutes, and
    hundreds of them should not hold their prompts.
    """

    def __init__(
        self, upstream: Upstream, models: Models, journal: Journal, now: Callable[[], float]
    ) -> None:
        self._upstream = upstream
        self._models = models
        self._journal = journal
        self._now = now

    async def json(self, request: ProxyRequest) -> None:
        """Send a body that is a JSON object, rewritten for llama-server, to the path that stands for its.

        Raises InvalidJSON or an UpstreamError, and finishes the request otherwise.
        """
        rewritten = rewrite(request.body, resolve_model=await self._models.resolver())
        request.body = rewritten.body
        request.exchange.model = rewritten.model
        target = REWRITTEN.get(request.path, request.path) + request.target[len(request.path) :]
        self._journal.sent(target, rewritten.body, rewritten.changes)
        del rewritten
        await self.plain(request, target)

    async def plain(self, request: ProxyRequest, target: bytes) -> None:
        """Send the request as it is. Raises an UpstreamError, and finishes the request otherwise."""
        headers = end_to_end(request.requestHeaders, without=_NOT_FOR_UPSTREAM)
        for name in _KEYS:
            # Copilot without a key sends `Bearer` and nothing more, which llama-server would refuse
            if (headers.getRawHeaders(name) or [b""])[0].strip().lower() in (b"", b"bearer"):
                headers.removeHeader(name)
        if request.path in _STREAMED:
            headers.removeHeader(b"accept-encoding")
        response = await self._upstream.send(request.method, target, headers, request.take_body())
        self._journal.answered(response.code, response.headers)
        await relay(response, request, request.exchange, self._now, self._upstream.lost)
        request.finish()
