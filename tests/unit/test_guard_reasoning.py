"""Does each client see what the model thought, and get an answer where the model only thought?"""

import json

import pytest

from copilot_proxy.stream.reasoning import KEPT, Quote, Reasoning, Tail, calls_at_end
from tests.unit.copilot_parser import CLIENTS, Chat, Chat029, CopilotCLI, LanguageServer
from tests.unit.stream_writer import (
    CALLED,
    DONE,
    FIRST,
    STOP,
    call,
    chunk,
    deltas,
    documents,
    finishes,
    guard,
    guarded,
    said,
    text,
)

SENTENCE = "The model ended its answer after its reasoning and said nothing more."
LIMIT = "The model reached its limit of tokens while it was reasoning: raise the context or max_tokens."
HERMES = '<tool_call>\n{"name": "f", "arguments": {"x": "</tool_call>"}}\n</tool_call>'


def thought(piece: str, key: str = "reasoning_content") -> bytes:
    return chunk({key: piece})


class TestCopilot:
    @pytest.mark.parametrize(
        "key", ["reasoning_content", "reasoning", "reasoning_text", "thinking", "cot_summary"]
    )
    def test_each_name_of_it(self, key: str) -> None:
        """C8: whatever upstream calls it, it leaves under both names with one id for the response."""
        out = guarded(FIRST, thought("a", key), thought("b", key), text("c"), STOP, DONE)
        assert deltas(out)[1:3] == [
            {"reasoning_content": piece, "reasoning_text": piece, "cot_id": "cot_1"} for piece in "ab"
        ]
        for client in CLIENTS:
            reading = client().read(out)
            assert (reading.text, reading.thoughts, reading.failure) == ("c", "ab", None)

    def test_before_it_was_only_for_new_ones(self) -> None:
        """C8: without the guard the language server and the CLI show nothing of it."""
        stream = FIRST + thought("a") + text("c") + STOP + DONE
        assert [client().read(stream).thoughts for client in (Chat, LanguageServer, CopilotCLI)] == [
            "a",
            "",
            "",
        ]

    def test_never_hidden(self) -> None:
        """C8: `reasoning_opaque`, which makes VS Code hide it, never leaves, nor do other ids."""
        opaque = {"reasoning_content": "a", "reasoning_opaque": "x", "cot_id": "y", "reasoning_details": [{}]}
        out = guarded(FIRST, chunk(opaque), chunk({"content": "b", "reasoning_opaque": "x"}), STOP, DONE)
        assert deltas(out)[1:3] == [
            {"reasoning_content": "a", "reasoning_text": "a", "cot_id": "cot_1"},
            {"content": "b"},
        ]

    def test_an_empty_content_beside_it(self) -> None:
        """vLLM and DeepSeek write `content` as null or empty beside it: no chunk of its own comes of that."""
        beside = [chunk({"content": empty, "reasoning_content": "a"}) for empty in ("", None)]
        assert len(documents(guarded(FIRST, *beside, text("b"), STOP, DONE))) == 5


class TestContent:
    def test_a_block_quote(self) -> None:
        """`content`: the reasoning is text in a block quote, and the answer follows after a blank line."""
        pieces = ["\n", "One", " line.", "\n", "Two\n\nThree", "\n"]
        out = guarded(
            FIRST, *map(thought, pieces), text("Answer"), text("."), STOP, DONE, by=guard(Reasoning.CONTENT)
        )
        assert said(out) == "> One line.\n> Two\n> \n> Three\n\nAnswer."
        assert not any("reasoning" in key for delta in deltas(out) for key in delta)

    @pytest.mark.parametrize("end", ["", "\n", "\n\n"])
    def test_a_blank_line_before_the_answer(self, end: str) -> None:
        """However the reasoning ends, the answer is no part of the quote."""
        out = guarded(FIRST, thought("a" + end), text("b"), STOP, DONE, by=guard(Reasoning.CONTENT))
        assert "\n\nb" in said(out)
        assert said(out).splitlines()[0] == "> a"

    def test_nothing_for_nothing(self) -> None:
        """Reasoning of blanks alone shows nothing."""
        out = guarded(FIRST, thought("\n\n"), text("b"), text("c"), STOP, DONE, by=guard(Reasoning.CONTENT))
        assert out == FIRST + text("b") + text("c") + STOP + DONE

    def test_after_text(self) -> None:
        """Reasoning that comes between texts is a block of its own, and what follows is read again."""
        stream = (
            text("a"),
            text("b"),
            thought("c"),
            thought("d"),
            text("e"),
            text("f"),
            thought("g"),
            text("h"),
        )
        out = guarded(FIRST, *stream, STOP, DONE, by=guard(Reasoning.CONTENT))
        assert said(out) == "ab\n\n> cd\n\nef\n\n> g\n\nh"

    @pytest.mark.parametrize("cuts", range(1, 40))
    def test_wherever_it_is_cut(self, cuts: int) -> None:
        """The quote is the same however the reasoning is cut into pieces."""
        whole = "First\nsecond\n\n\nthird line\n"
        pieces = [whole[at : at + cuts] for at in range(0, len(whole), cuts)]
        quote = Quote()
        shown = "".join(quote.add(piece, after_text=False) for piece in pieces) + quote.close()
        assert shown == "> First\n> second\n> \n> \n> third line\n\n"


