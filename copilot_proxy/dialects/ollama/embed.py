"""How do embeddings read in Ollama's API, and how in llama-server's?

`POST /api/embed` and the older `POST /api/embeddings` of Ollama 0.33 (api/types.go, server/routes.go);
`POST /v1/embeddings` and `POST /tokenize` of llama.cpp b11549. An embedding is passed on as it was spelled,
unless it has to be made shorter.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Final

import msgspec
from attrs import frozen

from ... import errors
from ..jsontext import ARRAY, STRING, items, joined, kind
from .body import Named, read
from .options import to_llama
from .requests import check_running

_NULL: Final = msgspec.Raw(b"null")

# What llama-server says to more tokens than one batch takes. All of an input has to fit into one.
_BATCH: Final = re.compile(r"input .* is too large to process.*\(current batch size: (\d+)\)")

WITHOUT: Final = "Pooling type 'none'"
"""How the complaint begins of a server that embeds each token by itself, which no client asks for."""


class _Common(Named):
    # what says how a model is to be run: checked as Ollama does, and decided by llama-server's own options
    options: msgspec.Raw = _NULL
    keep_alive: msgspec.Raw = _NULL

    def check(self) -> None:
        """Return where both are as Ollama takes them; raises BadRequest and BadOption in its words."""
        check_running(self.options, self.keep_alive)
        to_llama(self.options, context_length=None)


class _Embed(_Common):
    input: msgspec.Raw = _NULL
    truncate: bool = True
    dimensions: int = 0


class _Embeddings(_Common):
    prompt: str = ""


@frozen
class Asked:
    """What is to be embedded. `dimensions` is 0 where embeddings stay as long as they are."""

    model: str
    inputs: list[msgspec.Raw]
    """JSON strings, as the client spelled them."""
    truncate: bool = False
    dimensions: int = 0


@frozen
class Embedded:
    """The embeddings in the order of their inputs, and how many tokens those had."""

    rows: list[msgspec.Raw]
    tokens: int


def read_embed(body: bytes) -> Asked:
    """A request to /api/embed. Raises InvalidJSON, BadRequest and BadOption."""
    asked = read(body, _Embed)
    asked.check()
    return Asked(asked.called, _inputs(asked.input), asked.truncate, asked.dimensions)


def read_embeddings(body: bytes) -> Asked:
    """A request to /api/embeddings. Raises InvalidJSON, BadRequest and BadOption."""
    asked = read(body, _Embeddings)
    asked.check()
    if not asked.called:
        raise errors.BadRequest("model is required")
    return Asked(asked.called, [joined(asked.prompt)] if asked.prompt else [])


def _inputs(given: msgspec.Raw) -> list[msgspec.Raw]:
    """Each text by itself; an empty one alone is no text at all."""
    if bytes(given) in (b"null", b'""'):
        return []
    if kind(given) == STRING:
        return [given]
    texts = items(given) if kind(given) == ARRAY else None
    if texts is None or any(kind(text) != STRING for text in texts):
        raise errors.BadRequest("invalid input type")
    return texts


def request(model: str, inputs: Sequence[msgspec.Raw]) -> bytes:
    """The body for /v1/embeddings; an input is a text, or the list of its tokens."""
    return bytes(joined({"model": joined(model), "input": joined(inputs)}))


class _Row(msgspec.Struct):
    embedding: msgspec.Raw
    index: int


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0


class _Answer(msgspec.Struct):
    data: list[_Row]
    usage: _Usage = msgspec.field(default_factory=_Usage)


def embedded(body: bytes, count: int) -> Embedded:
    """What /v1/embeddings answered to `count` inputs; raises BrokenAnswer where that is no answer to them."""
    try:
        answer = msgspec.json.decode(body, type=_Answer)
    except msgspec.DecodeError:
        answer = _Answer([])
    rows = {row.index: row.embedding for row in answer.data if kind(row.embedding) == ARRAY}
    if sorted(rows) != [*range(count)]:
        raise errors.BrokenAnswer("llama-server's answer holds no embedding for each input")
    return Embedded([rows[index] for index in range(count)], answer.usage.prompt_tokens)


def shortened(embedding: msgspec.Raw, dimensions: int) -> msgspec.Raw:
    """The first `dimensions` numbers, scaled to the length 1; as it is where it has no more, or for 0."""
    if dimensions <= 0:
        return embedding
    numbers = msgspec.json.decode(embedding, type=list[float])
    if dimensions >= len(numbers):
        return embedding
    first = numbers[:dimensions]
    length = math.hypot(*first) or 1.0
    return msgspec.Raw(msgspec.json.encode([number / length for number in first]))


class _Complaint(msgspec.Struct):
    message: str = ""
    type: str = ""
    n_ctx: int | None = None


class _Refusal(msgspec.Struct):
    error: _Complaint


def _complaint(body: bytes) -> _Complaint:
    try:
        return msgspec.json.decode(body, type=_Refusal).error
    except msgspec.DecodeError:
        return _Complaint()


def complaint(body: bytes) -> str:
    """What an error of llama-server's says; empty for anything else."""
    return _complaint(body).message


def most_tokens(body: bytes) -> int | None:
    """How many tokens an input may have, where an error of llama-server's is that one has more."""
    told = _complaint(body)
    batch = _BATCH.search(told.message)
    if batch is not None:
        return int(batch[1])
    if told.type == "exceed_context_size_error" and told.n_ctx:
        return told.n_ctx - 1
    return None


def may_exceed(text: msgspec.Raw, limit: int) -> bool:
    """Whether a text may have more tokens than that: no token is less than a byte, but marks are added."""
    added = 8
    return kind(text) == STRING and len(bytes(text)) + added > limit


def to_tokenize(model: str, text: msgspec.Raw) -> bytes:
    """The body for /tokenize, for a text's tokens with the marks that the model wants around it."""
    return bytes(joined({"model": joined(model), "content": text, "add_special": msgspec.Raw(b"true")}))


class _Tokens(msgspec.Struct):
    tokens: list[int]


def tokens(body: bytes) -> list[int]:
    """What /tokenize answered; raises BrokenAnswer."""
    try:
        return msgspec.json.decode(body, type=_Tokens).tokens
    except msgspec.DecodeError:
        raise errors.BrokenAnswer("llama-server's answer holds no tokens") from None


def cut(text: list[int], marks: list[int], limit: int) -> list[int]:
    """The tokens of a text, without so many before its last mark that they are too many.

    `marks` are those of an empty text: some stand before a text, and some, as a BERT's [SEP], behind it.
    """
    if len(text) <= limit:
        return text
    behind = next((n for n in range(min(len(marks), limit), 0, -1) if text[-n:] == marks[-n:]), 0)
    return text[: limit - behind] + text[len(text) - behind :]
