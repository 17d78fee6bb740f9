"""How a request goes upstream, and its answer comes back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.web.iweb import IResponse

from .dialects.payload import rewrite
from .door import ProxyRequest
from .headers import end_to_end
from .journal import Journal
from .repairs import Repair, Repairs
from .stream.relay import relay, replay
from .upstream.client import Upstream
from .upstream.models import Models

# Ollama's paths, as the project has always rewritten them
REWRITTEN: Final = {
    b"/api/chat": b"/v1/chat/completions",
    b"/api/generate": b"/v1/completions",
}

# Where a refusal may be cured: what is written like a chat of OpenAI's.
_CHATS: Final = frozenset({b"/api/chat", b"/v1/chat/completions", b"/chat/completions"})

# the type of the error for a chat that is over the context (llama.cpp b11549)
_TOO_LONG: Final = b"exceed_context_size_error"

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
        self,
        upstream: Upstream,
        models: Models,
        repairs: Repairs,
        journal: Journal,
        now: Callable[[], float],
    ) -> None:
        self._upstream = upstream
        self._models = models
        self._repairs = repairs
        self._journal = journal
        self._now = now

    async def json(self, request: ProxyRequest) -> None:
        """Send a body that is a JSON object, rewritten for llama-server, to the path that stands for its.

        Raises InvalidJSON or an UpstreamError, and finishes the request otherwise.
        """
        resolve = await self._models.resolver()
        rewritten = rewrite(request.body, resolve_model=resolve)
        request.body = rewritten.body
        request.exchange.model = rewritten.model
        changes = rewritten.changes
        del rewritten
        target = REWRITTEN.get(request.path, request.path) + request.target[len(request.path) :]
        if request.path in _CHATS:
            await self._chat(request, target, resolve(request.exchange.model or ""), changes)
        else:
            self._journal.sent(target, request.body, changes)
            await self.plain(request, target)

    async def plain(self, request: ProxyRequest, target: bytes) -> None:
        """Send the request as it is. Raises an UpstreamError, and finishes the request otherwise."""
        await self._relay(await self._answer(request, target, request.take_body()), request)

    async def _chat(self, request: ProxyRequest, target: bytes, model: str, changes: tuple[str, ...]) -> None:
        """Send a chat with every cure that this model is known to need, and relay what comes in the end."""
        body, known = self._repairs.apply_known(model, request.take_body())
        self._journal.sent(target, body, (*changes, *known))
        response: IResponse | None = await self._answer(request, target, body)
        if response is not None and _is_complaint(response):
            response = await self._cured(request, target, model, body, response)
        del body
        if response is not None:
            await self._relay(response, request)

    async def _cured(
        self, request: ProxyRequest, target: bytes, model: str, body: bytes, response: IResponse
    ) -> IResponse | None:
        """Upstream's answer to the chat with cures for what it complains about; None where all is told.

        Where no cure is left, the client gets the first complaint, which is about what it wrote itself; a
        later one may be about what a cure made of it. Only that a chat is too long for the context is told
        even then: no cure is to blame for that, and it is what the client has to know.
        """
        told: tuple[IResponse, bytes] | None = None
        tried: list[Repair] = []
        while _is_complaint(response):
            complaint = await self._upstream.whole(response, target)
            if told is None or _TOO_LONG in complaint:
                told = response, complaint
            cured = self._repairs.cure(response.code, complaint, body, tried)
            if cured is None:
                replay(*told, request, request.exchange, self._now)
                request.finish()
                return None
            body = cured.body
            tried.append(cured.repair)
            self._journal.repaired(model, cured.complaint, cured.repair.done)
            self._journal.sent(target, body, (cured.repair.done,))
            response = await self._answer(request, target, body)
        if response.code == 200:
            self._repairs.worked(model, tried)
        return response

    async def _answer(self, request: ProxyRequest, target: bytes, body: bytes) -> IResponse:
        """Upstream's answer to the request with this body, its head read and its body not."""
        headers = end_to_end(request.requestHeaders, without=_NOT_FOR_UPSTREAM)
        for name in _KEYS:
            # Copilot without a key sends `Bearer` and nothing more, which llama-server would refuse
            if (headers.getRawHeaders(name) or [b""])[0].strip().lower() in (b"", b"bearer"):
                headers.removeHeader(name)
        if request.path in _STREAMED:
            headers.removeHeader(b"accept-encoding")
        response = await self._upstream.send(request.method, target, headers, body)
        self._journal.answered(response.code, response.headers)
        return response

    async def _relay(self, response: IResponse, request: ProxyRequest) -> None:
        await relay(response, request, request.exchange, self._now, self._upstream.lost)
        request.finish()


def _is_complaint(response: IResponse) -> bool:
    """Whether this answer is one that a cure may be for: it is small, and no stream."""
    content_type = (response.headers.getRawHeaders(b"content-type") or [b""])[0]
    return response.code in (400, 500) and content_type.lower().startswith(b"application/json")
