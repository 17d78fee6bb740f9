"""What does a client of Copilot's read, in bytes, where upstream's chunks are not what its parser wants?"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.unit.copilot_parser import CLIENTS
from tests.unit.stream_writer import (
    DONE,
    FIRST,
    STOP,
    call,
    chunk,
    deltas,
    documents,
    finishes,
    items,
    keeps_the_checklist,
    said,
    sse,
    text,
)
from tests.wire.attended import COPILOTS, LAST_CHUNK, VS_CODE, begun, streaming
from tests.wire.message import EVENTS_HEAD
from tests.wire.message import chunk as http_chunk
from tests.wire.pair import OpenWire, Wire

THOUGHT = chunk({"reasoning_content": "hm"})


def sent(wire: Wire, *events: bytes) -> bytes:
    """What the client gets for these events, each of which comes in a segment of its own."""
    client, upstream = streaming(wire, *events)
    upstream.sends(LAST_CHUNK)
    assert client.answer.status == 200
    assert client.answer.whole
    keeps_the_checklist(client.answer.body)
    return client.answer.body


def test_framing(wire: Wire) -> None:
    """C1: CRLF, `event:`, `id:`, data of several lines become one line of data with LF; `[DONE]` is last."""
    odd = b'event: x\r\nid: 1\r\ndata: {"choices":\r\ndata: [{"delta":{"content":"I"}}]}\r\n\r\n'
    body = sent(wire, FIRST, odd, STOP.replace(b"\n", b"\r\n"), b"data:[DONE]\r\n\r\n")
    assert said(body) == "I"
    assert all(block.startswith(b"data: {") for block in body.removesuffix(DONE).split(b"\n\n")[:-1])


def test_ordinary_chunks_keep_their_bytes(wire: Wire) -> None:
    """C1: what needs no change leaves with upstream's own bytes, in the turn in which it came."""
    client, upstream = streaming(wire, FIRST)
    for word in ("I", " am", " tiny"):
        upstream.sends(http_chunk(text(word)))
        assert client.answer.body.endswith(text(word))
    upstream.sends(http_chunk(STOP + DONE) + LAST_CHUNK)
    assert client.answer.body == FIRST + text("I") + text(" am") + text(" tiny") + STOP + DONE


def test_bare_chunks(wire: Wire) -> None:
    """C4: each chunk has an id, the time, the model, an index and a delta, and never a message."""
    bare = {"choices": [{"message": {"content": "I"}}]}
    (first, last) = documents(sent(wire, sse(bare), sse({"choices": [{"finish_reason": "stop"}]}), DONE))
    for document in (first, last):
        assert isinstance(document["id"], str)
        assert document["model"] == "tiny"
        assert isinstance(document["created"], int)
        assert document["choices"][0]["index"] == 0
        assert "message" not in document["choices"][0]
    assert first["choices"][0]["delta"] == {"content": "I"}
    assert first["id"] == last["id"]


@pytest.mark.parametrize(
    ("theirs", "ours"), [("eos", "stop"), ("", "stop"), (None, "stop"), ("length", "length")]
)
def test_finish(wire: Wire, theirs: str | None, ours: str) -> None:
    """C5: the answer has one finish reason, which the clients know; it is supplied before `[DONE]`."""
    assert finishes(sent(wire, FIRST, text("I"), chunk({}, theirs), DONE)) == [ours]


def test_tool_calls(wire: Wire) -> None:
    """C6: interleaved calls without ids and types become calls in a row, each with its own."""
    pieces = [
        call(index=0, function={"name": "f", "arguments": '{"a"'}),
        call(index=1, id="", function={"name": "g", "arguments": '{"b"'}),
        call(index=0, function={"arguments": ":1}"}),
        call(index=1, function={"arguments": ":2}"}),
    ]
    body = sent(wire, FIRST, *pieces, chunk({}, "stop"), DONE)
    assert finishes(body) == ["tool_calls"]
    assert len({item["id"] for item in items(body) if "id" in item}) == 2
    for client in CLIENTS:
        reading = client().read(body)
        assert (reading.calls, reading.failure) == ([("f", {"a": 1}), ("g", {"b": 2})], None)


def test_one_kind_of_thing_in_a_chunk(wire: Wire) -> None:
    """C7: a chunk with reasoning, text, a call and the finish becomes one for each; no empty arrays."""
    item = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    mixed = {"reasoning_content": "hm", "content": "I", "tool_calls": [item]}
    body = sent(wire, FIRST, chunk({"content": "So", "tool_calls": []}), chunk(mixed, "tool_calls"), DONE)
    assert [sorted(delta) for delta in deltas(body)[1:]] == [
        ["content"],
        ["cot_id", "reasoning_content", "reasoning_text"],
        ["content"],
        ["tool_calls"],
        [],
    ]
    assert b'"tool_calls":[]' not in body


