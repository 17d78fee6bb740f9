"""What does one event say, in the shape of llama-server's chats or in that of its /completion and /infill?

Each event costs one typed parse. It knows what llama.cpp b11549 writes and nothing more: an event that has
another key where text could stand, or a value of another type, is read a second time without types, by the
rules that hold for the answers of other servers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from .. import chunks, documents
from ..deltas import take_apart


class Alternative(msgspec.Struct, omit_defaults=True, gc=False):
    """A token and how probable it was: `utf8` are the bytes of its text."""

    token: str
    logprob: float
    utf8: list[int] = msgspec.field(default_factory=list, name="bytes")


class Logprob(Alternative, omit_defaults=True, gc=False):
    """The token that was chosen, and those that stood beside it."""

    top_logprobs: list[Alternative] = []


class Timings(msgspec.Struct, gc=False):
    """llama-server's: `cache_n` tokens of the prompt were in its cache, and are not in `prompt_n`."""

    cache_n: int = 0
    prompt_n: int = 0
    prompt_ms: float = 0
    predicted_n: int = 0
    predicted_ms: float = 0


class Usage(msgspec.Struct, gc=False):
    """OpenAI's counts."""

    prompt_tokens: int
    completion_tokens: int


class _Delta(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    role: str | None = None
    content: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[Any] | None = None


class _Probabilities(msgspec.Struct, gc=False):
    content: list[Logprob] | None = None


class _Choice(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    delta: _Delta
    finish_reason: str | None = None
    index: int = 0
    logprobs: _Probabilities | None = None


class Chunk(msgspec.Struct, gc=False):
    """One event, as llama-server writes it."""

    choices: list[_Choice] | None = None
    content: str | None = None
    tokens: list[int] | None = None
    stop: bool = False
    stop_type: str | None = None
    completion_probabilities: list[Logprob] | None = None
    timings: Timings | None = None
    usage: Usage | None = None
    error: Any = None


Said = tuple[str | None, str | None, list[Any] | None, list[Logprob] | None, str | None]
"""What an event says: thoughts, text, items of tool calls, probabilities, and the finish as `chunks.finish`
gives it. A plain tuple, since one is made for each token."""

decode: Final = msgspec.json.Decoder(Chunk).decode
"""Reads an event's data; raises what `documents.REFUSALS` names where it is another shape, or no JSON."""

_LIMIT: Final = "limit"  # the stop_type of an answer that reached n_predict, or the end of the context


def said(chunk: Chunk) -> Said:
    """What the event says, in whichever shape."""
    if chunk.choices:
        choice = chunk.choices[0]
        delta, logprobs = choice.delta, choice.logprobs
        return (
            delta.reasoning_content,
            delta.content,
            delta.tool_calls,
            None if logprobs is None else logprobs.content,
            None if choice.finish_reason is None else chunks.finish(choice.finish_reason),
        )
    if chunk.content is None and not chunk.stop:
        return None, None, None, None, None
    finish = None
    if chunk.stop:
        finish = "length" if chunk.stop_type == _LIMIT else "stop"
    return (None, chunk.content, None, chunk.completion_probabilities, finish)


def asked(logprobs: list[Logprob] | None, alternatives: int | None) -> list[Logprob] | None:
    """The probabilities, each with as many alternatives; None where none are wanted.

    `bytes` are those of the token's text, as Ollama's tests want it (integration/api_test.go); llama-server
    has there what the token really is, of which the text may be a part.
    """
    if not logprobs or alternatives is None:
        return None
    for chosen in logprobs:
        chosen.top_logprobs = chosen.top_logprobs[:alternatives]
        for token in (chosen, *chosen.top_logprobs):
            token.utf8 = list(token.token.encode())
    return logprobs


def lenient(value: Mapping[str, Any]) -> Chunk:
    """The event that this document is, with what has no meaning left out."""
    choices = value.get("choices")
    first = (one for one in choices if isinstance(one, dict)) if isinstance(choices, list) else iter(())
    choice = next(first, None)
    content, tokens, stop_type = value.get("content"), value.get("tokens"), value.get("stop_type")
    probabilities = value.get("completion_probabilities")
    return Chunk(
        None if choice is None else [_choice(choice)],
        content if isinstance(content, str) else None,
        tokens if isinstance(tokens, list) and all(type(token) is int for token in tokens) else None,
        value.get("stop") is True,
        stop_type if isinstance(stop_type, str) else None,
        _logprobs(probabilities),
        _timings(value.get("timings")),
        _usage(value.get("usage")),
        value.get("error") or (choice or {}).get("error"),
    )


def _choice(choice: Mapping[str, Any]) -> _Choice:
    delta, finish, logprobs = choice.get("delta"), choice.get("finish_reason"), choice.get("logprobs")
    if not isinstance(delta, dict) or not delta:
        delta = message if isinstance(message := choice.get("message"), dict) else {}
    parts = take_apart(delta)
    return _Choice(
        _Delta(None, parts.content, parts.reasoning, parts.calls),
        finish if isinstance(finish, str) else None,
        0,
        _Probabilities(_logprobs(logprobs.get("content"))) if isinstance(logprobs, dict) else None,
    )


def _logprobs(items: object) -> list[Logprob] | None:
    if not isinstance(items, list):
        return None
    return [
        Logprob(
            documents.sound(item["token"]),
            item["logprob"],
            top_logprobs=[
                Alternative(documents.sound(other["token"]), other["logprob"])
                for other in item.get("top_logprobs") or ()
                if _is_probability(other)
            ],
        )
        for item in items
        if _is_probability(item)
    ]


def _is_probability(item: object) -> bool:
    return (
        isinstance(item, dict)
        and isinstance(item.get("token"), str)
        and isinstance(item.get("logprob"), int | float)
    )


def _timings(value: object) -> Timings | None:
    if not isinstance(value, dict):
        return None
    return Timings(*(_number(value.get(key)) for key in Timings.__struct_fields__))


def _number(value: object) -> Any:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else 0


def _usage(value: object) -> Usage | None:
    counts = chunks.counted(value) if isinstance(value, dict) else None
    return Usage(counts["prompt_tokens"], counts["completion_tokens"]) if counts else None
