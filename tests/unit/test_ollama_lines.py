"""Does a client of Ollama's read what the model said, and one end?"""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from copilot_proxy.errors import BrokenAnswer, ProxyError, UpstreamLost
from copilot_proxy.stream.ollama.line import Shape, load
from tests.unit.ollama_writer import (
    MODEL,
    NOW,
    SIX,
    STAMP,
    completion,
    content,
    lines,
    probabilities,
    read,
    recorded,
    stopped,
    thinking,
    whole,
    written,
)
from tests.unit.stream_writer import CALLED, DONE, FIRST, STOP, call, chunk, sse, text

LOST = UpstreamLost("the connection broke")
GREEDY = "I am a tiny language model running locally on your own machine."
UNFINISHED = "llama-server ended its answer without saying that it is finished"
THOUGHT = chunk({"reasoning_content": "Hm."})

# ---------------------------------------------------------------- what llama.cpp b11549 sends


@pytest.mark.parametrize(
    ("name", "shape", "more", "said", "thought", "reason"),
    [
        ("plain", Shape.CHAT, {}, GREEDY, "", "stop"),
        ("think", Shape.CHAT, {}, GREEDY, GREEDY, "stop"),
        ("logprobs", Shape.CHAT, {}, "I am a tiny", "", "length"),
        ("plain", Shape.GENERATE, {}, GREEDY, "", "stop"),
        ("completion", Shape.GENERATE, {}, GREEDY, "", "stop"),
        ("completion_think", Shape.GENERATE, {"splits_tags": True}, GREEDY, GREEDY, "stop"),
        ("infill", Shape.GENERATE, {}, "I am a", "", "length"),
    ],
)
def test_recorded(
    name: str, shape: Shape, more: dict[str, Any], said: str, thought: str, reason: str
) -> None:
    """A line for each token, in whichever of llama-server's shapes it came, and one document of the same."""
    events = recorded(name)
    by = lines(shape, **more)
    found = written(*events, by=by)
    assert (content(found), thinking(found), found[-1]["done_reason"]) == (said, thought, reason)
    assert len(found) >= len(said.split())
    assert by.notes == ()
    assert all(found[-1][key] > 0 for key in SIX)
    assert by.text == (said if shape is Shape.GENERATE else "")
    one = whole(shape, **more)
    assert b"".join(map(one.feed, events)) == b""
    document = json.loads(one.document())
    assert (content([document]), thinking([document])) == (said, thought)
    assert document["done_reason"] == reason
    assert {key: document[key] for key in SIX} == {key: found[-1][key] for key in SIX}


def test_bytes_of_a_chat() -> None:
    """A line is compact JSON with Ollama's keys in its order, and ends with a line's end."""
    by = lines()
    assert by.feed(FIRST) == b""
    head = b'{"model":"%b","created_at":"%b",' % (MODEL.encode(), STAMP.encode())
    assert by.feed(text("I")) == head + b'"message":{"role":"assistant","content":"I"},"done":false}\n'
    assert by.feed(THOUGHT) == (
        head + b'"message":{"role":"assistant","content":"","thinking":"Hm."},"done":false}\n'
    )
    assert by.heartbeat() == head + b'"message":{"role":"assistant","content":""},"done":false}\n'
    assert by.feed(STOP + DONE) == b""
    assert not by.finished
    assert by.end() == (
        head + b'"message":{"role":"assistant","content":""},"done":true,"done_reason":"stop",'
        b'"total_duration":1,"load_duration":1,"eval_count":2,"eval_duration":1}\n'
    )
    assert by.finished
    assert by.end() + by.fail(LOST) + by.feed(text("x")) + by.heartbeat() == b""
    assert by.failure is None


def test_bytes_of_a_generation() -> None:
    """There a response stands at the place of the message, and the last line has the context."""
    by = lines(Shape.GENERATE)
    head = b'{"model":"%b","created_at":"%b",' % (MODEL.encode(), STAMP.encode())
    assert by.feed(completion("I")) == head + b'"response":"I","done":false}\n'
    assert by.heartbeat() == head + b'"response":"","done":false}\n'
    assert by.feed(stopped()) == b""
    assert by.end([1, 2]) == (
        head + b'"response":"","done":true,"done_reason":"stop","context":[1,2],'
        b'"total_duration":1,"load_duration":1,"eval_count":1,"eval_duration":1}\n'
    )
    assert by.tokens == [1]


def test_chat_has_no_context() -> None:
    """A context is a generation's alone."""
    assert "context" not in written(text("I"), STOP, context=[1])[-1]


