"""How is JSON taken apart and put together again without respelling a number or a string?

By msgspec: `format` drops the whitespace between tokens and copies the tokens, and a `Raw` is a slice of
the document that is copied as it stands when what surrounds it is encoded anew. So keys keep their order,
1.0 stays 1.0, an integer of fifty digits keeps all of them, and the same request becomes the same bytes.

What msgspec 0.22 leaves to us: it does not look for bad UTF-8 inside strings, refuses the byte order mark
that llama-server takes, calls half of a surrogate pair "truncated", and names no line and column. The last
two matter only once a document is refused, so that path may be slow: it asks the standard library's parser,
whose messages are better, and keeps msgspec's where that parser sees nothing wrong (NaN) or only something
further on.
"""

import codecs
import json
import re
from collections.abc import Mapping, Sequence
from typing import ClassVar, Self, TypeVar

import msgspec

_T = TypeVar("_T")

_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ARRAY = msgspec.json.Decoder(list[msgspec.Raw])
_STRING = msgspec.json.Decoder(str)

# The standard library's parser, told not to convert numbers: int() refuses more than 4300 digits.
_SECOND_OPINION = json.JSONDecoder(parse_int=len, parse_float=len)
# A whole surrogate pair, or (group 1) half of one, or any other escape. Tried on well-formed strings only.
_ESCAPE = re.compile(r"\\u[dD][89abAB]..\\u[dD][c-fC-F]..|(\\u[dD][89a-fA-F]..)|\\.")

_EXCERPT = 40  # characters of the document that a message shows: enough to find the place by eye

OBJECT, ARRAY, STRING, NUMBER = "an object", "an array", "a string", "a number"
_KINDS = {"{": OBJECT, "[": ARRAY, '"': STRING, "t": "true", "f": "false", "n": "null"}


class InvalidJSON(ValueError):
    """A document that is no JSON, or not the JSON that was asked for; its text tells a person where to look.

    `line` and `column` count characters from 1; `byte` counts bytes of the document as it was sent, from 0.
    They point at the start of the document where no place in it can be blamed.
    """

    status: ClassVar[int] = 400

    def __init__(self, message: str, *, line: int = 1, column: int = 1, byte: int = 0) -> None:
        super().__init__(message)
        self.line = line
        self.column = column
        self.byte = byte

    @classmethod
    def at(cls, reason: str, text: str, position: int, skipped: int) -> Self:
        """The error for a reason and the character it holds for; `skipped` bytes stood before the text."""
        before = text[:position]
        line = before.count("\n") + 1
        column = position - before.rfind("\n")
        byte = skipped + len(before.encode())
        place = f"at line {line}, column {column} (byte {byte}), near: {_excerpt(text, position)}"
        return cls(f"not valid JSON: {reason} {place}", line=line, column=column, byte=byte)


def minify(body: bytes) -> bytes:
    """The same document without whitespace between its tokens; every token keeps its spelling and its place.

    A byte order mark is dropped. Raises InvalidJSON, also for nesting of about a thousand levels (the stack
    of the interpreter is the limit; llama.cpp b11549 took 200 000).
    """
    data = body.removeprefix(codecs.BOM_UTF8)
    if not data.strip(b" \t\r\n"):
        raise InvalidJSON("the body is empty, JSON is expected")
    try:
        data.decode()
        return msgspec.json.format(data, indent=-1)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _explained(error, data, len(body) - len(data)) from error


def members(raw: bytes) -> dict[str, msgspec.Raw] | None:
    """The members of a JSON object in their order, each value as it is spelled; None for any other value.

    Of a key that is there twice the last value is kept, as llama.cpp b11549 does. The values are slices of
    `raw` and keep it in memory. Raises InvalidJSON; bad UTF-8 inside the values is not looked for, that is
    what `minify` does.
    """
    return _decoded(_OBJECT, raw)


def items(raw: bytes) -> list[msgspec.Raw] | None:
    """The items of a JSON array, each as it is spelled; None for any other value. Raises InvalidJSON."""
    return _decoded(_ARRAY, raw)


def string(raw: bytes) -> str | None:
    """The text of a JSON string; None for any other value. Raises InvalidJSON."""
    return _decoded(_STRING, raw)


def joined(value: Mapping[str, msgspec.Raw] | Sequence[msgspec.Raw] | str) -> msgspec.Raw:
    """The JSON of an object, an array or a text; values that are Raw are copied as they are spelled."""
    return msgspec.Raw(msgspec.json.encode(value))


def kind(raw: bytes) -> str:
    """What a JSON value is, in words that follow "this is"; no whitespace may stand before it."""
    return _KINDS.get(chr(memoryview(raw)[0]), NUMBER)


def typed(decoder: msgspec.json.Decoder[_T], raw: bytes) -> _T:
    """The value as its decoder makes it.

    Raises InvalidJSON, and msgspec.ValidationError where a part of the value has another type.
    """
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError:
        raise
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _explained(error, bytes(raw), 0) from error


def _decoded(decoder: msgspec.json.Decoder[_T], raw: bytes) -> _T | None:
    try:
        return typed(decoder, raw)
    except msgspec.ValidationError:
        return None


def _explained(error: Exception, data: bytes, skipped: int) -> InvalidJSON:
    """What to tell the person whose document msgspec refused; `skipped` bytes stood before the data."""
    if isinstance(error, RecursionError):
        return InvalidJSON("not valid JSON: nested too deeply")
    try:
        text = data.decode()
    except UnicodeDecodeError as bad:
        text = data.decode(errors="replace")
        reason = f"the byte 0x{data[bad.start]:02x} is not UTF-8"
        return InvalidJSON.at(reason, text, len(data[: bad.start].decode()), skipped)
    reason, position = _complaint_of_msgspec(error, data)
    try:
        _SECOND_OPINION.decode(text)
    except json.JSONDecodeError as second:
        if second.pos <= position:
            reason, position = second.msg.removesuffix(" at"), second.pos
    except RecursionError:
        pass
    else:
        halves = (found for found in _ESCAPE.finditer(text) if found[1])
        half = next(halves, None)
        if half is not None and half.start() <= position:
            reason, position = f"{half[1]} is half of a surrogate pair", half.start()
    return InvalidJSON.at(reason, text, position, skipped)


def _complaint_of_msgspec(error: Exception, data: bytes) -> tuple[str, int]:
    """Its reason, and the place in characters: msgspec counts bytes, and gives none at the end."""
    reason, _, place = str(error).removeprefix("JSON is malformed: ").partition(" (byte ")
    byte = int(place.rstrip(")")) if place else len(data)
    return reason, len(data[:byte].decode(errors="ignore"))


def _excerpt(text: str, position: int) -> str:
    """What stands around a place, at most half of it before; characters without a glyph are escaped."""
    near = ""
    for character in reversed(text[:position][-_EXCERPT:]):
        if len(longer := _visible(character) + near) > _EXCERPT // 2:
            break
        near = longer
    for character in text[position:][:_EXCERPT]:
        if len(longer := near + _visible(character)) > _EXCERPT:
            break
        near = longer
    return near


def _visible(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode()