class TestOff:
    def test_chunks_vanish(self) -> None:
        """`off`: chunks of reasoning are not there, their role and their usage are."""
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        counted = chunk({"reasoning_content": "b"}, usage=usage)
        first = chunk({"role": "assistant", "reasoning_content": "a"})
        out = guarded(first, thought("a"), counted, text("c"), STOP, DONE, by=guard(Reasoning.OFF))
        assert deltas(out) == [{"role": "assistant"}, {"content": "c"}, {}]
        assert [value.get("usage") for value in documents(out)] == [None, usage, None, None]


class TestReasoningOnly:
    @pytest.mark.parametrize("mode", list(Reasoning))
    @pytest.mark.parametrize(("finish", "sentence"), [("stop", SENTENCE), ("length", LIMIT)])
    def test_a_sentence_is_the_answer(self, mode: Reasoning, finish: str, sentence: str) -> None:
        """C10: where only reasoning came, a sentence that says so comes before the finish reason."""
        stream = (FIRST, thought("a"), text("\n"), chunk({}, finish), DONE)
        assert Chat().read(FIRST + thought("a") + STOP + DONE).failure is not None
        out = guarded(*stream, by=guard(mode))
        assert said(out).endswith(sentence)
        assert finishes(out) == [finish]
        for client in CLIENTS if finish == "stop" else ():
            assert client().read(out).failure is None

    @pytest.mark.parametrize("mode", list(Reasoning))
    def test_a_call_at_its_end_is_a_call(self, mode: Reasoning) -> None:
        """C10: a tool call in Hermes' notation at the end of the reasoning becomes one (llama.cpp#22684)."""
        by = guard(mode)
        pieces = [("I will call it.\n" + HERMES + "\n")[at : at + 5] for at in range(0, 120, 5)]
        out = guarded(FIRST, *(thought(piece) for piece in pieces if piece), STOP, DONE, by=by)
        assert finishes(out) == ["tool_calls"]
        for client in CLIENTS:
            reading = client().read(out)
            assert reading.calls == [("f", {"x": "</tool_call>"})]
            assert reading.failure is None
        assert by.notes == ("tool calls were taken out of the reasoning (ggml-org/llama.cpp#22684)",)

    def test_several_calls(self) -> None:
        """C10: calls that stand one after another at the end are all taken, in their order."""
        empty = '<tool_call>{"name":"g","arguments":""}</tool_call>'
        out = guarded(FIRST, thought(empty + HERMES + empty), DONE)
        assert Chat().read(out).calls == [("g", {}), ("f", {"x": "</tool_call>"}), ("g", {})]

    @pytest.mark.parametrize(
        "text_of_it",
        [
            HERMES + " I might do that.",
            "<tool_call>{'name': 'f'}</tool_call>",
            "<tool_call>[1]</tool_call>",
            '<tool_call>{"name": "", "arguments": {}}</tool_call>',
            '<tool_call>{"name": "f", "arguments": 7}</tool_call>',
            '<tool_call>{"name": "f", "arguments": "{"}</tool_call>',
            "</tool_call>",
        ],
    )
    def test_what_is_no_call(self, text_of_it: str) -> None:
        """C10: a call in the middle of the reasoning, or one that is not whole, is only reasoning."""
        out = guarded(FIRST, thought(text_of_it), STOP, DONE)
        assert said(out) == SENTENCE

    def test_a_call_that_quotes_the_tags(self) -> None:
        """Arguments may hold the tags themselves."""
        arguments = {"text": "<tool_call>{}</tool_call>"}
        written = "<tool_call>" + json.dumps({"name": "f", "arguments": arguments}) + "</tool_call>"
        assert [(call.name, json.loads(call.arguments)) for call in calls_at_end(written)] == [
            ("f", arguments)
        ]

    @pytest.mark.parametrize(
        "event",
        [text("b"), call(index=0, id="x", type="function", function={"name": "g", "arguments": "{}"})],
    )
    def test_not_where_there_is_an_answer(self, event: bytes) -> None:
        """C10: beside text or a tool call nothing is added, and nothing taken out of the reasoning."""
        finish = STOP if b"content" in event else CALLED
        for stream in ((thought(HERMES), event), (event, thought(HERMES))):
            out = guarded(FIRST, *stream, finish, DONE)
            assert len(documents(out)) == 4

    def test_only_its_end_is_kept(self) -> None:
        """What is kept of the reasoning is bounded, and is its end."""
        tail = Tail()
        for number in range(100_000):
            tail.add(f"{number:06}")
        assert len(tail.text()) == KEPT
        assert tail.text().endswith("099999")
        assert sum(map(len, tail._pieces)) <= KEPT + 6 * 513
        tail.add("x" * (2 * KEPT))
        assert tail.text() == "x" * KEPT

    def test_old_clients_lose_no_finish(self) -> None:
        """VS Code 0.29 swallows a delta with reasoning whole, so nothing else stands in it."""
        mixed = chunk({"reasoning_content": "a", "content": "b"}, "stop")
        assert Chat029().read(guarded(mixed, DONE)).text == "b"
