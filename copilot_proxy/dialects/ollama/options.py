"""What do Ollama's `options` mean to llama-server?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from attrs import frozen
from msgspec import Raw

from ...errors import BadOption
from ..jsontext import ARRAY, kind, members

INTEGER, FLOAT, BOOLEAN, STRINGS = "integer", "float32", "boolean", "array"

_LARGEST: Final = 2**31 - 1  # llama-server keeps most of its counts in 32 bits
_LOWEST_LONG, _LARGEST_LONG = -(2**63), 2**63 - 1

# Times the context that one answer may have where its length is left open (llm/llama_server.go)
_OPEN_ENDED: Final = 10

# Tokens that "the whole context" is where upstream does not tell its own: the most that Ollama takes by
# itself. llama.cpp sets memory aside for as many as it is told.
_SOME_CONTEXT: Final = 262_144


def _as_it_is(value: Any, context_length: int | None) -> Any:
    return value


def _budget(count: int, context_length: int | None) -> int:
    """Tokens of an answer: what Ollama bounds it to, or open (-1, the only negative that is taken)."""
    if not context_length:
        return max(-1, min(count, _LARGEST))
    limit = _OPEN_ENDED * context_length
    return count if 0 <= count <= limit else limit


def _window(count: int, context_length: int | None) -> int:
    """Tokens to look back: -1 is the whole context, which llama.cpp b11549 answers 400."""
    context = context_length or _SOME_CONTEXT
    return count if 0 <= count <= context else context


def _kept(count: int, context_length: int | None) -> int:
    """Tokens to keep: -1 is all; less or more b11549 answers 400."""
    return max(-1, min(count, _LARGEST))


@frozen
class Option:
    """One of Ollama's options: what it is there, and what becomes of it."""

    name: str
    type: str
    """What Ollama's refusal of another type calls this one."""
    default: Any = None
    """Sent where the client says nothing; None: then nothing is sent."""
    field: str | None = None
    """llama-server's name for it; None: it is not sent, since it belongs to the loading of a model."""
    fitted: Callable[[Any, int | None], Any] = _as_it_is
    """From the value and the context's tokens to what llama-server takes."""
    checked: bool = True
    """False: Ollama does not know it any more, and so a value of another type is no error."""


# api/types.go of Ollama 0.33. Its defaults differ from llama.cpp's (top_p 0.95, min_p 0.05), so all of them
# are sent, as Ollama does; and as there, a name that is not here is ignored (num_gqa, tfs_z, f16_kv ...).
OPTIONS: Final = (
    Option("temperature", FLOAT, 0.8, "temperature"),
    Option("top_k", INTEGER, 40, "top_k"),
    Option("top_p", FLOAT, 0.9, "top_p"),
    Option("min_p", FLOAT, 0.0, "min_p"),
    Option("typical_p", FLOAT, 1.0, "typical_p"),
    Option("repeat_last_n", INTEGER, 64, "repeat_last_n", _window),
    Option("repeat_penalty", FLOAT, 1.0, "repeat_penalty"),
    Option("presence_penalty", FLOAT, 0.0, "presence_penalty"),
    Option("frequency_penalty", FLOAT, 0.0, "frequency_penalty"),
    Option("seed", INTEGER, -1, "seed"),
    Option("num_keep", INTEGER, 4, "n_keep", _kept),
    Option("num_predict", INTEGER, -1, "n_predict", _budget),
    Option("stop", STRINGS, None, "stop"),
    # removed from Ollama in May 2025; llama-server still has them, and clients still send them
    Option("mirostat", INTEGER, None, "mirostat", checked=False),
    Option("mirostat_tau", FLOAT, None, "mirostat_tau", checked=False),
    Option("mirostat_eta", FLOAT, None, "mirostat_eta", checked=False),
    # llama-server is told these when it starts
    Option("num_ctx", INTEGER),
    Option("num_batch", INTEGER),
    Option("num_gpu", INTEGER),
    Option("main_gpu", INTEGER),
    Option("num_thread", INTEGER),
    Option("draft_num_predict", INTEGER),
    Option("use_mmap", BOOLEAN),
)

_DECODERS: Final[Mapping[str, msgspec.json.Decoder[Any]]] = {
    INTEGER: msgspec.json.Decoder(int | float),
    FLOAT: msgspec.json.Decoder(float),
    BOOLEAN: msgspec.json.Decoder(bool),
    # Ollama takes no bare string; its own openapi.yaml offers one, and Continue and LiteLLM send it
    STRINGS: msgspec.json.Decoder(list[str] | str),
}


def to_llama(options: Raw | None, *, context_length: int | None) -> dict[str, Any]:
    """The fields of /completion and /v1/chat/completions, in the order of the table.

    `context_length` is the tokens of a slot of upstream, None where it does not tell. Where Ollama wants an
    integer, a fraction is cut off; null says nothing. Raises BadOption in Ollama's words.
    """
    given = members(options or Raw(b"null")) or {}
    sent: dict[str, Any] = {}
    for option in OPTIONS:
        value = _value(option, given.get(option.name, Raw(b"null")))
        if value is None:
            value = option.default
        if option.field is not None and value is not None:
            sent[option.field] = option.fitted(value, context_length)
    return sent


def _value(option: Option, raw: Raw) -> Any:
    """The value as Python has it; None where nothing is said."""
    if bytes(raw) == b"null":
        return None
    try:
        value = _DECODERS[option.type].decode(raw)
    except msgspec.ValidationError:
        if not option.checked:
            return None
        wanted = (
            "an array of strings" if option.type == STRINGS and kind(raw) == ARRAY else f"type {option.type}"
        )
        raise BadOption(f'option "{option.name}" must be of {wanted}') from None
    if option.type == INTEGER:
        return max(_LOWEST_LONG, min(int(value), _LARGEST_LONG))
    if option.type == STRINGS:
        return ([value] if isinstance(value, str) else value) or None
    return value
