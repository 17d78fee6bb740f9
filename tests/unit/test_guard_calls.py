"""Do tool calls leave one after another, each whole and with an id of its own?"""

import json
from typing import Any

import pytest

from tests.unit.copilot_parser import CLIENTS, Chat
from tests.unit.stream_writer import (
    CALLED,
    DONE,
    FIRST,
    call,
    chunk,
    errors,
    finishes,
    guard,
    guarded,
    items,
    said,
    text,
)


def opening(index: int | None, identity: str | None, name: str, arguments: object = "") -> dict[str, Any]:
    item: dict[str, Any] = {"index": index, "id": identity, "type": "function"}
    item["function"] = {"name": name, "arguments": arguments}
    return {key: value for key, value in item.items() if value is not None}


def more(arguments: str, **item: object) -> dict[str, Any]:
    return {**item, "function": {"arguments": arguments}}


def calls(*pieces: dict[str, Any], finish: str = "tool_calls") -> list[tuple[str, Any]]:
    """The calls that every client makes of these pieces, each in a chunk of its own."""
    out = guarded(FIRST, *(call(**piece) for piece in pieces), chunk({}, finish), DONE)
    return agreed(out)


def agreed(out: bytes) -> list[tuple[str, Any]]:
    readings = [client().read(out) for client in CLIENTS]
    assert {reading.failure for reading in readings} == {None}
    for reading in readings:
        assert reading.calls == readings[0].calls
        assert reading.ids == readings[0].ids
        assert len(set(reading.ids)) == len(reading.ids)
    return readings[0].calls


class TestMissing:
    """C6: what a call lacks is supplied."""

    def test_a_call_in_one_delta(self) -> None:
        """Table, "a tool call in one delta": it passes as it is."""
        event = call(**opening(0, "a", "f", '{"x":1}'))
        assert guarded(FIRST, event, CALLED, DONE) == FIRST + event + CALLED + DONE

    @pytest.mark.parametrize("identity", [None, ""])
    def test_no_id(self, identity: str | None) -> None:
        """Table, "tool call without id, or empty": an id is made up, one for each call."""
        pieces = (
            opening(0, identity, "f"), more('{"x"', index=0), more(":1}", index=0),
            opening(1, identity, "g", "{}"),
        )  # fmt: skip
        assert calls(*pieces) == [("f", {"x": 1}), ("g", {})]

    def test_a_number_for_an_id(self) -> None:
        """C6: an id is a string."""
        out = guarded(FIRST, call(index=0, id=7, function={"name": "f", "arguments": "{}"}), CALLED, DONE)
        assert items(out)[0]["id"] == "7"

    def test_an_id_that_another_call_has(self) -> None:
        """C6: a repeated id is replaced, so that VS Code does not take two calls for one."""
        pieces = (opening(0, "a", "f", "{}"), opening(1, "a", "g", "{"), more("}", index=1, id="a"))
        assert Chat().read(b"".join(call(**piece) for piece in pieces) + CALLED + DONE).failure is not None
        assert calls(*pieces) == [("f", {}), ("g", {})]

    def test_no_type(self) -> None:
        """Table, "tool call without type": it is "function"."""
        out = guarded(FIRST, call(index=0, id="a", function={"name": "f", "arguments": "{}"}), CALLED, DONE)
        assert items(out) == [opening(0, "a", "f", "{}")]

    @pytest.mark.parametrize("index", [None, "0", 3, 0.0, False])
    def test_no_index(self, index: object) -> None:
        """Table, "tool call without index": calls are counted from 0, whatever stood there."""
        item: dict[str, Any] = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        if index is not None:
            item["index"] = index
        out = guarded(FIRST, call(**item), CALLED, DONE)
        assert [(type(item["index"]), item["index"]) for item in items(out)] == [(int, 0)]

    def test_arguments_as_an_object(self) -> None:
        """Table, "arguments as an object": they become their JSON, since no client survives them."""
        event = call(**opening(0, "a", "f", {"x": [1, "é"]}))
        assert Chat().read(event + CALLED + DONE).failure is not None
        assert items(guarded(FIRST, event, CALLED, DONE))[0]["function"]["arguments"] == '{"x":[1,"é"]}'
        assert calls(opening(0, "a", "f", {"x": 1})) == [("f", {"x": 1})]

    @pytest.mark.parametrize("arguments", [None, "", " \n"])
    def test_no_arguments(self, arguments: str | None) -> None:
        """C6: arguments may be empty, but they are a string."""
        out = guarded(
            FIRST, call(index=0, id="a", function={"name": "f", "arguments": arguments}), CALLED, DONE
        )
        assert items(out)[0]["function"]["arguments"] == ""
        assert agreed(out) == [("f", {})]

    def test_other_shapes(self) -> None:
        """Name and arguments beside the id, one call that is no array, and OpenAI's `function_call`."""
        flat = chunk({"tool_calls": {"id": "a", "name": "f", "arguments": {}}})
        assert agreed(guarded(FIRST, flat, CALLED, DONE)) == [("f", {})]
        old = [
            chunk({"function_call": {"name": "f", "arguments": ""}}),
            chunk({"function_call": {"arguments": "{}"}}),
        ]
        assert agreed(guarded(FIRST, *old, chunk({}, "function_call"), DONE)) == [("f", {})]

    def test_what_is_no_call(self) -> None:
        """An item that is no object, or says nothing, is no call."""
        by = guard()
        out = guarded(
            FIRST, chunk({"tool_calls": ["f", None]}), call(index=0), text("a"), CALLED, DONE, by=by
        )
        assert finishes(out) == ["stop"]
        assert items(out) == []
        assert by.notes == ("a tool call that is no object was dropped (2 times)",)


