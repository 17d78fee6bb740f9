"""How do Ollama's embeddings come out of llama-server's?"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from twisted.internet.interfaces import IReactorTime

from .. import errors
from ..cards import Card
from ..dialects.ollama import embed
from ..dialects.ollama.embed import Asked, Embedded
from ..door import ProxyRequest
from ..errors import Answer
from .server import Server

_EMBEDDINGS: Final = b"/v1/embeddings"
_TOKENIZE: Final = b"/tokenize"
_UNKNOWN: Final = 'model "{}" not found, try pulling it first'

# Bytes. A thousand texts in 4096 numbers of some twenty characters are 80 MiB.
_LARGEST: Final = 256 * 1024 * 1024


class Embeddings:
    """Answers requests for embeddings by `server`: one request there for all texts of one here."""

    def __init__(self, server: Server, clock: IReactorTime) -> None:
        self._server = server
        self._clock = clock

    async def embed(self, request: ProxyRequest, body: bytes) -> Answer:
        """The answer of /api/embed, with times in nanoseconds. Raises InvalidJSON and ProxyErrors."""
        began = self._clock.seconds()
        asked = embed.read_embed(body)
        request.exchange.model = asked.model
        if not asked.model:
            raise errors.UnknownModel("model '' not found")
        card = await self._server.listed(asked.model, _UNKNOWN)
        answer: dict[str, Any] = {"model": asked.model, "embeddings": []}
        if asked.inputs:
            ready = self._clock.seconds()
            found = await self._embedded(request, card, asked)
            answer["embeddings"] = [embed.shortened(row, asked.dimensions) for row in found.rows]
            answer["total_duration"] = _nanoseconds(self._clock.seconds() - began)
            answer["load_duration"] = _nanoseconds(ready - began)
            answer["prompt_eval_count"] = found.tokens
        return Answer(200, msgspec.json.encode(answer))

    async def embeddings(self, request: ProxyRequest, body: bytes) -> Answer:
        """The answer of /api/embeddings, which embeds one text. Raises InvalidJSON and ProxyErrors."""
        asked = embed.read_embeddings(body)
        request.exchange.model = asked.model
        card = await self._server.listed(asked.model, _UNKNOWN)
        rows = (await self._embedded(request, card, asked)).rows if asked.inputs else [msgspec.Raw(b"[]")]
        return Answer(200, msgspec.json.encode({"embedding": rows[0]}))

    async def _embedded(self, request: ProxyRequest, card: Card, asked: Asked) -> Embedded:
        """The embeddings of all inputs, cut to what llama-server takes where they may be."""
        inputs = asked.inputs
        limit: int | None = None
        while True:
            body = embed.request(card.id, inputs)
            status, told = await self._ask(request, _EMBEDDINGS, body)
            if status == 200:
                return embed.embedded(told, len(inputs))
            before, limit = limit, embed.most_tokens(told)
            if limit is None or (before is not None and limit >= before):
                raise self._refused(asked.model, status, embed.complaint(told))
            if not asked.truncate:
                raise errors.BadRequest("the input length exceeds the context length")
            inputs = await self._cut(request, card, asked.inputs, min(limit, card.context_length or limit))

    async def _cut(
        self, request: ProxyRequest, card: Card, texts: list[msgspec.Raw], limit: int
    ) -> list[msgspec.Raw]:
        """The texts, and in place of each one that is too long the tokens that there is room for."""
        marks = await self._tokens(request, card, msgspec.Raw(b'""'))
        cut: list[msgspec.Raw] = []
        for text in texts:
            if not embed.may_exceed(text, limit):
                cut.append(text)
                continue
            tokens = embed.cut(await self._tokens(request, card, text), marks, limit)
            cut.append(msgspec.Raw(msgspec.json.encode(tokens)))
        return cut

    async def _tokens(self, request: ProxyRequest, card: Card, text: msgspec.Raw) -> list[int]:
        status, told = await self._ask(request, _TOKENIZE, embed.to_tokenize(card.id, text))
        if status != 200:
            raise errors.UpstreamRefusal(f"llama-server counts no tokens: {embed.complaint(told)}")
        return embed.tokens(told)

    async def _ask(self, request: ProxyRequest, target: bytes, body: bytes) -> tuple[int, bytes]:
        """Upstream's status and its whole answer; raises an UpstreamError. Cancelling ends the request."""
        answered = await self._server.completed(request, target, body)
        return answered.response.code, await self._server.body(answered, target, _LARGEST)

    def _refused(self, model: str, status: int, complaint: str) -> errors.ProxyError:
        """The error for what upstream says in place of embeddings."""
        if status == 501 or complaint.startswith(embed.WITHOUT):
            return errors.NotOffered(
                f'"{model}" gives no embeddings: start llama-server with --embeddings --pooling mean'
            )
        if status == 503:
            return errors.UpstreamLoading(f"llama-server cannot embed now: {complaint}")
        said = f"llama-server refused to embed ({status}): {complaint or 'its log may tell why'}"
        return errors.BadRequest(said) if status == 400 else errors.UpstreamRefusal(said)


def _nanoseconds(seconds: float) -> int:
    """At least one: clients take what is 0 for left out."""
    return max(1, round(seconds * 1e9))
