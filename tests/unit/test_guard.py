"""Does an answer leave the guard as Copilot's clients can read it, to its one end?"""

import json
from typing import Any

import pytest

from copilot_proxy.errors import UpstreamLost
from copilot_proxy.stream.guard import Guard
from tests.unit.copilot_parser import CLIENTS, NO_CHOICES, NO_RESPONSE, VS_CODE, Chat, CopilotCLI
from tests.unit.stream_writer import (
    CALLED,
    CREATED,
    DONE,
    FIRST,
    RECORDED,
    STOP,
    call,
    chunk,
    compact,
    deltas,
    documents,
    errors,
    finishes,
    guard,
    guarded,
    keeps_the_checklist,
    said,
    sse,
    text,
)

USAGE = sse(
    {
        "choices": [],
        "created": CREATED,
        "id": "chatcmpl-4DYc",
        "model": "tiny",
        "object": "chat.completion.chunk",
        "usage": {"completion_tokens": 2, "prompt_tokens": 5, "total_tokens": 7},
    }
)
LOST = UpstreamLost("llama-server closed the connection inside its answer")


def body(name: str) -> bytes:
    return (RECORDED / f"{name}.sse").read_bytes()


def cut(stream: bytes) -> list[bytes]:
    return [event + b"\n\n" for event in stream.split(b"\n\n")[:-1]]


class TestWhatPasses:
    @pytest.mark.parametrize("name", ["plain", "call"])
    @pytest.mark.parametrize("at_once", [True, False])
    def test_a_real_stream_passes_byte_for_byte(self, name: str, at_once: bool) -> None:
        """An answer of llama.cpp b11549 without reasoning leaves as it came."""
        stream = body(name)
        assert guarded(*([stream] if at_once else cut(stream))) == stream

    @pytest.mark.parametrize("name", ["think", "both"])
    def test_only_chunks_of_reasoning_are_rewritten(self, name: str) -> None:
        """In an answer of llama.cpp b11549 with reasoning every other chunk leaves as it came."""
        stream = body(name)
        pairs = list(zip(cut(stream), cut(guarded(*cut(stream))), strict=True))
        changed = [event for event, sent in pairs if event != sent]
        assert changed == [event for event in cut(stream) if b"reasoning_content" in event]
        assert changed

    def test_an_ordinary_token_is_not_even_copied(self) -> None:
        """From the second text on the very bytes come back that were fed."""
        by = guard()
        by.feed(FIRST)
        by.feed(text("Hello"))
        event = text(' "quoted" \\ \n é')
        assert by.feed(event) is event
        segment = event + text("") + text("\u2028")
        assert by.feed(segment) is segment

    @pytest.mark.parametrize(
        "event",
        [
            pytest.param(text("b").replace(b'"b"', b'"b","tool_calls":[]'), id="another key in the delta"),
            pytest.param(chunk({"content": "b"}, "stop"), id="a finish reason"),
            pytest.param(text("b").replace(b"4DYc", b"else"), id="another id"),
            pytest.param(text("b").replace(b'"b"', b'"b'), id="no end of the text"),
            pytest.param(text("b").replace(b'"b"', b'"\\x"'), id="no escape"),
            pytest.param(text("b").replace(b'"b"', b'"a\x01"'), id="a control character"),
        ],
    )
    def test_what_only_looks_ordinary_is_looked_at(self, event: bytes) -> None:
        """After ordinary tokens, one that is not passes no more easily than as the first."""
        by = guard()
        out = by.feed(FIRST + text("a") + text("b") + event)
        out += by.end() if b"stop" in event else by.feed(STOP) + by.end()
        keeps_the_checklist(out)
        assert event not in out

    @pytest.mark.parametrize(
        "content", ['"', "\\", "\n", '"content":"', '"}}],"created":1}', "\U0001f600", "\ud83d", "\x7f", ""]
    )
    def test_any_text_teaches_and_passes(self, content: str) -> None:
        """Whatever a token says, it neither ends its event early nor teaches a wrong place."""
        event = text("?").replace(b'"?"', json.dumps(content).encode())
        stream = b"".join([FIRST, event, text("x"), event, event, STOP])
        assert said(guarded(stream)) == content + "x" + content + content

    @pytest.mark.parametrize(
        ("found", "written"),
        [
            (b'"content":"a"', b'"content" : "a"'),
            (b'"system_fingerprint":"b0-unknown"', b'"service_tier":{"content":"z"}'),
            (b'{"choices"', b'{"service_tier":{"content":"z"},"choices"'),
            (b'{"choices"', b'{"service_tier":{"content":"a"},"choices"'),
        ],
    )
    def test_what_teaches_nothing(self, found: bytes, written: bytes) -> None:
        """Where the place of the text is in doubt, each event is looked at."""
        events = [text("a").replace(found, written)] * 3
        out = guarded(FIRST, *events, *events, STOP, DONE)
        assert out == b"".join([FIRST, *events, *events, STOP, DONE])
        assert said(out) == "aaaaaa"

    def test_the_time_may_pass(self) -> None:
        """llama-server writes the time of each chunk: a new second costs one look, and changes nothing."""
        events = [text(str(n)).replace(b"1795363754", b"17953637%02d" % n) for n in range(10, 40)]
        assert guarded(FIRST, *events, STOP, DONE) == b"".join([FIRST, *events, STOP, DONE])

    def test_spaces_of_another_writer_stay(self) -> None:
        """A chunk that needs no change keeps its bytes, whatever its whitespace and the order of its keys."""
        events = [
            f"data: {json.dumps(value)}\n\n".encode()
            for value in (
                {"id": "x", "object": "chat.completion.chunk", "created": 1, "choices": [choice]}
                for choice in (
                    {"delta": {"role": "assistant", "content": ""}, "index": 0, "logprobs": None},
                    {"delta": {"content": "a"}, "index": 0},
                    {"delta": {"content": "b"}, "index": 0},
                    {"delta": {"tool_calls": [{"function": {"arguments": "", "name": "f"}, "type": "function",
                                               "id": "1", "index": 0}]}, "index": 0},
                    {"delta": {"tool_calls": [{"function": {"arguments": "{}"}, "index": 0}]}, "index": 0},
                    {"delta": {}, "index": 0, "finish_reason": "tool_calls"},
                )
            )
        ]  # fmt: skip
        assert guarded(*events, DONE) == b"".join([*events, DONE])

    def test_what_llama_server_adds_stays(self) -> None:
        """`timings`, `prompt_progress` and keys that nobody knows pass; the role is said once (openai's
        helper concatenates it)."""
        progress = chunk({"role": "assistant", "content": None}, prompt_progress={"total": 9, "cache": 0})
        stop = chunk({}, "stop", timings={"predicted_ms": 2.50, "cache_n": 1})
        first, second, *rest = cut(guarded(progress, progress, text("a"), stop, DONE))
        assert first == progress
        assert documents(second)[0]["prompt_progress"] == {"total": 9, "cache": 0}
        assert deltas(second) == [{"content": None}]
        assert rest == [text("a"), stop, DONE]


