"""How long is `keep_alive`? (api/types.go, and Go's time.ParseDuration)"""

from __future__ import annotations

import math
import re
from typing import Final

import msgspec
from msgspec import Raw

from ...errors import BadRequest
from ..jsontext import ARRAY, NUMBER, OBJECT, STRING, kind, string

# One number with its unit; what follows a number up to the next one is taken for its unit.
_PIECE: Final = re.compile(r"(?P<whole>[0-9]*)(?:\.(?P<part>[0-9]*))?(?P<unit>[^0-9.]*)")

# unit -> seconds; the micro sign and the Greek letter are both taken
_UNITS: Final = {
    "ns": 1e-9,
    **dict.fromkeys(("us", "\u00b5s", "\u03bcs"), 1e-6),
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
}

# Go counts nanoseconds in 64 bits: about 292 years
_LONGEST: Final = 2**63 * 1e-9

# kind -> the name that Go has for a value that is neither number nor string
_GO_TYPES: Final = {ARRAY: "[]interface {}", OBJECT: "map[string]interface {}"}


def seconds(keep_alive: Raw | None) -> float | None:
    """The seconds; None where nothing was said, math.inf for every negative length.

    A number counts seconds. Raises BadRequest in Ollama's words.
    """
    if keep_alive is None or bytes(keep_alive) == b"null":
        return None
    what = kind(keep_alive)
    if what == NUMBER:
        length = _number(keep_alive)
    elif what == STRING:
        length = _parsed(string(keep_alive) or "")
    else:
        raise BadRequest(f"Unsupported type: '{_GO_TYPES.get(what, 'bool')}'")
    return math.inf if length < 0 else length


def _number(raw: Raw) -> float:
    try:
        return msgspec.json.decode(raw, type=float)
    except msgspec.ValidationError:
        raise _refusal("keep_alive is a number out of range") from None


def _parsed(text: str) -> float:
    """The seconds of a duration as Go writes it: "1h30m", "-1.5s", "0"."""
    rest = text[1:] if text[:1] in ("+", "-") else text
    if rest == "0":
        return 0.0
    invalid = _refusal(f"time: invalid duration {_quoted(text)}")
    if not rest:
        raise invalid
    total = 0.0
    while rest:
        piece = _PIECE.match(rest)
        if piece is None or not (piece["whole"] or piece["part"]):
            raise invalid
        unit = piece["unit"]
        if not unit:
            raise _refusal(f"time: missing unit in duration {_quoted(text)}")
        if unit not in _UNITS:
            raise _refusal(f"time: unknown unit {_quoted(unit)} in duration {_quoted(text)}")
        total += float(f"{piece['whole']}.{piece['part'] or ''}0") * _UNITS[unit]
        if total >= _LONGEST:
            raise invalid
        rest = rest[piece.end() :]
    return -total if text[0] == "-" else total


def _refusal(message: str) -> BadRequest:
    return BadRequest(message, logged="keep_alive is no duration")


def _quoted(text: str) -> str:
    """The text between quotes; Go's package time escapes the bytes of all that is not ASCII."""
    escapes = {'"': '\\"', "\\": "\\\\"}
    return '"' + "".join(escapes.get(c) or (c if " " <= c < "\x7f" else _hex(c)) for c in text) + '"'


def _hex(character: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in character.encode())
