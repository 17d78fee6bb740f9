"""Does a client of Ollama's get each tool call whole, with an id and an object, or an error?"""

import json
from typing import Any

import pytest

from copilot_proxy.stream.ollama.line import Shape
from copilot_proxy.stream.ollama.lines import Lines
from copilot_proxy.stream.reasoning import KEPT
from tests.unit.ollama_writer import (
    MODEL,
    NOW,
    calls,
    completion,
    content,
    lines,
    recorded,
    thinking,
    whole,
    written,
)
from tests.unit.stream_writer import CALLED, FIRST, STOP, call, chunk, sse, text

CUT = chunk({}, "length")
INVALID = "llama-server returned invalid tool call arguments for"
LOGGED = "a call of a tool has no name, was cut off or is no JSON object"


def piece(arguments: object, name: str | None = None, index: int = 0, identity: str | None = None) -> bytes:
    function = {"arguments": arguments} if name is None else {"name": name, "arguments": arguments}
    return call(index=index, function=function, **({} if identity is None else {"id": identity}))


def hermes(name: str, **arguments: object) -> str:
    written = json.dumps({"name": name, "arguments": arguments})
    return f"<tool_call>\n{written}\n</tool_call>"


@pytest.mark.parametrize("shape", Shape)
def test_recorded_calls(shape: Shape) -> None:
    """llama-server's pieces become one line with whole calls, before the line that is done."""
    for name, count in (("call", 1), ("both", 1)):
        by = lines(shape)
        *_, before, last = found = written(*recorded(name), by=by)
        assert calls([before]) == calls(found)
        assert len(calls(found)) == count
        assert calls(found)[0]["function"]["name"] == "get_weather"
        assert content(found) == ""
        assert bool(thinking(found)) == (name == "both")
        assert last["done_reason"] == "stop"
        assert by.notes == ()


def test_calls_leave_at_the_finish() -> None:
    """Nothing of a call leaves before it is whole; text that comes in between does at once."""
    by = lines()
    assert by.feed(FIRST + piece("{", "f", identity="a")) == b""
    assert json.loads(by.feed(text("I")))["message"]["content"] == "I"
    assert by.feed(piece('"x"', index=0) + piece("", "g", 1, "b") + piece(":1}")) == b""
    (line,) = by.feed(CALLED).splitlines()
    assert json.loads(line)["message"] == {
        "role": "assistant",
        "content": "",
        "tool_calls": [
            {"id": "a", "function": {"index": 0, "name": "f", "arguments": {"x": 1}}},
            {"id": "b", "function": {"index": 1, "name": "g", "arguments": {}}},
        ],
    }
    assert json.loads(by.end())["done_reason"] == "stop"


@pytest.mark.parametrize(
    ("arguments", "written_as"),
    [
        ('{"b":1.0,"a":1e5,"n":12345678901234567890123}', b'{"b":1.0,"a":1e5,"n":12345678901234567890123}'),
        (' {"b" : 1,\r\n "a":2}\n', b'{"b" : 1,   "a":2}'),
        (r'{"s":"\n \ud83d"}', rb'{"s":"\n \ud83d"}'),
        ('{"s":"\ud83d"}', rb'{"s":"\ud83d"}'),
        ('{"s":"\u2028"}', rb'{"s":"\u2028"}'),
        ("{}", b"{}"),
        ("", b"{}"),
        ("null", b"{}"),
    ],
)
def test_arguments_keep_their_spelling(arguments: str, written_as: bytes) -> None:
    """Keys keep their order and numbers their digits, and a line stays one line."""
    by = lines()
    out = by.feed(chunk_of(arguments) + CALLED)
    assert out.count(b"\n") == 1
    assert b'"arguments":%b}' % written_as in out
    (found,) = calls([json.loads(out)])
    assert found["function"]["arguments"] == (json.loads(arguments or "{}") or {})


def chunk_of(arguments: str) -> bytes:
    """A chunk with one call, its halves of surrogate pairs written as escapes."""
    document = {"choices": [{"index": 0, "delta": {"tool_calls": [{"function": {}}]}}]}
    function: dict[str, Any] = document["choices"][0]["delta"]["tool_calls"][0]["function"]  # type: ignore[index]
    function.update(name="f", arguments=arguments)
    return b"data: " + json.dumps(document).encode() + b"\n\n"


def test_every_call_has_an_id_of_its_own() -> None:
    """Where upstream gives none, or one twice, an id is made."""
    events = [
        piece("{}", "f", 0, "a"),
        piece("{}", "g", 1, "a"),
        piece("{}", "h", 2),
        piece("{}", "i", 3, ""),
    ]
    assert [one["id"] for one in calls(written(*events, CALLED))] == ["a", "call_0", "call_1", "call_2"]


@pytest.mark.parametrize(
    ("events", "finish", "message"),
    [
        (
            [piece('{"x":', "f")],
            CALLED,
            f'{INVALID} "f": they were cut off or are no JSON object',
        ),
        (
            [piece('{"x":', "f")],
            CUT,
            f'{INVALID} "f": the answer reached its limit of tokens inside them; '
            "raise the context or num_predict",
        ),
        (
            [piece("{}", "f"), piece("[1]", "g", 1)],
            CALLED,
            f'{INVALID} "g": they were cut off or are no JSON object',
        ),
        (
            [piece('{"x":NaN}', "f")],
            STOP,
            f'{INVALID} "f": they were cut off or are no JSON object',
        ),
        ([piece('{"x":1}')], STOP, "the model called a tool and did not name it"),
    ],
)
def test_no_call(events: list[bytes], finish: bytes, message: str) -> None:
    """A call that no client could carry out fails the answer; nothing says that it is done."""
    by = lines()
    *before, last = written(text("I"), *events, finish, by=by)
    assert last == {"error": message}
    assert calls(before) == []
    assert by.failure is not None
    assert by.failure.logged == LOGGED