class TestFraming:
    def test_comments_pass_and_field_names_go(self) -> None:
        """C1: each event is one line `data: `, comments pass, and `event`, `id` and `retry` do not."""
        out = guarded(
            b":\n\n",
            b"event: message\nid: 7\nretry: 10\n" + FIRST,
            b": ping\n" + text("a"),
            b"id: 8\n\n",
            b"data:" + STOP[6:],
            b"data\n\n",
            b"data: \n\n",
            b"data:[DONE]\n\n",
        )
        assert out == b":\n\n" + FIRST + b": ping\n\n" + text("a") + STOP + DONE

    @pytest.mark.parametrize("end", [b"\r\n", b"\r", b"\n"])
    def test_line_ends(self, end: bytes) -> None:
        """C1 and the table's CRLF: however lines end, they leave with LF."""
        stream = FIRST + text("a\r\n") + text("b") + b":\n\n" + STOP + USAGE + DONE
        assert guarded(*(event.replace(b"\n", end) for event in cut(stream))) == stream
        assert guarded(stream.replace(b"\n", end)) == stream

    def test_data_of_several_lines_is_joined(self) -> None:
        """C1: VS Code reads each line for itself, so an event of several becomes one."""
        event = b'data: {"choices":[{"index":0,\ndata: "delta":{"content":"a"}}]}\n\n'
        out = guarded(FIRST, event, STOP, DONE)
        assert said(out) == "a"

    @pytest.mark.parametrize(
        "event", [b"data: {oops\n\n", b"data: 7\n\n", b"data: []\n\n", b'data: "a\n"\n\n']
    )
    def test_what_is_no_object_is_dropped(self, event: bytes) -> None:
        """One event that is no JSON object costs itself alone, and is told to the log without its text."""
        by = guard()
        assert guarded(FIRST, event, event, text("a"), STOP, DONE, by=by) == FIRST + text("a") + STOP + DONE
        assert by.notes == ("an event that is no JSON object was dropped (2 times)",)

    def test_nested_too_deeply(self) -> None:
        """An event as deep as the interpreter's stack is dropped, and nothing else."""
        by = guard()
        deep = [b"[" * depth + b"]" * depth for depth in range(800, 1100)]
        events = [sse({"choices": [{"delta": {"a": 7}}]}).replace(b"7", nested) for nested in deep]
        assert said(guarded(FIRST, *events, text("a"), STOP, DONE, by=by)) == "a"
        assert any("too deeply" in note for note in by.notes)

    def test_bad_utf8_and_half_a_surrogate_pair(self) -> None:
        """What msgspec refuses and every client reads is read, and written so that every client reads it."""
        half = chunk({"content": "?", "tool_calls": []}).replace(b"?", b"\\ud83d")
        other = chunk({"content": "?", "tool_calls": []}).replace(b"?", b"\\ude00")
        bad = chunk({"content": "?", "tool_calls": []}).replace(b"?", b"\xff")
        out = guarded(FIRST, half, other, bad, STOP, DONE)
        assert [delta.get("content") for delta in deltas(out)] == [None, "\ud83d", "\ude00", "\ufffd", None]

    def test_nothing_left_after_the_end(self) -> None:
        """What upstream sends after `[DONE]` is dropped."""
        by = guard()
        out = guarded(FIRST + text("a") + STOP + DONE + text("b") + b":\n\n", by=by)
        assert out == FIRST + text("a") + STOP + DONE
        assert by.feed(text("b")) + by.end() + by.fail(LOST) == b""

    def test_an_event_whose_blank_line_is_missing(self) -> None:
        """The last bytes of a body count as an event, whether or not a blank line ends them."""
        assert guarded(FIRST, text("a"), STOP, b"data: [DONE]\n") == FIRST + text("a") + STOP + DONE


