"""How is /api/chat answered? By llama-server's /v1/chat/completions."""

from __future__ import annotations

from typing import Final

import msgspec

from ..dialects.ollama import chat
from ..dialects.ollama.requests import ChatRequest, read_chat, thinking
from ..door import ProxyRequest
from ..errors import Answer
from ..memory import Memory
from ..stream.attended import Answered
from ..stream.ollama.line import Shape
from ..stream.ollama.lines import Lines
from ..stream.ollama.whole import Whole
from .checks import demand
from .delivery import Delivery
from .server import Server

TARGET: Final = b"/v1/chat/completions"

# How often a chat that is too long is sent with fewer of its oldest messages. Each time that share is left
# away that llama-server's own count asks for, and a little more: messages differ in tokens.
_SHORTENINGS: Final = 6
_SPARE: Final = 0.95


class _TooLong(msgspec.Struct, tag_field="type", tag="exceed_context_size_error"):
    """llama-server's refusal of a prompt that a slot cannot hold (b11549)."""

    n_prompt_tokens: int
    n_ctx: int


class _Refusal(msgspec.Struct):
    error: _TooLong


def _share_that_fits(refusal: bytes) -> float | None:
    """How much of the prompt the slot can hold; None where the refusal is about something else."""
    try:
        error = msgspec.json.decode(refusal, type=_Refusal).error
    except msgspec.DecodeError:
        return None
    return error.n_ctx / max(1, error.n_prompt_tokens)


class NativeChats:
    """Answers /api/chat; `memory` keeps what the model thought before it called a tool."""

    def __init__(self, server: Server, delivery: Delivery, memory: Memory) -> None:
        self._server = server
        self._delivery = delivery
        self._memory = memory

    async def answer(self, request: ProxyRequest, body: bytes) -> Answer | None:
        """Answer a chat; a document is returned, a stream is written and finished. Raises a ProxyError."""
        asked = read_chat(body)
        del body
        request.exchange.model = asked.model
        if asked.loads or asked.unloads:
            return await self._delivery.ready(asked, Shape.CHAT)
        reading = self._delivery.reading(request, asked, Shape.CHAT, self._memory.remember)
        answer = self._answered(request, asked, reading)
        del asked  # the messages, which nobody needs any more when llama-server has begun its answer
        return await self._delivery.deliver(request, reading, answer)

    async def _answered(self, request: ProxyRequest, asked: ChatRequest, reading: Lines | Whole) -> Answered:
        server = self._server
        wanted = {"completion": True, "tools": asked.tools, "thinking": thinking(asked.think)}
        needed = [capability for capability, is_wanted in wanted.items() if is_wanted]
        card = await server.card(asked.model, needed)
        reading.loaded = self._delivery.now()
        demand(card, needed, asked.model, "chat")
        body = chat.body(
            asked,
            model=card.id,
            thinks="thinking" in card.capabilities,
            template=card.template,
            context_length=card.context_length,
            reasoning=self._memory.recall,
        )
        answered = await server.chatted(request, TARGET, card, body)
        for _ in range(_SHORTENINGS if asked.truncate else 0):
            share = _share_that_fits(answered.body or b"")
            shorter = None if share is None else chat.shorten(body, share * _SPARE)
            if shorter is None:
                break
            body = shorter
            answered = await server.chatted(request, TARGET, card, body)
        return await server.streams(answered)
