"""Where does an SSE event end?"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from copilot_proxy.stream.events import whole_events

LINE_ENDS = ["\n", "\r\n", "\r"]
LINES = st.text(st.characters(codec="utf-8", exclude_characters="\r\n"))
PROFILE = settings(deadline=None, max_examples=300)


@pytest.mark.parametrize(
    ("data", "length"),
    [
        (b"", 0),
        (b"data: x", 0),
        (b"data: x\n", 0),
        (b"data: x\n\n", 9),
        (b"data: x\n\ndata: y", 9),
        (b"data: x\n\ndata: y\n\n", 18),
        (b"data: x\r\n\r\n", 11),
        (b"data: x\r\n\r", 0),
        (b"data: x\r\r", 9),
        (b"data: x\r\ndata: y\r\n", 0),
        (b":\n\n", 3),
        (b"\n\n", 2),
        (b"data: a\n\ndata: b\r\n\r\ndata: c", 20),
    ],
)
def test_whole_events(data: bytes, length: int) -> None:
    """What is whole ends behind the last blank line, whichever of the three line ends it is made of."""
    assert whole_events(data) == length


@PROFILE
@given(
    events=st.lists(st.tuples(LINES, st.sampled_from(LINE_ENDS)), min_size=1),
    rest=LINES,
)
def test_what_is_whole_stays_whole(events: list[tuple[str, str]], rest: str) -> None:
    """Behind any events, the beginning of another one changes nothing."""
    whole = "".join(f"data: {text}{end}{end}" for text, end in events).encode()
    assert whole_events(whole) == len(whole)
    assert whole_events(whole + b"data: " + rest.encode()) == len(whole)