@pytest.mark.parametrize(
    ("microsecond", "shown"), [(0, "12:00:00.000001Z"), (5, "12:00:00.000005Z"), (120000, "12:00:00.120000Z")]
)
def test_time_has_a_fraction(microsecond: int, shown: str) -> None:
    """Whenever a line is written, a client that reads a fraction finds one."""
    now = datetime(2026, 10, 1, 12, 0, 0, microsecond, tzinfo=UTC)
    line = json.loads(lines(now=lambda: now).feed(text("I")))
    assert line["created_at"] == f"2026-10-01T{shown}"


def test_line_breaks_of_python() -> None:
    """What ends a line for httpx, by which ollama-python reads, is escaped; other text is as it was."""
    said = "a\u2028b\u2029c\x85d\r\n\x0b\x1ee\u2019\u00e9\U0001f600"
    found = written(text(said), STOP)
    assert content(found) == said
    assert "\u2019\u00e9\U0001f600".encode() in lines().feed(text(said))
    by = lines()
    assert len(by.fail(ProxyError(said)).decode().splitlines()) == 1


# ---------------------------------------------------------------- thoughts


def test_thoughts_and_text_of_one_delta() -> None:
    """They leave in lines of their own, the thoughts first."""
    found = written(chunk({"content": "Yes.", "reasoning_content": "Hm."}), STOP)
    assert [one["message"] for one in found[:2]] == [
        {"role": "assistant", "content": "", "thinking": "Hm."},
        {"role": "assistant", "content": "Yes."},
    ]


def test_without_thoughts() -> None:
    """A client that wants none gets none, in lines or in one document; the text is whole."""
    events = recorded("think")
    found = written(*events, by=lines(thinks=False))
    assert (content(found), thinking(found)) == (GREEDY, "")
    one = whole(thinks=False)
    for event in events:
        one.feed(event)
    assert thinking([json.loads(one.document())]) == ""


@pytest.mark.parametrize("key", ["reasoning_text", "reasoning", "thinking"])
def test_other_servers_thoughts(key: str) -> None:
    """What vLLM and others call their reasoning is thinking too."""
    assert thinking(written(chunk({key: "Hm."}), text("Yes."), STOP)) == "Hm."


# ---------------------------------------------------------------- the end


@pytest.mark.parametrize(
    ("finish", "reason"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("tool_calls", "stop"),
        ("max_tokens", "length"),
        ("content_filter", "stop"),
        ("eos", "stop"),
    ],
)
def test_reason(finish: str, reason: str) -> None:
    """Ollama knows two reasons."""
    assert written(text("I"), chunk({}, finish))[-1]["done_reason"] == reason


@pytest.mark.parametrize(
    ("kind", "reason"), [("eos", "stop"), ("word", "stop"), ("limit", "length"), ("none", "stop")]
)
def test_reason_of_a_completion(kind: str, reason: str) -> None:
    """/completion calls it a stop type."""
    assert written(completion("I"), stopped(kind))[-1]["done_reason"] == reason


def test_stop_with_a_text() -> None:
    """The last event of a completion may still have a part of the text."""
    assert content(written(completion("I"), stopped(content=" am"))) == "I am"


def test_done_alone() -> None:
    """`[DONE]` without a finish reason is an end too, and noted."""
    by = lines()
    assert written(text("I"), DONE, by=by)[-1]["done_reason"] == "stop"
    assert by.notes == ("the finish reason was supplied",)


def test_no_end() -> None:
    """A body that ends before the answer does is no whole answer."""
    by = lines()
    assert written(FIRST, text("I"), by=by)[-1] == {"error": UNFINISHED}
    assert isinstance(by.failure, BrokenAnswer)
    with pytest.raises(BrokenAnswer, match="without saying"):
        whole().document()


def test_broken_off() -> None:
    """Where upstream breaks off, the failure is the last line."""
    by = lines()
    out = by.feed(text("I")) + by.fail(LOST)
    assert read(out)[-1] == {"error": "the connection broke"}
    assert by.failure is LOST
    assert by.end() + by.fail(LOST) + by.feed(text("x")) + by.heartbeat() == b""


def test_broken_off_after_the_finish() -> None:
    """An answer that was whole stays so, whatever becomes of the connection."""
    by = lines()
    assert read(by.feed(text("I") + STOP) + by.fail(LOST))[-1]["done"]
    assert by.failure is None
    one = whole()
    assert one.feed(text("I") + STOP) + one.fail(LOST) == b""
    assert content([json.loads(one.document())]) == "I"
    assert one.finished


def test_nothing_behind_the_finish() -> None:
    """Text after the finish is dropped and noted; counts after it are not."""
    by = lines()
    usage = chunk({}, usage={"prompt_tokens": 7, "completion_tokens": 9, "total_tokens": 16})
    found = written(text("I"), STOP, text("x"), usage, DONE, by=by)
    assert content(found) == "I"
    assert (found[-1]["prompt_eval_count"], found[-1]["eval_count"]) == (7, 9)
    assert by.notes == ("what came after the finish was dropped",)