class TestEnvelope:
    def test_a_bare_chunk_is_dressed(self) -> None:
        """C4: id, created, object and the index of the choice are supplied; one id for the response."""
        by = guard(model="tiny")
        event = sse({"choices": [{"delta": {"content": "a"}}]})
        out = guarded(event, event, DONE, by=by)
        assert documents(out)[0] == {
            "choices": [{"delta": {"content": "a"}, "index": 0}],
            "id": "chatcmpl-0",
            "created": CREATED,
            "object": "chat.completion.chunk",
            "model": "tiny",
        }

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("id", None), ("id", 7), ("id", ""), ("id", "other"),
            ("created", None), ("created", 1.5), ("created", "1795363754"), ("created", True),
            ("object", "chat.completion"), ("object", None), ("model", None), ("model", 3),
        ],
    )  # fmt: skip
    def test_wrong_values_are_put_right(self, key: str, value: object) -> None:
        """C4: a chunk whose id, created, object or model is of no use gets those of the chunks before it."""
        more: dict[str, Any] = {key: value}
        assert guarded(FIRST, text("a"), chunk({"content": "b"}, **more), STOP, DONE) == (
            FIRST + text("a") + text("b") + STOP + DONE
        )

    def test_a_model_that_nobody_knows(self) -> None:
        """C4: `model` is a string or is not there."""
        event = chunk({"content": "a"}, model=None)
        assert "model" not in documents(guarded(event, STOP, DONE))[0]
        assert documents(guarded(event, STOP, DONE, by=guard(model="m")))[0]["model"] == "m"

    @pytest.mark.parametrize("index", [None, 1, "0", False, 0.0])
    def test_choice_without_index(self, index: object) -> None:
        """Table, "choice without index": it is 0, whatever number upstream gives its only choice."""
        event = sse({"choices": [{"index": index, "delta": {"content": "a"}}]})
        assert said(guarded(event, event, DONE)) == "aa"
        bare = sse({"choices": [{"delta": {"content": "a"}, "finish_reason": None}]})
        assert said(guarded(FIRST, bare, STOP, DONE)) == "a"

    def test_another_choice(self) -> None:
        """Copilot asks for one choice: of others nothing leaves."""
        by = guard()
        two = {"choices": [{"index": 1, "delta": {"content": "b"}}, {"index": 0, "delta": {"content": "a"}}]}
        other = sse({"choices": [{"index": 1, "delta": {"content": "b"}}, "x"]})
        assert said(guarded(FIRST, sse(two), other, STOP, DONE, by=by)) == "a"
        assert "another choice than the first was dropped (2 times)" in by.notes

    def test_message_in_a_chunk(self) -> None:
        """C4: a `message`, which VS Code prefers to the delta, becomes the delta."""
        whole = {
            "object": "chat.completion",
            "choices": [{"message": {"role": "assistant", "content": "a"}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
        }
        out = guarded(sse(whole), DONE)
        assert deltas(out) == [{"role": "assistant", "content": "a"}, {}]
        assert [value.get("usage") is not None for value in documents(out)] == [False, True]
        both = sse({"choices": [{"index": 0, "delta": {"content": "a"}, "message": {"content": "b"}}]})
        assert said(guarded(both, STOP, DONE)) == "a"

    @pytest.mark.parametrize("delta", [None, "text", []])
    def test_delta_is_an_object(self, delta: object) -> None:
        """C4: a delta of another type says nothing, and is `{}`."""
        assert deltas(guarded(FIRST, chunk(delta), text("a"), STOP, DONE))[1] == {}

    def test_content_as_parts(self) -> None:
        """Text in an array of parts, as Mistral's models stream it, is text."""
        parts = [{"type": "text", "text": "a"}, {"type": "thinking"}, {"type": "text", "text": "b"}, 7]
        assert said(guarded(FIRST, chunk({"content": parts}), STOP, DONE)) == "ab"

    @pytest.mark.parametrize(
        ("usage", "right"),
        [
            ({"prompt_tokens": 5, "completion_tokens": 2}, (5, 2, 7)),
            ({"prompt_tokens": 5.0, "completion_tokens": "2", "total_tokens": None}, (5, 2, 7)),
            ({"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 9}, (5, 2, 9)),
        ],
    )
    def test_usage(self, usage: dict[str, object], right: tuple[int, int, int]) -> None:
        """C9: the three counts are ints, in a last chunk without choices or in any other."""
        for chunks in ([STOP, chunk({}, usage=usage)], [chunk({}, "stop", usage=usage)]):
            out = guarded(FIRST, text("a"), *chunks, DONE)
            told = next(value["usage"] for value in documents(out) if "usage" in value)
            assert (told["prompt_tokens"], told["completion_tokens"], told["total_tokens"]) == right
        late = guarded(FIRST, text("a"), STOP, sse({"usage": usage}), DONE)
        assert documents(late)[-1]["choices"] == []
        assert documents(late)[-1]["usage"]["total_tokens"] == right[2]

    @pytest.mark.parametrize("usage", [{}, {"prompt_tokens": "many", "completion_tokens": 1}, [1]])
    def test_usage_that_counts_nothing_is_left_out(self, usage: object) -> None:
        """C9: VS Code needs numbers; a usage without them is taken away, and null stays null."""
        assert (
            guarded(FIRST, text("a"), chunk({}, "stop", usage=usage), DONE) == FIRST + text("a") + STOP + DONE
        )
        null = chunk({"content": "a"}, usage=None)
        assert guarded(FIRST, null, null, STOP, DONE) == FIRST + null + null + STOP + DONE

    def test_usage_chunk_after_the_finish_passes(self) -> None:
        """C9: a last chunk with `choices: []` passes as it is, before `[DONE]`."""
        assert guarded(FIRST, text("a"), STOP, USAGE, DONE) == FIRST + text("a") + STOP + USAGE + DONE


class TestFinish:
    @pytest.mark.parametrize(
        ("theirs", "ours"),
        [
            ("stop", "stop"), ("length", "length"), ("content_filter", "content_filter"), ("eos", "stop"),
            ("STOP", "stop"), ("MAX_TOKENS", "length"), ("function_call", "stop"), ("tool_calls", "stop"),
        ],
    )  # fmt: skip
    def test_without_calls(self, theirs: str, ours: str) -> None:
        """C5: an answer in text ends with "stop", "length" or "content_filter"; other words mean "stop"."""
        assert finishes(guarded(FIRST, text("a"), chunk({}, theirs), DONE)) == [ours]

    @pytest.mark.parametrize("theirs", ["stop", "length", "function_call", "tool_calls", "eos"])
    def test_with_calls(self, theirs: str) -> None:
        """C5 and the table: with whole tool calls "stop", "length" and the rest become "tool_calls"."""
        called = call(index=0, id="a", type="function", function={"name": "f", "arguments": "{}"})
        out = guarded(FIRST, called, chunk({}, theirs), DONE)
        assert finishes(out) == ["tool_calls"]
        for client in CLIENTS:
            assert client().read(out).calls == [("f", {})]

    @pytest.mark.parametrize("nothing", [None, "", 0, False])
    def test_no_finish_but_done(self, nothing: object) -> None:
        """C5 and the table, "no finish_reason": where upstream ends whole without one, it is supplied."""
        stream = (FIRST, text("a"), chunk({"content": "b"}, nothing))  # type: ignore[arg-type]
        assert Chat().read(b"".join(stream) + DONE).failure == NO_CHOICES
        out = guarded(*stream, DONE)
        assert finishes(out) == ["stop"]
        assert documents(out)[-1] == {
            "choices": [{"finish_reason": "stop", "index": 0, "delta": {}}],
            "created": CREATED,
            "id": "chatcmpl-4DYc",
            "model": "tiny",
            "object": "chat.completion.chunk",
        }
        opened = call(function={"name": "f", "arguments": {}})
        assert finishes(guarded(FIRST, opened, DONE)) == ["tool_calls"]
        assert finishes(guarded(DONE)) == ["stop"]

    def test_the_first_finish_wins(self) -> None:
        """C5: what is said after the finish is dropped, but for the usage that rides on it."""
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        out = guarded(FIRST, text("a"), STOP, text("b"), chunk({}, "length", usage=usage), DONE)
        assert finishes(out) == ["stop"]
        assert said(out) == "a"
        assert documents(out)[-1]["usage"] == usage
        assert documents(out)[-1]["choices"] == []

    def test_no_done(self) -> None:
        """Table, "no usage, no [DONE]": after a finish, `[DONE]` is supplied."""
        assert guarded(FIRST, text("a"), STOP) == FIRST + text("a") + STOP + DONE

    def test_one_kind_of_thing_in_a_chunk(self) -> None:
        """C7: a chunk with everything in it leaves as one for each thing; the role rides with the first."""
        item = {"index": 0, "id": "x", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        mixed = chunk(
            {
                "role": "assistant",
                "content": "a",
                "reasoning_content": "r",
                "tool_calls": [item],
                "refusal": None,
            },
            "stop",
            usage={"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
        )
        out = guarded(mixed, DONE)
        thought = {"reasoning_content": "r", "reasoning_text": "r", "cot_id": "cot_1"}
        assert deltas(out) == [
            {"role": "assistant", "refusal": None, **thought},
            {"content": "a"},
            {"tool_calls": [item]},
            {},
        ]
        assert finishes(out) == ["tool_calls"]
        assert ["usage" in value for value in documents(out)] == [False, False, False, True]
        for client in CLIENTS:
            reading = client().read(out)
            assert (reading.text, reading.calls, reading.failure) == ("a", [("f", {})], None)

    @pytest.mark.parametrize("nothing", [[], None])
    def test_no_empty_arrays_and_nulls(self, nothing: object) -> None:
        """C7 and C8: no `tool_calls: []`, and no null key of reasoning, which VS Code 0.29 takes for it."""
        empty = {
            "tool_calls": nothing,
            "reasoning_content": None,
            "reasoning": None,
            "reasoning_opaque": None,
        }
        stream = (
            chunk({"role": "assistant", **empty}),
            chunk({"content": "a", **empty}),
            chunk(empty, "stop"),
        )
        out = guarded(*stream, DONE)
        assert deltas(out) == [{"role": "assistant"}, {"content": "a"}, {}]
        for client in VS_CODE:
            assert client().read(out).text == "a"

    def test_role_repeated(self) -> None:
        """Table, "`role` repeated in later deltas": it leaves once."""
        out = guarded(*(chunk({"role": "assistant", "content": word}) for word in "abc"), STOP, DONE)
        assert deltas(out) == [{"role": "assistant", "content": "a"}, {"content": "b"}, {"content": "c"}, {}]


class TestFailure:
    def test_before_any_choice(self) -> None:
        """C11: before any chunk with a choice the error event stands alone, then `[DONE]`."""
        by = guard()
        out = by.feed(b":\n\n") + by.fail(LOST)
        assert out == b":\n\n" + sse({"error": {"message": LOST.message, "type": "upstream_error",
                                               "code": "upstream_lost"}}) + DONE  # fmt: skip
        assert by.failure is LOST
        keeps_the_checklist(out)

    def test_after_a_choice(self) -> None:
        """C11: after one, a chunk with the finish reason "error" goes first, and VS Code shows the text."""
        by = guard()
        out = by.feed(FIRST + text("a")) + by.fail(LOST)
        keeps_the_checklist(out)
        assert documents(out)[-2]["choices"] == [{"finish_reason": "error", "index": 0, "delta": {}}]
        assert documents(out)[-2]["id"] == "chatcmpl-4DYc"
        for client in VS_CODE:
            assert LOST.message in (client().read(out).failure or "")

    def test_ended_without_a_finish(self) -> None:
        """C5 and C11: a body that ends in the regular way, but in the middle, is an error and says so."""
        by = guard()
        out = guarded(FIRST, text("a"), by=by)
        assert finishes(out) == ["error"]
        assert errors(out)[0]["message"] == "llama-server ended its answer without saying that it is finished"
        assert by.failure is not None
        assert errors(guarded(by=guard()))

    def test_broken_off_after_the_finish(self) -> None:
        """C11: an answer that is whole stays an answer when the connection breaks before `[DONE]`."""
        by = guard()
        out = by.feed(FIRST + text("a") + STOP) + by.fail(LOST)
        assert out == FIRST + text("a") + STOP + DONE
        assert by.failure is None

    @pytest.mark.parametrize("begun", [True, False])
    @pytest.mark.parametrize(
        ("event", "message"),
        [
            (sse({"error": {"code": 500, "message": "oh", "type": "server_error"}}), "oh"),
            (sse({"error": {"message": "oh", "code": None}}), "oh"),
            (sse({"error": "oh"}), "oh"),
            (sse({"error": {"code": 500}}), "llama-server reported an error without a text"),
            (b'error: {"code":500,"message":"oh","type":"server_error"}\n\n', "oh"),
            (b'event: error\ndata: {"message":"oh"}\n\n', "oh"),
            (b"event: error\ndata: oh\n\n", "oh"),
            (sse({"choices": [{"delta": {}, "finish_reason": "error", "error": {"message": "oh"}}]}), "oh"),
            (
                chunk({}, "error"),
                "llama-server ended its answer with an error that it did not explain",
            ),
        ],
    )
    def test_error_inside_the_stream(self, event: bytes, message: str, begun: bool) -> None:
        """C11 and the table, "error inside the stream": its text reaches the client, and nothing after it."""
        by = guard()
        out = guarded(*((FIRST, text("a")) if begun else ()), event, text("b"), STOP, DONE, by=by)
        assert [error["message"] for error in errors(out)] == [message]
        assert finishes(out) == (["error"] if begun else [])
        assert message in (Chat().read(out).failure or "")
        assert CopilotCLI().read(out).failure == message
        assert by.failure is not None
        assert message not in by.failure.logged or "explain" in message

    def test_an_error_that_is_right_keeps_its_bytes(self) -> None:
        """llama-server's own error event passes as it is, its extra keys too."""
        event = sse(
            {"error": {"code": 400, "message": "oh", "type": "exceed_context_size_error", "n_ctx": 9}}
        )
        assert guarded(event) == event + DONE

    def test_null_is_no_error(self) -> None:
        """`error: null` beside choices means that there is none."""
        event = chunk({"content": "a"}, error=None)
        assert guarded(FIRST, event, STOP, DONE) == FIRST + event + STOP + DONE

    def test_an_error_after_the_finish(self) -> None:
        """C11: what fails after the finish does not take back the answer."""
        assert guarded(FIRST, text("a"), STOP, sse({"error": {"message": "oh"}})) == (
            FIRST + text("a") + STOP + DONE
        )

    def test_a_guard_serves_defaults(self) -> None:
        """Without `unique` ids are random, and two answers have two."""
        ids = {documents(Guard(created=1).feed(sse({"choices": [{"delta": {}}]})))[0]["id"] for _ in range(2)}
        assert len(ids) == 2

    def test_an_empty_answer_stays_one(self) -> None:
        """A model that says nothing at all has said nothing: nothing is put into its mouth."""
        out = guarded(FIRST, STOP, DONE)
        assert out == FIRST + STOP + DONE
        assert Chat().read(out).failure == NO_RESPONSE

    def test_a_call_that_no_chunk_carries(self) -> None:
        """`choices` that are null, missing or no array say nothing, and are dropped."""
        by = guard()
        nothing = [compact({"id": "x"}), compact({"choices": None}), compact({"choices": {"a": 1}})]
        out = guarded(FIRST, *(b"data: " + one + b"\n\n" for one in nothing), CALLED, DONE, by=by)
        assert len(documents(out)) == 2
        assert by.notes
