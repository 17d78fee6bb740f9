"""What surrounds the delta in each chunk of one answer, and is it as every client reads it?

The Copilot CLI needs `id`, openai's helpers and opencode an index on each choice, VS Code whole numbers in
`usage` (vscode-copilot-chat, stream.ts). One `id` serves the whole answer (OpenAI API, the chat completion
chunk object).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

OBJECT: Final = "chat.completion.chunk"

FAILED: Final = frozenset({"error", "abort"})
"""Finish reasons of an answer that broke off: OpenRouter's, and vLLM's and SGLang's. No client knows them."""

# Upstream's word in lower case -> what every client knows; any other word means that the model stopped.
# "max_tokens" is Anthropic's and Gemini's, "model_length" Mistral's.
_FINISHES: Final = {
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
    "content_filter": "content_filter",
}

_COUNTS: Final = ("prompt_tokens", "completion_tokens")


def finish(word: object) -> str | None:
    """The finish reason that upstream's word is, "error" among them; None where it has not finished."""
    if not isinstance(word, str) or not word:
        return None
    known = word.lower()
    return "error" if known in FAILED else _FINISHES.get(known, "stop")


def _count(value: object) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        return int(value)
    if isinstance(value, int | float) and abs(value) < 2**63:
        return int(value)
    return None


def counted(usage: Mapping[str, Any]) -> dict[str, Any] | None:
    """The usage with its three counts as ints, the total supplied; None where it does not tell them."""
    prompt, completion = (_count(usage.get(key)) for key in _COUNTS)
    if prompt is None or completion is None:
        return None
    total = _count(usage.get("total_tokens"))
    counts = (prompt, completion, prompt + completion if total is None else total)
    return {**usage, **dict(zip((*_COUNTS, "total_tokens"), counts, strict=True))}


class FirstChoice:
    """The choice that is answered: the one that came first, whatever number upstream gives it.

    `note` takes a sentence for the log.
    """

    def __init__(self, note: Callable[[str], None]) -> None:
        self._note = note
        self._index: object = None

    def among(self, choices: object) -> dict[str, Any] | None:
        """It, of the choices of one chunk; None where it is not among them."""
        if not isinstance(choices, list):
            return None
        for choice in choices:
            if not isinstance(choice, dict):
                continue
            index = choice.get("index")
            if self._index is None:
                self._index = index
            if index is None or index == self._index:
                return choice
            self._note("another choice than the first was dropped")
        return None


class Envelope:
    """The id, time and model of one answer, as its first chunks told them, or as they are supplied."""

    def __init__(self, created: int, model: str | None, new_id: str) -> None:
        self._id: str | None = None
        self._new_id = new_id
        self._created = created
        self._model = model

    def fill(self, chunk: dict[str, Any]) -> bool:
        """Put right what surrounds the choices, in place; returns whether anything had to be."""
        theirs = chunk.get("id")
        if self._id is None:
            self._id = theirs if isinstance(theirs, str) and theirs else self._new_id
        if type(chunk.get("created")) is int:
            self._created = chunk["created"]
        if isinstance(chunk.get("model"), str) and (chunk["model"] or self._model is None):
            self._model = chunk["model"]
        changed = (
            theirs != self._id
            or type(chunk.get("created")) is not int
            or chunk.get("object") != OBJECT
            or chunk.get("model", "") != (self._model or "")
        )
        if changed:
            chunk.update(id=self._id, created=self._created, object=OBJECT, model=self._model)
            if self._model is None:
                del chunk["model"]
        return self._fill_usage(chunk) or changed

    def _fill_usage(self, chunk: dict[str, Any]) -> bool:
        usage = chunk.get("usage")
        if usage is None:
            return False
        right = counted(usage) if isinstance(usage, dict) else None
        if right is None:
            del chunk["usage"]
            return True
        chunk["usage"] = right
        return usage != right or any(type(usage[key]) is not int for key in (*_COUNTS, "total_tokens"))

    def chunk(self, delta: dict[str, Any], finish_reason: str | None) -> dict[str, Any]:
        """A chunk of our own, that looks like the others; its keys stand as llama-server puts them."""
        chunk: dict[str, Any] = {
            "choices": [{"finish_reason": finish_reason, "index": 0, "delta": delta}],
            "created": self._created,
            "id": self._id or self._new_id,
        }
        if self._model is not None:
            chunk["model"] = self._model
        return chunk | {"object": OBJECT}