ERROR = {"code": 500, "message": "out of memory", "type": "server_error"}
ERRORS = [
    (sse({"error": ERROR}), "out of memory"),
    (b"error: " + json.dumps(ERROR).encode() + b"\n\n", "out of memory"),
    (b"event: error\ndata: " + json.dumps(ERROR).encode() + b"\n\n", "out of memory"),
    (b"event: error\ndata: no JSON\n\n", "no JSON"),
    (sse({"error": "out of memory"}), "out of memory"),
    (sse({"error": {"code": 500}}), "llama-server reported an error without a text"),
    (sse({"choices": [{"index": 0, "error": ERROR}]}), "out of memory"),
    (sse({"error": ERROR, "created": "now", "usage": 3}), "out of memory"),
    (chunk({}, "error"), "llama-server ended its answer with an error that it did not explain"),
]


@pytest.mark.parametrize(("event", "message"), ERRORS)
def test_upstreams_own_error(event: bytes, message: str) -> None:
    """An error inside the stream is the last line, in upstream's own words."""
    by = lines()
    assert written(text("I"), event, text("x"), STOP, DONE, by=by)[-2:] == [
        json.loads(lines().feed(text("I"))),
        {"error": message},
    ]
    assert isinstance(by.failure, BrokenAnswer)
    one = whole()
    assert one.feed(text("I") + event + STOP) == b""
    with pytest.raises(BrokenAnswer, match=message):
        one.document()


# ---------------------------------------------------------------- odd upstreams


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (sse({"choices": [{"delta": {"content": [{"type": "text", "text": "I"}]}}]}), "I"),
        (sse({"choices": [{"delta": {"content": "I", "refusal": None}}]}), "I"),
        (sse({"choices": [{"delta": {}, "message": {"content": "I"}}]}), "I"),
        (sse({"choices": [{"delta": {"content": "I"}, "finish_reason": 0}]}), "I"),
        (sse({"choices": [3, {"index": 7, "delta": {"content": "I"}}], "usage": "x"}), "I"),
        (sse({"content": "I", "tokens": ["a"], "timings": {"prompt_n": "4"}}), "I"),
        (b"data:" + text("I")[6:], "I"),
        (b": comment\n" + text("I"), "I"),
        (text("I").replace(b"\n\n", b"\r\n\r\n"), "I"),
        (b'data: {"content":\ndata: "I"}\n\n', "I"),
        (b": ping\n\n", ""),
        (b"\n\n", ""),
        (b"data: \n\n", ""),
        (b"data: 3\n\n", ""),
        (b"data: {\n\n", ""),
        (b"data: " + b"[" * 100_000 + b"\n\n", ""),
        (sse({"choices": []}), ""),
        (sse({"choices": None}), ""),
        (sse({"choices": "x", "content": 3}), ""),
        (sse({"choices": [{"delta": "x"}]}), ""),
        (sse({"prompt_progress": {"total": 4}, "choices": [{"delta": {"role": "assistant"}}]}), ""),
        (text("I").removesuffix(b"\n\n"), "I"),
    ],
)
def test_odd_event(event: bytes, said: str) -> None:
    """What has a meaning is read, by the rules that hold for Copilot's clients; the rest says nothing."""
    by = lines()
    out = by.feed(event)
    assert [json.loads(line)["message"]["content"] for line in out.splitlines()] == [said] * bool(said)


def test_no_json_is_noted() -> None:
    """The log can tell that an event was dropped."""
    by = lines()
    by.feed(b"data: 3\n\ndata: {\n\n")
    assert by.notes == ("an event that is no JSON object was dropped (2 times)",)


def test_halves_of_an_emoji() -> None:
    """An upstream in JavaScript may cut one in two; it is put together, and a lone half is no text."""
    emoji = [chunk({"content": "?"}).replace(b"?", half) for half in (rb"a\ud83d", rb"\ude00b", rb"\ud83d")]
    assert content(written(*emoji, text("!"), STOP)) == "a\U0001f600b!"
    lone = chunk({"reasoning_content": "?"}).replace(b"?", rb"\ude00")
    assert thinking(written(lone, STOP)) == "\ufffd"


# ---------------------------------------------------------------- probabilities


def others(token: dict[str, Any]) -> list[dict[str, Any]]:
    """The alternatives to a token that have a text."""
    return [other for other in token.get("top_logprobs", ()) if other["token"]]


