"""How is /api/generate answered? As a chat, a completion or an infill, whichever llama-server's it is.

A prompt that the template has to complete is a chat with one message: llama-server then tells reasoning from
text as it does for chats. Only a prompt that follows on the tokens of an earlier `context` has to be rendered
first and sent as a completion.
"""

from __future__ import annotations

from typing import Final

from ..dialects.ollama import generate
from ..dialects.ollama.requests import GenerateRequest, read_generate, thinking
from ..door import ProxyRequest
from ..errors import Answer, UpstreamError
from ..stream.attended import Answered
from ..stream.ollama.line import Shape
from ..stream.ollama.lines import Lines
from ..stream.ollama.whole import Whole
from . import chats
from .checks import demand
from .delivery import Delivery
from .server import Server

_COMPLETION: Final = b"/completion"
_INFILL: Final = b"/infill"

# what a template ends a prompt with where the model is to think first
_OPENED: Final = "<think>"


class NativeGenerates:
    """Answers /api/generate."""

    def __init__(self, server: Server, delivery: Delivery) -> None:
        self._server = server
        self._delivery = delivery

    async def answer(self, request: ProxyRequest, body: bytes) -> Answer | None:
        """Answer a generate; a document is returned, a stream written and finished. Raises a ProxyError."""
        asked = read_generate(body)
        del body
        request.exchange.model = asked.model
        if asked.loads or asked.unloads:
            return await self._delivery.ready(asked, Shape.GENERATE)
        reading = self._delivery.reading(request, asked, Shape.GENERATE)
        one = _Generate(self._server, request, reading, self._delivery)
        answer = one.answered(asked)
        del asked  # the prompt and the images, which nobody needs any more when llama-server begins to answer
        return await self._delivery.deliver(request, reading, answer, one.context)


class _Generate:
    """One generate on its way."""

    def __init__(
        self, server: Server, request: ProxyRequest, reading: Lines | Whole, delivery: Delivery
    ) -> None:
        self._server = server
        self._request = request
        self._reading = reading
        self._delivery = delivery
        self._earlier: list[int] | None = None  # the tokens that the client sent; None: it gets none back
        self._chat = b""  # what the prompt is rendered of, where it is not known yet
        self._prompt: str | None = None

    async def answered(self, asked: GenerateRequest) -> Answered:
        """llama-server's answer, a stream; raises a ProxyError."""
        server, request = self._server, self._request
        fills = bool(asked.suffix) and not asked.raw
        wanted = {"completion": True, "thinking": thinking(asked.think), "insert": fills}
        needed = [capability for capability, is_wanted in wanted.items() if is_wanted]
        self._card = card = await server.card(asked.model, needed)
        self._reading.loaded = self._delivery.now()
        demand(card, needed, asked.model, "generate")
        if asked.raw:
            return await self._completed(asked, asked.prompt)
        self._earlier = asked.context
        context_length = card.context_length
        if fills:
            self._prompt = asked.prompt
            body = generate.infill_body(asked, model=card.id, context_length=context_length)
            return await server.streams(await server.completed(request, _INFILL, body))
        self._chat = generate.chat_body(
            asked,
            model=card.id,
            thinks="thinking" in card.capabilities,
            template=card.template,
            context_length=context_length,
        )
        if not asked.context:
            return await server.streams(await server.chatted(request, chats.TARGET, card, self._chat))
        self._prompt = await server.rendered(request, self._chat)
        self._chat = b""
        self._reading.split_tags(opened=self._prompt.rstrip().endswith(_OPENED))
        return await self._completed(asked, [*asked.context, self._prompt])

    async def _completed(self, asked: GenerateRequest, prompt: str | list[int | str]) -> Answered:
        body = generate.completion_body(
            asked,
            model=self._card.id,
            prompt=prompt,
            context_length=self._card.context_length,
            media_marker=self._card.media_marker or generate.MEDIA_MARKER,
        )
        return await self._server.streams(await self._server.completed(self._request, _COMPLETION, body))

    async def context(self) -> list[int] | None:
        """The tokens of the prompt and of the answer, which a client may send with its next request.

        None in raw mode (Ollama's API), and where llama-server does not tell them.
        """
        if self._earlier is None:
            return None
        try:
            prompt = self._prompt
            if prompt is None:
                prompt = await self._server.rendered(self._request, self._chat)
            tokens = await self._server.tokens(self._request, self._card, prompt + self._reading.text)
        except UpstreamError:
            return None  # the answer itself is whole
        return [*self._earlier, *tokens]