class TestOrder:
    """C6: pieces of a call are contiguous, and each leaves as soon as it may."""

    def test_calls_one_after_another_stream(self) -> None:
        """As llama-server writes them, each piece of each call leaves at once, with its own bytes."""
        by = guard()
        by.feed(FIRST)
        for index, name in enumerate(("f", "g", "g")):
            for piece in (
                opening(index, f"id{index}", name, "{"),
                more('"x":', index=index),
                more("1}", index=index),
            ):
                event = call(**piece)
                assert by.feed(event) == event
        assert by.feed(CALLED + DONE) == CALLED + DONE

    def test_interleaved(self) -> None:
        """Pieces of another call wait until the finish, while the first streams on."""
        by = guard()
        pieces = [
            opening(0, "a", "f", "{"), opening(1, "b", "g"), more('"x":', index=0), more('{"y":', index=1),
            more("1}", index=0), more("2}", index=1),
        ]  # fmt: skip
        sent = [by.feed(call(**piece)) for piece in pieces]
        assert [bool(out) for out in sent] == [True, False, True, False, True, False]
        out = b"".join(sent) + by.feed(CALLED + DONE)
        assert agreed(out) == [("f", {"x": 1}), ("g", {"y": 2})]
        assert calls(*pieces) == [("f", {"x": 1}), ("g", {"y": 2})]

    def test_several_in_one_delta(self) -> None:
        """C7: calls that stand in one array leave in chunks of their own."""
        both = chunk(
            {"content": None, "tool_calls": [opening(0, "a", "f", "{}"), opening(1, "b", "g", "{}")]}
        )
        out = guarded(FIRST, both, CALLED, DONE)
        assert agreed(out) == [("f", {}), ("g", {})]

    def test_a_call_without_arguments_may_still_get_some(self) -> None:
        """Empty arguments are not whole, so the next call waits, and both come out."""
        pieces = (opening(0, "a", "f"), opening(1, "b", "g", "{}"), more('{"x":1}', index=0))
        assert calls(*pieces) == [("f", {"x": 1}), ("g", {})]
        assert calls(*pieces[:2]) == [("f", {}), ("g", {})]

    def test_blanks_after_a_whole_call_are_dropped(self) -> None:
        """A late piece of a call that has been left behind may only be blank."""
        pieces = (opening(0, "a", "f", "{}"), opening(1, "b", "g", "{}"), more("\n", index=0))
        assert calls(*pieces) == [("f", {}), ("g", {})]
        out = guarded(FIRST, *(call(**piece) for piece in (*pieces, more("}", index=0))), CALLED, DONE)
        assert 'tool "f"' in errors(out)[0]["message"]

    def test_text_between_pieces(self) -> None:
        """Text leaves when it comes, also while a call streams."""
        out = guarded(
            FIRST, call(**opening(0, "a", "f", "{")), text("x"), call(**more("}", index=0)), CALLED, DONE
        )
        assert said(out) == "x"
        assert agreed(out) == [("f", {})]

    def test_the_name_comes_late(self) -> None:
        """C6: a call waits for its name, so that its first delta has it."""
        pieces = (
            {"index": 0, "id": "a"},
            more("{", index=0),
            {"index": 0, "function": {"name": "f", "arguments": "}"}},
        )
        assert calls(*pieces) == [("f", {})]

    def test_the_id_comes_late(self) -> None:
        """An id that comes after the first delta is too late, and opens no call."""
        assert calls(opening(0, None, "f", "{"), more("}", id="a", index=0)) == [("f", {})]
        assert calls(opening(None, None, "f", "{"), more("}", id="a")) == [("f", {})]


