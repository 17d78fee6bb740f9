"""How does Ollama write a piece of an answer? Its keys, in its order, and what it leaves out.

Source: ollama, api/types.go (ChatResponse, GenerateResponse, ToolCall, Logprob), fb30760. What Go leaves out
where it is empty is left out here.
"""

from __future__ import annotations

import re
from datetime import datetime
from enum import Enum
from typing import Final

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


def _stamped(created: datetime) -> datetime:
    """The time with a fraction, which clients want that read one; Go too writes none where it is zero."""
    return created if created.microsecond else created.replace(microsecond=1)


def chat(
    model: str,
    created: datetime,
    content: str = "",
    thinking: str = "",
    calls: list[ToolCall] | None = None,
    logprobs: list[Logprob] | None = None,
) -> Line:
    """A piece of a chat's answer."""
    message = _Message("assistant", content, thinking, calls)
    return ChatLine(model=model, created_at=_stamped(created), message=message, done=False, logprobs=logprobs)


def generation(
    model: str,
    created: datetime,
    content: str = "",
    thinking: str = "",
    calls: list[ToolCall] | None = None,
    logprobs: list[Logprob] | None = None,
) -> Line:
    """A piece of a generation's answer."""
    return GenerateLine(
        model=model,
        created_at=_stamped(created),
        response=content,
        thinking=thinking,
        done=False,
        tool_calls=calls,
        logprobs=logprobs,
    )


PIECES: Final = {Shape.CHAT: chat, Shape.GENERATE: generation}
"""What makes a line of each shape."""


def end(line: Line, reason: str, context: list[int] | None = None, **numbers: int) -> None:
    """Make the line the last one; a chat has no context."""
    line.done = True
    line.done_reason = reason
    if isinstance(line, GenerateLine):
        line.context = context
    for name, number in numbers.items():
        setattr(line, name, number)


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
    line = PIECES[shape](model, created)
    end(line, reason)
    return write(line)
