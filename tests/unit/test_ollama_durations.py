"""Is keep_alive read as Ollama reads it?"""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from copilot_proxy.dialects.jsontext import joined
from copilot_proxy.dialects.ollama.durations import seconds
from copilot_proxy.errors import BadRequest


def of(text: str) -> float | None:
    return seconds(Raw(text))


@pytest.mark.parametrize("keep_alive", [None, Raw(b"null")])
def test_unset(keep_alive: Raw | None) -> None:
    """Nothing said is nothing known."""
    assert seconds(keep_alive) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0.0),
        ("0.0", 0.0),
        ("-0", 0.0),
        ("1800", 1800.0),
        ("0.5", 0.5),
        ("1e3", 1000.0),
        ("-1", math.inf),
        ("-0.001", math.inf),
        ('"0"', 0.0),
        ('"+0"', 0.0),
        ('"-0"', 0.0),
        ('"0s"', 0.0),
        ('"5m"', 300.0),
        ('"5m0s"', 300.0),
        ('"1h30m"', 5400.0),
        ('"1.5h"', 5400.0),
        ('"300ms"', 0.3),
        ('"+10s"', 10.0),
        ('".5s"', 0.5),
        ('"5.s"', 5.0),
        ('"1us1µs1μs1ns"', 3.001e-06),
        ('"-1m"', math.inf),
        ('"-1s"', math.inf),
        ('"2562047h"', 2562047 * 3600.0),
    ],
)
def test_lengths(text: str, expected: float) -> None:
    """A number is seconds, a string is a duration of Go's, and what is negative is for ever."""
    assert of(text) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('"30"', 'time: missing unit in duration "30"'),
        ('"-1"', 'time: missing unit in duration "-1"'),
        ('"1m30"', 'time: missing unit in duration "1m30"'),
        ('""', 'time: invalid duration ""'),
        ('"-"', 'time: invalid duration "-"'),
        ('"m"', 'time: invalid duration "m"'),
        ('".s"', 'time: invalid duration ".s"'),
        ('"forever"', 'time: invalid duration "forever"'),
        ('" 5m"', 'time: invalid duration " 5m"'),
        ('"5 m"', 'time: unknown unit " m" in duration "5 m"'),
        ('"5d"', 'time: unknown unit "d" in duration "5d"'),
        ('"5min"', 'time: unknown unit "min" in duration "5min"'),
        ('"5M"', 'time: unknown unit "M" in duration "5M"'),
        ('"1s-1s"', 'time: unknown unit "s-" in duration "1s-1s"'),
        ('"2562048h"', 'time: invalid duration "2562048h"'),
        ('"\u0665m"', 'time: invalid duration "\\xd9\\xa5m"'),  # a digit, and none of Go's
        ('"\\"\\\\\\n"', 'time: invalid duration "\\"\\\\\\x0a"'),
        ("true", "Unsupported type: 'bool'"),
        ("false", "Unsupported type: 'bool'"),
        ("[]", "Unsupported type: '[]interface {}'"),
        ("{}", "Unsupported type: 'map[string]interface {}'"),
        ("1e999", "keep_alive is a number out of range"),
    ],
)
def test_refusals(text: str, complaint: str) -> None:
    """What is no duration is refused in Go's words, which the log does not repeat."""
    with pytest.raises(BadRequest) as caught:
        of(text)
    assert caught.value.message == complaint
    assert '"' not in caught.value.logged


def outcome(text: str) -> float | str | None:
    try:
        return seconds(joined(text))
    except BadRequest as refusal:
        return refusal.message


@given(st.text(alphabet='0123456789.+-nsuµmh "\\x', max_size=12) | st.text(max_size=8))
def test_any_text(text: str) -> None:
    """Any string is a length or is refused."""
    found = outcome(text)
    if isinstance(found, str):
        assert found.startswith("time: ")
    else:
        assert found is not None
        assert found >= 0
