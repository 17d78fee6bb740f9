"""What is in one delta? Reasoning, text and tool calls, which no two leave in one chunk.

VS Code drops the text of a delta that has tool calls, even an empty array of them, and before 0.30 took a
delta with any key of reasoning for nothing else (vscode-copilot-chat, stream.ts).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from .reasoning import KEYS, TEXT_KEYS


class Parts(NamedTuple):
    """One delta, taken apart. `rest` is what belongs to none of the parts: the role, and keys not known."""

    rest: dict[str, Any]
    reasoning: str
    content: str
    calls: list[object]


_NOT_REST = KEYS | {"content", "tool_calls", "function_call"}


def take_apart(delta: Mapping[str, Any]) -> Parts:
    """The parts of a delta or of a message; those that are missing are empty."""
    return Parts(
        {key: value for key, value in delta.items() if key not in _NOT_REST},
        next((text for key in TEXT_KEYS if isinstance(text := delta.get(key), str) and text), ""),
        _text(delta.get("content")),
        _calls(delta),
    )


def _text(content: object) -> str:
    """A text, or the texts of an array of parts, as Mistral's models stream them."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    texts = (part.get("text") for part in content if isinstance(part, dict))
    return "".join(text for text in texts if isinstance(text, str))


def _calls(delta: Mapping[str, Any]) -> list[object]:
    """The items of `tool_calls`, or OpenAI's older `function_call`, of which an answer has one at most."""
    calls = delta.get("tool_calls")
    if isinstance(calls, list) and calls:
        return calls
    if isinstance(calls, dict):
        return [calls]
    function = delta.get("function_call")
    return [{"function": function}] if isinstance(function, dict) else []