class TestWhoseItIs:
    """Pieces that do not say whose they are are told apart by what can follow what."""

    @pytest.mark.parametrize("index", [{}, {"index": 0}])
    @pytest.mark.parametrize("name", ["f", "g"])
    @pytest.mark.parametrize("first", ['{"x":1}', ""])
    @pytest.mark.parametrize("cut", [0, 1, 4, 7])
    def test_no_ids(self, index: dict[str, int], name: str, first: str, cut: int) -> None:
        """Without ids, and with no index or always 0, a name after whole arguments opens the next call."""
        if not first and name == "f":
            return  # nothing tells two such calls from one whose name is repeated
        second = '{"y":2}'
        pieces = (
            {**index, "function": {"name": "f", "arguments": first[:cut]}},
            more(first[cut:], **index),
            {**index, "function": {"name": name, "arguments": second[:cut]}},
            more(second[cut:], **index),
        )
        assert calls(*pieces) == [("f", {"x": 1} if first else {}), (name, {"y": 2})]

    @pytest.mark.parametrize("index", [{}, {"index": 0}])
    def test_ids_without_indexes(self, index: dict[str, int]) -> None:
        """With no index, or always 0, a new id with a name opens the next call."""
        pieces = (
            {**opening(None, "a", "f"), **index}, more('{"x":1}', **index),
            {**opening(None, "b", "f"), **index}, {**opening(None, "c", "f", "{}"), **index},
        )  # fmt: skip
        assert calls(*pieces) == [("f", {"x": 1}), ("f", {}), ("f", {})]

    def test_one_id_for_all(self) -> None:
        """With one id for all calls, arguments that cannot follow open the next call."""
        pieces = (opening(None, "a", "f", "{}"), opening(None, "a", "f", "{}"), opening(None, "a", "g", "{}"))
        assert calls(*pieces) == [("f", {}), ("f", {}), ("g", {})]

    @pytest.mark.parametrize("index", [{}, {"index": 0}])
    def test_id_and_name_in_each_piece(self, index: dict[str, int]) -> None:
        """An upstream that repeats id and name in every piece, the empty last one too, means one call."""
        pieces = [{**opening(None, "a", "f", part), **index} for part in ("", "{", "}", "")]
        assert calls(*pieces) == [("f", {})]
        assert calls(*({**opening(0, None, "f", part), **index} for part in ("", "{", "}", ""))) == [
            ("f", {})
        ]

    @pytest.mark.parametrize("index", [{}, {"index": 0}])
    def test_the_name_in_each_piece(self, index: dict[str, int]) -> None:
        """Without ids too, an empty piece with the same name ends a call that did not open empty."""
        pieces = [{**index, "function": {"name": "f", "arguments": part}} for part in ("{}", "")]
        assert calls(*pieces) == [("f", {})]
        assert calls(*pieces, pieces[0]) == [("f", {}), ("f", {})]

    def test_a_new_id_in_each_piece(self) -> None:
        """An upstream that makes up an id for every piece, but counts calls, means what it counts."""
        pieces = (
            opening(0, "a", "f", "{"), more("}", index=0, id="b"),
            opening(1, "c", "g", "{"), {**opening(1, "d", "g", "}")},
        )  # fmt: skip
        assert calls(*pieces) == [("f", {}), ("g", {})]


class TestBroken:
    @pytest.mark.parametrize("arguments", ['{"x":', "{]", "NaN", "{'x':1}", '{"x":1}}'])
    def test_arguments_that_are_no_json(self, arguments: str) -> None:
        """C6 and C11: a call that no client could parse ends the answer as an error that names the tool."""
        by = guard()
        out = guarded(FIRST, call(**opening(0, "a", "read_file", arguments)), CALLED, DONE, by=by)
        message = 'the model\'s call of tool "read_file" was cut off or is no JSON'
        assert [error["message"] for error in errors(out)] == [message]
        assert message in json.loads(Chat().read(out).failure or "")["message"]
        assert by.failure is not None
        assert "read_file" not in by.failure.logged

    def test_at_the_limit(self) -> None:
        """C11: a call that the limit of tokens cut says so, and what helps."""
        out = guarded(FIRST, call(**opening(0, "a", "f", "{")), chunk({}, "length"), DONE)
        assert errors(out)[0]["message"] == (
            'the answer reached its limit of tokens inside a call of tool "f": '
            "raise the context or max_tokens"
        )

    def test_without_a_finish(self) -> None:
        """C11: `[DONE]` after half a call is no end of an answer."""
        assert errors(guarded(FIRST, call(**opening(0, "a", "f", "{")), DONE))

    def test_without_a_name(self) -> None:
        """C6: a call with arguments for no tool is an error, one without them is none."""
        out = guarded(FIRST, call(index=0, id="a", function={"arguments": "{}"}), CALLED, DONE)
        assert errors(out)[0]["message"] == "the model called a tool and did not name it"

    def test_the_last_piece_may_stand_beside_the_finish(self) -> None:
        """Arguments are judged after the delta beside the finish reason was read."""
        last = chunk({"tool_calls": [more("}", index=0)]}, "tool_calls")
        assert agreed(guarded(FIRST, call(**opening(0, "a", "f", "{")), last, DONE)) == [("f", {})]

    def test_half_a_surrogate_pair_is_json(self) -> None:
        """What JSON.parse takes is whole, although msgspec refuses it."""
        out = guarded(FIRST, call(**opening(0, "a", "f", '{"x":"\\ud83d"}')), CALLED, DONE)
        assert agreed(out) == [("f", {"x": "\ud83d"})]