@pytest.mark.parametrize("field", COPILOTS)
def test_reasoning(wire: Wire, field: str) -> None:
    """C8: each delta of reasoning has it twice, with one id for the response, for each Copilot client."""
    client, upstream = begun(wire, field)
    upstream.sends(EVENTS_HEAD + http_chunk(FIRST + THOUGHT + THOUGHT + text("I") + STOP + DONE) + LAST_CHUNK)
    thoughts = [delta for delta in deltas(client.answer.body) if "cot_id" in delta]
    assert [(delta["reasoning_content"], delta["reasoning_text"]) for delta in thoughts] == [("hm", "hm")] * 2
    assert len({delta["cot_id"] for delta in thoughts}) == 1
    assert client.answer.body.count(b"reasoning_opaque") == 0


@pytest.mark.parametrize(("mode", "shown"), [("content", "> hm\n\nI"), ("off", "I")])
def test_reasoning_for_who_shows_none(open_wire: OpenWire, mode: str, shown: str) -> None:
    """C8: --reasoning content shows it as a quote inside the text, off not at all; the keys do not leave."""
    body = sent(open_wire(reasoning=mode), FIRST, THOUGHT, text("I"), STOP, DONE)
    assert said(body) == shown
    assert b"reasoning" not in body


def test_reasoning_of_other_clients(wire: Wire) -> None:
    """C8: who is not Copilot's gets the reasoning in upstream's own bytes."""
    client, upstream = wire.chat()
    upstream.sends(EVENTS_HEAD + http_chunk(FIRST + THOUGHT + STOP + DONE) + LAST_CHUNK)
    assert client.answer.body == FIRST + THOUGHT + STOP + DONE


def test_usage(wire: Wire) -> None:
    """C9: usage has three numbers, and its last chunk without choices passes behind the finish."""
    counted = sse({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": "2"}})
    *_, last = documents(sent(wire, FIRST, text("I"), STOP, counted, DONE))
    assert last["choices"] == []
    assert all(
        type(last["usage"][key]) is int for key in ("prompt_tokens", "completion_tokens", "total_tokens")
    )


@pytest.mark.parametrize("finish", ["stop", "length"])
def test_reasoning_alone(wire: Wire, finish: str) -> None:
    """C10: an answer that is reasoning only has a sentence of text behind it, and is an answer for each."""
    body = sent(wire, FIRST, THOUGHT, chunk({}, finish), DONE)
    assert "reasoning" in said(body)
    assert finishes(body) == [finish]
    if finish == "stop":
        assert [client().read(body).failure for client in CLIENTS] == [None] * len(CLIENTS)


def test_tool_call_inside_the_reasoning(wire: Wire) -> None:
    """C10: a tool call that the model wrote into its reasoning, and nothing behind it, is made (#22684)."""
    written = '<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>'
    body = sent(wire, FIRST, chunk({"reasoning_content": written}), STOP, DONE)
    assert [client().read(body).calls for client in CLIENTS] == [[("f", {"a": 1})]] * len(CLIENTS)


# ---------------------------------------------------------------- B: the request


@pytest.mark.parametrize("key", ["Bearer", "Bearer ", ""])
def test_empty_key(wire: Wire, key: str) -> None:
    """B1: an empty bearer is taken, and not sent on."""
    client = wire.client()
    client.chats(VS_CODE, f"Authorization: {key}")
    assert wire.asked[-1].request.field(b"authorization") is None


def test_what_only_copilot_knows(wire: Wire) -> None:
    """B3, B4: Copilot's own keys do not go upstream, and its reasoning goes under llama-server's name."""
    thought: dict[str, Any] = {"role": "assistant", "content": "I", "cot_id": "c", "cot_summary": "hm"}
    user = {"role": "user", "content": "hi", "copilot_cache_control": {"type": "ephemeral"}}
    client = wire.client()
    client.chats(VS_CODE, messages=[user, thought], snippy={"enabled": False})
    request = json.loads(wire.asked[-1].request.body)
    assert "snippy" not in request
    assert request["messages"] == [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "I", "reasoning_content": "hm"},
    ]


@pytest.mark.parametrize("name", ["tiny", "tiny:latest", "0"])
def test_names_of_the_model(wire: Wire, name: str) -> None:
    """B5: `:latest` says nothing, and a number is a position in the list."""
    client = wire.client()
    client.chats(VS_CODE, model=name)
    assert json.loads(wire.asked[-1].request.body)["model"] == "tiny"
