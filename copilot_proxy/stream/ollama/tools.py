"""How do the tool calls of an answer leave for a client of Ollama's? Whole, and with an object as arguments.

Ollama fails the answer where the arguments are none (llm/llama_server.go); so do we, since a client would
carry out something else than the model meant.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ...errors import BrokenAnswer
from .. import documents
from ..calls import Calls
from ..failures import NAMELESS_CALL
from .line import Function, ToolCall

_INVALID = 'llama-server returned invalid tool call arguments for "{name}": {why}'
_CUT = "the answer reached its limit of tokens inside them; raise the context or num_predict"
_NO_OBJECT = "they were cut off or are no JSON object"

# what stands for no arguments at all: Go reads null into a map as an empty one
_NONE = ("", "null")


def whole_calls(calls: Calls, finish: str) -> list[ToolCall]:
    """The calls of an answer that has come to this finish.

    Raises BrokenAnswer where one has no name, or no object as its arguments.
    """
    broken = calls.broken()
    if broken is not None:
        raise _failure(broken.name, finish)
    return [_whole(item, finish) for item in calls.held()]


def _failure(name: str, finish: str) -> BrokenAnswer:
    logged = "a call of a tool has no name, was cut off or is no JSON object"
    if not name:
        return BrokenAnswer(NAMELESS_CALL, logged=logged)
    why = _CUT if finish == "length" else _NO_OBJECT
    return BrokenAnswer(_INVALID.format(name=name, why=why), logged=logged)


def _whole(item: dict[str, Any], finish: str) -> ToolCall:
    function = item["function"]
    name, arguments = function["name"], function["arguments"].strip(" \t\r\n")
    if arguments in _NONE:
        arguments = "{}"
    if not arguments.startswith("{"):
        raise _failure(name, finish)
    return ToolCall(
        documents.sound(item["id"]), Function(item["index"], documents.sound(name), _one_line(arguments))
    )


def _one_line(document: str) -> msgspec.Raw:
    """The document with every token as it was written: a bare line's end can only stand between them.

    Half a surrogate pair can only stand in a string, and is written as the escape that means the same.
    """
    return msgspec.Raw(document.replace("\r", " ").replace("\n", " ").encode(errors="backslashreplace"))
