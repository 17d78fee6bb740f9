"""Which events need no look, because they differ in nothing but their text from one that was looked at?

All chunks of text of one answer have the same bytes before and after the text: llama.cpp b11549 writes
`data: {"choices":[{"finish_reason":null,"index":0,"delta":{"content":"`, the text, then `"}}],"created":...`
and what else is constant but for the time, which changes once a second. So one such event is parsed, and
those that follow cost two comparisons of bytes and one run over a JSON string.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from . import documents

# the inside of a JSON string (RFC 8259, section 7); atomic, so that no text makes it search twice
STRING: Final = re.compile(
    rb'(?>[^"\\\x00-\x1f]+|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4})*+',
)
_CONTENT: Final = re.compile(rb'"content": ?"')

_CHUNK_KEYS: Final = frozenset(
    {"choices", "created", "id", "model", "object", "service_tier", "system_fingerprint", "usage"}
)
_CHOICE_KEYS: Final = frozenset({"delta", "finish_reason", "index", "logprobs"})


class Ordinary(NamedTuple):
    """The bytes before the text, and those after it up to the end of the event."""

    before: bytes
    after: bytes


NEVER: Final = Ordinary(b"\r", b"")
"""What no event begins with whose lines end in LF."""


def learn(event: bytes, chunk: Mapping[str, Any]) -> Ordinary:
    """What is ordinary after this event, a chunk that passed with its own bytes; else NEVER.

    Only a chunk teaches whose delta is a text alone, and which has nothing that is another in each chunk.
    """
    choice = chunk["choices"][0]
    content = choice["delta"].get("content")
    constant = chunk.keys() <= _CHUNK_KEYS and choice.keys() <= _CHOICE_KEYS
    told = chunk.get("usage") or choice.get("finish_reason") or choice.get("logprobs")
    if not constant or told or not isinstance(content, str) or len(choice["delta"]) > 1:
        return NEVER
    key = _CONTENT.search(event)
    text = STRING.match(event, key.end()) if key else None
    if key is None or text is None:
        return NEVER
    ordinary = Ordinary(event[: key.end()], event[text.end() :])
    # the proof that this is the place of the text: another text put there is read there
    other = documents.read(ordinary.before.removeprefix(b"data: ") + b"?" + event[key.end() :])
    if other is None or other.value["choices"][0]["delta"] != {"content": "?" + content}:
        return NEVER
    return ordinary