@pytest.mark.parametrize("name", ["logprobs", "completion"])
def test_probabilities(name: str) -> None:
    """Each token leaves with its own, in Ollama's shape, and as many alternatives as were asked for."""
    for count in (0, 1, 2, 5):
        found = written(*recorded(name), by=lines(top_logprobs=count))
        tokens = probabilities(found)
        assert "".join(token["token"] for token in tokens) == content(found)
        for token in tokens:
            assert token.get("bytes", []) == list(token["token"].encode())  # the one that ends has no text
            assert token["logprob"] <= 0
            assert ("top_logprobs" in token) == bool(count)
            assert len(token.get("top_logprobs", ())) == min(count, 2)
            assert all(other["bytes"] == list(other["token"].encode()) for other in others(token))
        one = whole(top_logprobs=count)
        one.feed(b"".join(recorded(name)))
        assert json.loads(one.document())["logprobs"] == tokens
    assert probabilities(written(*recorded(name))) == []


def probable(token: object, **more: object) -> dict[str, Any]:
    return {"content": [{"token": token, "logprob": -1.5, "bytes": [1], **more}]}


@pytest.mark.parametrize(
    ("logprobs", "found"),
    [
        (probable("é"), [{"token": "é", "logprob": -1.5, "bytes": [195, 169]}]),
        (probable("a", bytes=None), [{"token": "a", "logprob": -1.5, "bytes": [97]}]),
        (probable("a", top_logprobs=None), [{"token": "a", "logprob": -1.5, "bytes": [97]}]),
        (
            probable("a", top_logprobs=[3, {"token": "b", "logprob": -2}, {"token": "c"}]),
            [
                {
                    "token": "a",
                    "logprob": -1.5,
                    "bytes": [97],
                    "top_logprobs": [{"token": "b", "logprob": -2, "bytes": [98]}],
                }
            ],
        ),
        (probable(3), []),
        (probable("a", logprob=None), []),
        ({"content": None}, []),
        ({"content": "x"}, []),
        ("x", []),
    ],
)
def test_odd_probabilities(logprobs: object, found: object) -> None:
    """Those of other servers are read where they say something."""
    event = sse({"choices": [{"index": 0, "delta": {"content": "x"}, "logprobs": logprobs}]})
    (line,) = map(json.loads, lines(top_logprobs=5).feed(event).splitlines())
    assert line["message"]["content"] == "x"
    assert line.get("logprobs", []) == found


def test_probabilities_of_what_is_not_told() -> None:
    """A tool call's leave alone, at once; those of thoughts that the client does not want do not leave."""
    event = {"index": 0, "logprobs": probable("{")}
    piece = {"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": "{"}}]}
    (line,) = lines(top_logprobs=0).feed(sse({"choices": [{**event, "delta": piece}]})).splitlines()
    assert json.loads(line)["message"]["content"] == ""
    assert probabilities([json.loads(line)]) == [{"token": "{", "logprob": -1.5, "bytes": [123]}]
    thought = sse({"choices": [{**event, "delta": {"reasoning_content": "{"}}]})
    assert lines(top_logprobs=0, thinks=False).feed(thought) == b""


# ---------------------------------------------------------------- without an answer


@pytest.mark.parametrize("reason", ["load", "unload"])
def test_load(reason: str) -> None:
    """A request that only loads or unloads gets one document, without a line's end."""
    chat = load(Shape.CHAT, MODEL, reason, NOW)
    assert (
        chat
        == (
            f'{{"model":"{MODEL}","created_at":"{STAMP}","message":{{"role":"assistant","content":""}},'
            f'"done":true,"done_reason":"{reason}"}}'
        ).encode()
    )
    assert (
        load(Shape.GENERATE, MODEL, reason, NOW)
        == (
            f'{{"model":"{MODEL}","created_at":"{STAMP}","response":"","done":true,"done_reason":"{reason}"}}'
        ).encode()
    )


# ---------------------------------------------------------------- in one document


def test_document() -> None:
    """It has everything that the lines have, and no line's end."""
    one = whole(Shape.GENERATE, top_logprobs=0)
    item = {"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}}
    assert one.feed(THOUGHT + text("I") + text(" am") + call(**item) + CALLED) == b""
    out = one.document([1, 2])
    assert (
        out
        == (
            f'{{"model":"{MODEL}","created_at":"{STAMP}","response":"I am","thinking":"Hm.","done":true,'
            '"done_reason":"stop","context":[1,2],"total_duration":1,"load_duration":1,"eval_count":4,'
            '"eval_duration":1,"tool_calls":[{"id":"a","function":{"index":0,"name":"f","arguments":{}}}]}'
        ).encode()
    )


def test_document_of_what_broke_off() -> None:
    """A failure before the finish is raised, the first of them, so that it has a status."""
    one = whole()
    one.feed(text("I"))
    assert one.fail(LOST) == b""
    one.fail(ProxyError("another"))
    assert one.failure is LOST
    with pytest.raises(UpstreamLost):
        one.document()
