"""How does a client see what a model thought, and what is saved of it where nothing else came?

llama-server and DeepSeek call it `reasoning_content`, vLLM and OpenRouter `reasoning`, Ollama `thinking`.
Of Copilot's clients VS Code reads `cot_summary`, `reasoning_text`, `reasoning_content`, `reasoning` and
`thinking`, the first that is there, the third and fourth only from about 1.122 on (microsoft/vscode#318211);
the Copilot CLI and the language server read `reasoning_text` (github/copilot-cli#3736). VS Code sends it back
only where the stream gave it an id.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Any, Final, NamedTuple

from . import documents

TEXT_KEYS: Final = ("reasoning_content", "reasoning_text", "reasoning", "thinking", "cot_summary")
# `reasoning_opaque` marks reasoning as encrypted: VS Code hides it. `reasoning_details` is OpenRouter's copy.
KEYS: Final = frozenset({*TEXT_KEYS, "cot_id", "reasoning_opaque", "reasoning_details", "signature"})

KEPT: Final = 64 * 1024
"""Characters of the end of the reasoning that are kept: a tool call is at most an edit of one file."""
_PIECES = 512  # the pieces are joined when there are more, so that they cost little more than their text


class Reasoning(Enum):
    """What `--reasoning` can be: for Copilot's clients, as ordinary text, or not at all."""

    COPILOT = "copilot"
    CONTENT = "content"
    OFF = "off"


class Quote:
    """Reasoning as a block quote of Markdown, written piece by piece: `> ` stands at each line's start."""

    def __init__(self) -> None:
        self.is_open = False
        self._line_begun = False

    def add(self, text: str, *, after_text: bool) -> str:
        """What this piece of reasoning adds to the answer; nothing before its first visible character."""
        if not self.is_open:
            text = text.lstrip()
        if not text:
            return ""
        before = "" if self._line_begun else "> "
        if not self.is_open and after_text:
            before = "\n\n> "
        self.is_open = True
        self._line_begun = not text.endswith("\n")
        return before + text.removesuffix("\n").replace("\n", "\n> ") + ("" if self._line_begun else "\n")

    def close(self) -> str:
        """What stands between an open quote and the text after it: a blank line."""
        if not self.is_open:
            return ""
        blank = "\n\n" if self._line_begun else "\n"
        self.is_open = self._line_begun = False
        return blank


class Tail:
    """The last characters of all reasoning, at most `KEPT` and a few pieces."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._length = 0

    def __bool__(self) -> bool:
        return bool(self._pieces)

    @property
    def is_all(self) -> bool:
        """Whether nothing was lost of what was added."""
        return self._length <= KEPT

    def add(self, text: str) -> None:
        self._length += len(text)
        self._pieces.append(text)
        if len(self._pieces) > _PIECES or len(text) > KEPT:
            self._pieces = ["".join(self._pieces)[-KEPT:]]

    def text(self) -> str:
        return "".join(self._pieces)[-KEPT:]

    def clear(self) -> None:
        self._pieces.clear()


class FoundCall(NamedTuple):
    """A tool call that a model wrote into its reasoning."""

    name: str
    arguments: str


_OPEN, _CLOSE = "<tool_call>", "</tool_call>"
_OPENINGS = re.compile(_OPEN)
_TRIED = 64  # of them at most, so that a text full of tags costs no second


def calls_at_end(reasoning: str) -> list[FoundCall]:
    """The tool calls in Hermes' notation with which the reasoning ends, in their order; often none.

    Models of the Qwen family call a tool before they close their thoughts, and llama-server takes the call
    for a part of them (ggml-org/llama.cpp#22684).
    """
    found: list[FoundCall] = []
    rest = reasoning.rstrip()
    while rest.endswith(_CLOSE):
        # arguments may quote the opening tag: the last one is tried first, and only a whole call fits
        openings = [match.start() for match in _OPENINGS.finditer(rest)]
        for opening in reversed(openings[-_TRIED:]):
            call = _call(rest[opening + len(_OPEN) : -len(_CLOSE)])
            if call is not None:
                found.insert(0, call)
                rest = rest[:opening].rstrip()
                break
        else:
            break
    return found


def _call(text: str) -> FoundCall | None:
    document = documents.read(text.encode(errors="replace"))
    if document is None or not isinstance(document.value, dict):
        return None
    call: dict[str, Any] = document.value
    name, arguments = call.get("name"), call.get("arguments", {})
    if isinstance(arguments, dict):
        arguments = documents.write(arguments).decode()
    if not isinstance(name, str) or not name or not isinstance(arguments, str):
        return None
    return FoundCall(name, arguments) if not arguments or documents.is_whole(arguments) else None
