"""Does a client of Copilot's hear in time that its answer comes, and do others notice nothing?"""

from __future__ import annotations

import pytest
from twisted.internet import error

from copilot_proxy.stream.heartbeat import COMMENT
from tests.unit.stream_writer import DONE, FIRST, STOP, text
from tests.wire.attended import (
    COPILOTS,
    JSON,
    LAST_CHUNK,
    VS_CODE,
    WHOLE,
    begun,
    comments,
    refusal,
    sends_whole,
    streaming,
    without_comments,
)
from tests.wire.message import EVENTS_HEAD, chunk
from tests.wire.pair import Wire

# ---------------------------------------------------------------- C2, C3: the head


@pytest.mark.parametrize("field", COPILOTS)
def test_head_is_awaited_for_3_s(wire: Wire, field: str) -> None:
    """C2, C3: for 3 s a client gets no byte, so that an error can have a status; then a 200 and a comment."""
    client, upstream = begun(wire, field)
    wire.passes(2.75)
    assert client.received == b""
    wire.passes(0.25)
    assert client.answer.status == 200
    assert client.answer.field(b"content-type") == b"text/event-stream"
    assert client.answer.field(b"cache-control") == b"no-cache"
    assert client.answer.field(b"x-accel-buffering") == b"no"
    assert client.answer.body == COMMENT
    sends_whole(upstream)
    assert client.answer.body == COMMENT + WHOLE
    assert client.answer.whole


@pytest.mark.parametrize(
    ("status", "shown"), [(400, 400), (401, 400), (404, 404), (429, 400), (500, 400), (503, 400)]
)
def test_early_error_is_a_status(wire: Wire, status: int, shown: int) -> None:
    """C3, D1, D2: a refusal in time keeps its bytes, under a status with which VS Code shows them."""
    client, upstream = begun(wire)
    wire.passes(2.75)
    body = refusal("too much", status)
    upstream.answers(status, body, JSON, "Connection: close")
    assert client.answer.status == shown
    assert client.answer.body == body
    assert client.answer.whole
    wire.passes(20)
    assert comments(client) == 0


def test_head_in_time(wire: Wire) -> None:
    """C3: upstream's head within 3 s is the client's at once, and a comment comes only after silence."""
    client, upstream = begun(wire)
    wire.passes(1)
    upstream.sends(EVENTS_HEAD)
    assert client.answer.status == 200
    wire.passes(14.75)
    assert client.answer.body == b""
    wire.passes(0.25)
    assert client.answer.body == COMMENT


# ---------------------------------------------------------------- C2: silence


def test_silence_before_the_first_byte(wire: Wire) -> None:
    """C2: the first comment comes after 3 s and another one after every 15 s, whether upstream has a head."""
    client, upstream = begun(wire)
    wire.passes(3)
    for heard in range(1, 9):
        assert comments(client) == heard
        wire.passes(14.75)
        assert comments(client) == heard
        wire.passes(0.25)
        if heard == 4:
            upstream.sends(EVENTS_HEAD)
    assert client.answer.body == COMMENT * 9
    assert not client.answer.whole


@pytest.mark.parametrize("after", [0.25, 2.5, 4.75, 5, 7, 13])
def test_silence_between_bytes(wire: Wire, after: float) -> None:
    """C2: wherever a token falls, the next comment comes 10 to 15 s behind it, and so on till the next."""
    client, upstream = streaming(wire, FIRST)
    wire.passes(after)
    upstream.sends(chunk(text("I")))
    wire.passes(9.75)
    assert client.answer.body == FIRST + text("I")
    wire.passes(5.25)
    assert client.answer.body == FIRST + text("I") + COMMENT
    wire.passes(15)
    assert client.answer.body == FIRST + text("I") + COMMENT * 2
    upstream.sends(chunk(STOP + DONE) + LAST_CHUNK)
    assert client.answer.body == FIRST + text("I") + COMMENT * 2 + STOP + DONE


@pytest.mark.parametrize("sent", [text("I"), b":\n\n"], ids=["tokens", "llama-server's pings"])
def test_no_comment_while_there_is_something(wire: Wire, sent: bytes) -> None:
    """C2: where upstream itself is heard every 9 s, of a token or a comment of its own, nothing is added."""
    client, upstream = streaming(wire, FIRST)
    for _ in range(20):
        wire.passes(9)
        upstream.sends(chunk(sent))
    assert client.answer.body == FIRST + sent * 20


def test_what_the_client_does_not_get_is_silence(wire: Wire) -> None:
    """C2: events that are dropped, such as those without data, do not count as bytes."""
    client, upstream = streaming(wire, FIRST)
    for _ in range(5):
        wire.passes(3)
        upstream.sends(chunk(b"event: ping\n\n"))
    assert client.answer.body == FIRST + COMMENT