@pytest.mark.parametrize("key", ["delta", "message"])
def test_nested_too_deeply(key: str) -> None:
    """Arguments as deep as the interpreter's stack leave whole, or their event is dropped and noted."""
    for depth in range(900, 1010):
        by = lines()
        nested = b'{"a":' * depth + b"1" + b"}" * depth
        event = sse({"choices": [{key: {"tool_calls": [{"name": "f", "arguments": 7}]}}]})
        out = by.feed(event.replace(b"7", nested) + STOP) + by.end()
        assert (nested in out) != ("an event that is no JSON object was dropped" in by.notes)


def test_an_item_that_is_no_object() -> None:
    """It is dropped, and noted."""
    by = lines()
    found = written(sse({"choices": [{"index": 0, "delta": {"tool_calls": [3]}}]}), text("I"), STOP, by=by)
    assert (content(found), calls(found)) == ("I", [])
    assert by.notes == ("a tool call that is no object was dropped",)


def test_the_older_function_call() -> None:
    """OpenAI's older key is a call too."""
    event = chunk({"function_call": {"name": "f", "arguments": '{"x":1}'}})
    assert [one["function"]["name"] for one in calls(written(event, STOP))] == ["f"]


# ---------------------------------------------------------------- out of the thoughts


def thought(reasoning: str) -> bytes:
    return chunk({"reasoning_content": reasoning})


def test_calls_at_the_end_of_the_thoughts() -> None:
    """A model that called its tools before it closed its thoughts has called them."""
    remembered: list[Any] = []
    by = lines(remember=lambda *told: remembered.append(told))
    reasoning = f"Let me see. {hermes('f', x=1)}\n{hermes('g')}"
    found = written(*(thought(letter) for letter in reasoning), STOP, by=by)
    assert [(one["function"]["name"], one["function"]["arguments"]) for one in calls(found)] == [
        ("f", {"x": 1}),
        ("g", {}),
    ]
    assert by.notes == ("tool calls were taken out of the reasoning (ggml-org/llama.cpp#22684)",)
    assert remembered == [], "the thoughts have the calls in them"


@pytest.mark.parametrize("more", [text("It is 1."), piece("{}", "h")])
def test_no_call_out_of_the_thoughts(more: bytes) -> None:
    """What the model said or called besides is what it meant."""
    by = lines()
    found = written(thought(hermes("f", x=1)), more, STOP, by=by)
    assert "f" not in [one["function"]["name"] for one in calls(found)]
    assert by.notes == ()


# ---------------------------------------------------------------- what is remembered


def remembers(*events: bytes, **more: Any) -> list[tuple[list[str], str]]:
    """What is remembered of an answer, streamed and in one document."""
    streamed: list[tuple[list[str], str]] = []
    collected: list[tuple[list[str], str]] = []
    written(*events, by=lines(remember=lambda *told: streamed.append(told), **more))
    one = whole(remember=lambda *told: collected.append(told), **more)
    one.feed(b"".join(events))
    assert streamed == collected
    return streamed


def test_thoughts_are_remembered_with_their_calls() -> None:
    """All thoughts before a tool call, once, also for a client that does not want to see them."""
    events = (
        thought("Let me"),
        text("I look."),
        thought(" see."),
        piece("{}", "f", 0, "a"),
        piece("{}", "g", 1),
    )
    for thinks in (True, False):
        assert remembers(*events, CALLED, thinks=thinks) == [(["a", "call_0"], "Let me see.")]


@pytest.mark.parametrize(
    "events",
    [
        [piece("{}", "f"), CALLED],
        [thought("Hm."), text("I"), STOP],
        [thought("Hm."), piece("{", "f"), CALLED],
        [thought("x" * KEPT), thought("x"), piece("{}", "f"), CALLED],
        [thought("Hm."), piece("{}", "f")],
    ],
)
def test_nothing_is_remembered(events: list[bytes]) -> None:
    """Without calls, without thoughts, with too many of them, or of an answer that is not whole."""
    remembered: list[Any] = []
    by = lines(remember=lambda *told: remembered.append(told))
    written(*events, by=by)
    assert remembered == []


def test_longest_thoughts() -> None:
    """As many thoughts as are kept at most are remembered whole."""
    reasoning = "ab" * (KEPT // 2)
    ((_, told),) = remembers(thought(reasoning[:1]), thought(reasoning[1:]), piece("{}", "f"), CALLED)
    assert told == reasoning


def test_made_ids_are_unique() -> None:
    """An id that is made is another one for each call of each answer."""
    made = [
        Lines(shape=Shape.CHAT, model=MODEL, started=0, loaded=0, seconds=lambda: 0, now=lambda: NOW)
        for _ in range(2)
    ]
    found = [calls(written(piece("{}", "f"), piece("{}", "g", 1), CALLED, by=by)) for by in made]
    assert len({call["id"] for answer in found for call in answer}) == 4


def test_completion_has_no_calls() -> None:
    """What /completion sends is text."""
    assert calls(written(completion(hermes("f")), completion("", stop=True))) == []
