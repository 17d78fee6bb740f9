"""What of a text is thought, and what is said, where the model marks it with tags?

llama-server parses reasoning for chats alone; what /completion sends is the model's text as it is, tags and
all. As Ollama does (thinking/parser.go), only a tag at the very start opens the thoughts, and the blanks
around both tags belong to nothing.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final, NamedTuple

OPEN: Final = "<think>"
CLOSE: Final = "</think>"


class Split(NamedTuple):
    """What one piece of the text adds to both."""

    thinking: str = ""
    content: str = ""


class _At(Enum):
    """Where in the text the next piece stands."""

    START = auto()
    OPENED = auto()
    """Behind the opening tag; no thought has come yet."""
    THOUGHTS = auto()
    CLOSED = auto()
    """Behind the closing tag; nothing has been said yet."""
    CONTENT = auto()


class Tags:
    """Takes one text apart, piece by piece; `opened`: the prompt ends with the opening tag already.

    Held back are a tag that may be beginning, and the blanks before it.
    """

    def __init__(self, *, opened: bool) -> None:
        self._at = _At.OPENED if opened else _At.START
        self._held = ""

    def split(self, text: str) -> Split:
        """What this piece adds."""
        if self._at is _At.CONTENT:
            return Split(content=text)
        text = self._held + text
        self._held = ""
        if self._at is _At.START:
            begun = text.lstrip()
            if OPEN.startswith(begun):  # perhaps not all of it yet
                if begun != OPEN:
                    self._held = text
                    return Split()
            elif not begun.startswith(OPEN):
                self._at = _At.CONTENT
                return Split(content=text)
            self._at = _At.OPENED
            text = begun[len(OPEN) :]
        thinking = ""
        if self._at in (_At.OPENED, _At.THOUGHTS):
            thinking, closed, text = text.partition(CLOSE)
            thinking = self._thought(thinking, bool(closed))
            if not closed:
                return Split(thinking)
            self._at = _At.CLOSED
        text = text.lstrip()
        if text:
            self._at = _At.CONTENT
        return Split(thinking, text)

    def rest(self) -> Split:
        """What was held back, at the end of the text."""
        held, self._held = self._held, ""
        return Split(content=held) if self._at is _At.START else Split(thinking=held.rstrip())

    def _thought(self, text: str, is_all: bool) -> str:
        """The part of the thoughts that is certain; the rest is held."""
        if self._at is _At.OPENED:
            text = text.lstrip()
        end = len(text)
        if not is_all:
            tag = text.rfind("<", max(0, end - len(CLOSE)))
            if tag >= 0 and CLOSE.startswith(text[tag:]):
                end = tag
        certain = text[:end].rstrip()
        if certain:
            self._at = _At.THOUGHTS
        if not is_all:
            self._held = text[len(certain) :]
        return certain
