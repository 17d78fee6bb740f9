"""How is the JSON of an event read and written, where msgspec refuses it too?

msgspec refuses half of a surrogate pair in an escape, which an upstream written in JavaScript sends when an
emoji falls between two chunks, and bytes that are no UTF-8. Both have a meaning for every client, so the
standard library's parser is asked second.
"""

from __future__ import annotations

import json
import math
from typing import Any, Final, NamedTuple

import msgspec


def _finite(digits: str) -> float | None:
    """NaN and the infinities, which JSON has not, are null."""
    number = float(digits)
    return number if math.isfinite(number) else None


_SECOND_OPINION = json.JSONDecoder(parse_float=_finite, parse_constant=_finite)


REFUSALS: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that are no document, or none of the type that was asked for."""


class Document(NamedTuple):
    """A JSON value. `exact`: its own bytes say the same to every client, and can be sent as they are."""

    value: Any
    exact: bool


def read(data: bytes) -> Document | None:
    """The document, or None where it is none."""
    try:
        return Document(msgspec.json.decode(data), True)
    except REFUSALS:
        pass
    try:
        return Document(_SECOND_OPINION.decode(data.decode(errors="replace").strip()), False)
    except (ValueError, RecursionError):
        return None


class Halves:
    """Puts the halves of surrogate pairs together that stand in two pieces of one text."""

    def __init__(self) -> None:
        self._held = ""

    def join(self, text: str) -> str:
        """The text as UTF-8 can write it: what is no half of a whole pair becomes U+FFFD."""
        text = self._held + text
        self._held = text[-1:] if "\ud800" <= text[-1:] <= "\udbff" else ""
        text = text.removesuffix(self._held)
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def write(value: Any) -> bytes:
    """The value as JSON without whitespace; half a surrogate pair is written as an escape."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":")).encode()


def same(one: Any, other: Any) -> bool:
    """Whether two exact documents differ only in the order of keys; 1, 1.0 and true are three values."""
    return bool(one == other) and (
        msgspec.json.encode(one, order="sorted") == msgspec.json.encode(other, order="sorted")
    )


def is_whole(text: str) -> bool:
    """Whether the text is one JSON document, as JavaScript's JSON.parse judges it."""
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        try:
            json.loads(text, parse_constant=_refused)
        except (ValueError, RecursionError):
            return False
    return True


def _refused(word: str) -> None:
    raise ValueError(word)


def sound(text: str) -> str:
    """The text as UTF-8 can write it: half a surrogate pair becomes a question mark."""
    return text.encode(errors="replace").decode()
