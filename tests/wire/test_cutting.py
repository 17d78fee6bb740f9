"""Does it matter to the client how a stream is cut into chunks and segments?"""

from __future__ import annotations

from itertools import pairwise

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.wire.message import EVENTS_HEAD, chunk
from tests.wire.pair import OpenWire

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=12)
EVENTS = st.builds(
    lambda kind, text, end: f"{kind}{text}{end}{end}".encode(),
    st.sampled_from(["data: ", "data:", ": ", "event: x\ndata: "]),
    TEXTS,
    st.sampled_from(["\n", "\r\n", "\r"]),
)
CUTS = st.lists(st.integers(min_value=0, max_value=400), max_size=12)
PROFILE = settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    places = [0, *sorted({min(cut, len(data)) for cut in cuts}), len(data)]
    return [data[start:stop] for start, stop in pairwise(places)]


def ends_of(events: list[bytes]) -> set[int]:
    """The lengths at which what a client has got ends with an event."""
    return {sum(map(len, events[:count])) for count in range(len(events) + 1)}


@PROFILE
@given(events=st.lists(EVENTS, max_size=6), chunked_at=CUTS, cut_at=CUTS)
def test_no_cutting_changes_a_stream(
    open_wire: OpenWire, events: list[bytes], chunked_at: list[int], cut_at: list[int]
) -> None:
    """However a stream is cut into chunks and segments, the client gets its bytes, and only whole events."""
    wire = open_wire()
    client, upstream = wire.chat()
    stream = b"".join(events)
    body = b"".join(chunk(piece) for piece in pieces(stream, chunked_at) if piece) + chunk(b"")
    for segment in pieces(EVENTS_HEAD + body, cut_at):
        upstream.sends(segment)
        if client.received and not client.answer.whole:
            assert len(client.answer.body) in ends_of(events)
            assert stream.startswith(client.answer.body)
    assert client.answer.body == stream
    assert client.answer.whole