def test_never_inside_an_event(wire: Wire) -> None:
    """C1, C2: while half an event is here, comments stand before it; the event is whole when it leaves."""
    client, upstream = streaming(wire, FIRST)
    whole = text("word")
    for at in range(len(whole)):
        upstream.sends(chunk(whole[at : at + 1]))
        wire.passes(1)
    assert comments(client) == len(whole) // 15
    assert without_comments(client) == FIRST + whole


def test_nothing_behind_the_end(wire: Wire) -> None:
    """C1: `[DONE]` is the last that a client gets, also where upstream does not end its body for a while."""
    client, upstream = streaming(wire, WHOLE)
    wire.passes(60)
    assert client.answer.body == WHOLE
    upstream.sends(chunk(text("more")) + LAST_CHUNK)
    assert client.answer.body == WHOLE
    assert client.answer.whole


def test_a_connection_is_used_again(wire: Wire) -> None:
    """C2: the next chat on the same connection is attended like the first."""
    client, upstream = begun(wire)
    wire.passes(3)
    sends_whole(upstream)
    client.chats(VS_CODE)
    wire.passes(2.75)
    assert len(client.answers) == 1
    wire.passes(0.25)
    sends_whole(wire.asked[-1])
    assert [answer.body for answer in client.answers] == [COMMENT + WHOLE] * 2


# ---------------------------------------------------------------- C12: nothing is left behind

MOMENTS = {
    "before 3 s": (b"", 1.0),
    "after the early 200": (b"", 4.0),
    "after the head": (EVENTS_HEAD, 1.0),
    "in the stream": (EVENTS_HEAD + chunk(FIRST), 17.0),
    "inside an event": (EVENTS_HEAD + chunk(FIRST + text("I")[:20]), 17.0),
    "after the finish": (EVENTS_HEAD + chunk(FIRST + text("I") + STOP), 1.0),
}


@pytest.mark.parametrize("how", [error.ConnectionDone(), error.ConnectionLost()], ids=["closed", "reset"])
@pytest.mark.parametrize("moment", MOMENTS)
def test_client_leaves(wire: Wire, moment: str, how: Exception) -> None:
    """C12: a client that leaves, whenever it does, closes upstream at once, and no timer of its is left."""
    said, after = MOMENTS[moment]
    client, upstream = begun(wire)
    upstream.sends(said)
    wire.passes(after)
    client.leaves(how)
    assert upstream.closed
    assert wire.clock.getDelayedCalls() == []
    (line,) = [line for line in wire.lines if "POST /v1/chat/completions" in line]
    assert "the client left" in line


@pytest.mark.parametrize("wait", [0, 4, 20])
def test_no_timer_after_the_end(wire: Wire, wait: float) -> None:
    """C2: with the end of the answer the last timer is gone, whenever the answer began."""
    client, upstream = begun(wire)
    wire.passes(wait)
    sends_whole(upstream)
    assert client.answer.whole
    client.leaves()
    wire.passes(4)  # in which upstream's connection is kept
    assert wire.clock.getDelayedCalls() == []


# ---------------------------------------------------------------- all others


def test_other_clients_get_upstreams_bytes(wire: Wire) -> None:
    """Whoever is not Copilot's gets no head before upstream's, no comment, and each byte as it was sent."""
    client, upstream = wire.chat()
    wire.passes(100)
    assert client.received == b""
    odd = b'event: x\r\ndata: {"choices": [{"delta": {"content": "I", "tool_calls": []}}]}\r\n\r\n'
    upstream.sends(EVENTS_HEAD + chunk(odd))
    wire.passes(100)
    upstream.sends(chunk(odd + DONE + DONE) + LAST_CHUNK)
    assert client.answer.body == odd * 2 + DONE * 2
    assert client.answer.whole


@pytest.mark.parametrize("status", [400, 401, 429, 500])
def test_other_clients_get_upstreams_status(wire: Wire, status: int) -> None:
    """Whoever is not Copilot's gets the status of a refusal, however late it comes."""
    client, upstream = wire.chat()
    wire.passes(100)
    body = refusal("too much", status)
    upstream.answers(status, body, JSON, "Connection: close")
    assert (client.answer.status, client.answer.body) == (status, body)


def test_copilots_answer_that_is_no_stream(wire: Wire) -> None:
    """A chat of Copilot's that asks for no stream is a plain answer, and gets no comment."""
    client = wire.client()
    client.chats(VS_CODE, stream=False)
    wire.passes(100)
    assert client.received == b""
    wire.asked[-1].tells({"choices": []})
    assert (client.answer.status, client.answer.json) == (200, {"choices": []})
