"""How does Ollama write a piece of an answer? Its keys, in its order, and what it leaves out.

Source: ollama, api/types.go (ChatResponse, GenerateResponse, ToolCall, Logprob), fb30760. What Go leaves out
where it is empty is left out here.
"""

from __future__ import annotations

import re
from datetime import datetime
from enum import Enum
from typing import Any, Final

import msgspec

from ...errors import SHAPES, Dialect, ProxyError
from .. import documents
from .chunk import Logprob


class Shape(Enum):
    """Which route answers: a chat tells a message, a generation a response."""

    CHAT = "chat"
    GENERATE = "generate"


class Function(msgspec.Struct):
    """`arguments` are an object with the bytes that the model wrote."""

    index: int
    name: str
    arguments: msgspec.Raw


class ToolCall(msgspec.Struct):
    """A whole call: Ollama cuts none in pieces, and writes no `type`."""

    id: str
    function: Function


class _Message(msgspec.Struct, omit_defaults=True, gc=False):
    role: str
    content: str
    thinking: str = ""
    tool_calls: list[ToolCall] | None = None


class ChatLine(msgspec.Struct, omit_defaults=True, kw_only=True, gc=False):
    """One line of /api/chat."""

    model: str
    created_at: datetime
    message: _Message
    done: bool
    done_reason: str = ""
    logprobs: list[Logprob] | None = None
    total_duration: int = 0
    load_duration: int = 0
    prompt_eval_count: int = 0
    prompt_eval_duration: int = 0
    eval_count: int = 0
    eval_duration: int = 0


class GenerateLine(msgspec.Struct, omit_defaults=True, kw_only=True, gc=False):
    """One line of /api/generate."""

    model: str
    created_at: datetime
    response: str
    thinking: str = ""
    done: bool
    done_reason: str = ""
    context: list[int] | None = None
    total_duration: int = 0
    load_duration: int = 0
    prompt_eval_count: int = 0
    prompt_eval_duration: int = 0
    eval_count: int = 0
    eval_duration: int = 0
    tool_calls: list[ToolCall] | None = None
    logprobs: list[Logprob] | None = None


Line = ChatLine | GenerateLine

_encode: Final = msgspec.json.Encoder().encode

# What ends a line for Python's str.splitlines and so for httpx, by which ollama-python reads lines, and may
# stand in a JSON string as it is: U+0085, U+2028 and U+2029. Go escapes the last two (encoding/json).
_BREAKS: Final = re.compile(rb"\xc2\x85|\xe2\x80[\xa8\xa9]")


def line(
    shape: Shape,
    model: str,
    created: datetime,
    content: str = "",
    thinking: str = "",
    tool_calls: list[ToolCall] | None = None,
    logprobs: list[Logprob] | None = None,
    *,
    done: bool = False,
    **last: Any,
) -> Line:
    """One line; `last` is what only the last one has. A `context` is a generation's alone."""
    if not created.microsecond:  # clients that read a fraction want one
        created = created.replace(microsecond=1)
    if shape is Shape.GENERATE:
        return GenerateLine(
            model=model,
            created_at=created,
            response=content,
            thinking=thinking,
            done=done,
            tool_calls=tool_calls,
            logprobs=logprobs,
            **last,
        )
    return ChatLine(
        model=model,
        created_at=created,
        message=_Message("assistant", content, thinking, tool_calls),
        done=done,
        logprobs=logprobs,
        **last,
    )


def write(document: Line) -> bytes:
    """The document as JSON without a line's end, for any reader of lines, in it or behind it."""
    data = _encode(document)
    return data if data.isascii() else _BREAKS.sub(_escaped, data)


def _escaped(found: re.Match[bytes]) -> bytes:
    return b"\\u%04x" % ord(found[0].decode())


def error_line(error: ProxyError) -> bytes:
    """The line that tells a failure inside a stream."""
    return _BREAKS.sub(_escaped, documents.write(SHAPES[Dialect.OLLAMA](error))) + b"\n"


def load(shape: Shape, model: str, reason: str, created: datetime) -> bytes:
    """The whole answer to a request that only loads or unloads the model: `reason` is "load" or "unload"."""
    return write(line(shape, model, created, done=True, done_reason=reason))
