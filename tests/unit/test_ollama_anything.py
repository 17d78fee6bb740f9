"""Whatever a model says and however it comes, does a client of Ollama's read the same, with one end?"""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from copilot_proxy.errors import UpstreamLost
from copilot_proxy.stream.events import whole_events
from copilot_proxy.stream.ollama.line import Shape
from tests.unit.ollama_writer import calls, content, lines, read, thinking, whole
from tests.unit.stream_writer import DONE, FIRST, chunk, sse

PROFILE = settings(deadline=None, max_examples=200)
LOST = UpstreamLost("the connection broke")
WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=6,
)


@st.composite
def pieces_of(draw: st.DrawFn, text: str) -> list[str]:
    cuts = sorted(draw(st.sets(st.integers(0, len(text)), max_size=4)))
    return [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]


@st.composite
def tool_calls(draw: st.DrawFn) -> list[tuple[str, str, list[dict[str, Any]]]]:
    """Some calls: the name, the arguments, and the items that they come in."""
    found = []
    for index in range(draw(st.integers(0, 3))):
        name = f"tool{index}"
        arguments = json.dumps(
            draw(st.dictionaries(WORDS, VALUES, max_size=3)), indent=draw(st.sampled_from([None, 1]))
        )
        items: list[dict[str, Any]] = [
            {"index": index, "function": {"arguments": part}} for part in draw(pieces_of(arguments))
        ]
        items[0] |= {"id": f"id{index}", "type": "function"}
        items[0]["function"]["name"] = name
        found.append((name, arguments, items))
    return found


TEXTS = st.lists(st.tuples(st.sampled_from(["content", "reasoning_content"]), WORDS), max_size=8)


@PROFILE
@given(TEXTS, tool_calls(), st.sampled_from(["stop", "length", "tool_calls", "done", "cut", "lost", "error"]))
def test_any_answer(
    texts: list[tuple[str, str]], wanted: list[tuple[str, str, list[dict[str, Any]]]], end: str
) -> None:
    """Text and thoughts come out as they went in, each call's arguments are its pieces, and one line ends."""
    events = [FIRST, *(chunk({key: text}) for key, text in texts)]
    events += [chunk({"tool_calls": [item]}) for _, _, items in wanted for item in items]
    if end in ("stop", "length", "tool_calls"):
        events.append(chunk({}, end))
    events.append(
        sse({"error": {"message": "no"}}) if end == "error" else b"" if end in ("cut", "lost") else DONE
    )
    by, one = lines(), whole()
    out = b"".join(map(by.feed, events)) + (by.fail(LOST) if end == "lost" else by.end())
    one.feed(b"".join(events))
    found = read(out)
    is_whole = end not in ("cut", "lost", "error")
    assert found[-1].get("done", False) == is_whole
    assert content(found) == "".join(text for key, text in texts if key == "content")
    assert thinking(found) == "".join(text for key, text in texts if key != "content")
    expected = [(f"id{index}", name, arguments) for index, (name, arguments, _) in enumerate(wanted)]
    got = [(call["id"], call["function"]["name"], call["function"]["arguments"]) for call in calls(found)]
    assert got == [
        (identity, name, json.loads(arguments)) for identity, name, arguments in expected if is_whole
    ]
    if is_whole:
        document = json.loads(one.document())
        assert (content([document]), thinking([document])) == (content(found), thinking(found))
        assert calls([document]) == calls(found)
        assert document["done_reason"] == found[-1]["done_reason"]


SOUP = st.lists(
    st.sampled_from(
        [
            FIRST,
            DONE,
            chunk({"content": "a"}),
            chunk({"reasoning_content": "b", "content": "c"}),
            chunk({"content": 3, "tool_calls": {"name": "f", "arguments": {"x": 1}}}),
            chunk({"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": "{"}}]}),
            chunk({"tool_calls": [{"index": 0, "function": {"arguments": "}"}}, None]}),
            chunk({}, "stop", timings={"prompt_n": 3, "predicted_n": 2, "prompt_ms": 1, "predicted_ms": 1}),
            chunk({}, "error"),
            sse({"content": "d", "stop": False, "tokens": [1]}),
            sse({"content": "<think>", "stop": False}),
            sse({"content": "</think>e", "stop": True, "stop_type": "limit"}),
            sse({"error": {"message": "no"}}),
            sse([1]),
            b'data: {"content":"\\ud83d"}\n\n',
            b"data: \xff\n\n",
            b": ping\n\n",
            b"event: error\n\n",
            b"\n\n",
        ]
    ),
    max_size=10,
)


@PROFILE
@given(SOUP, st.sampled_from(Shape), st.booleans(), st.sampled_from([b"\n", b"\r\n", b"\r"]), st.data())
def test_cuts_change_nothing(
    events: list[bytes], shape: Shape, splits_tags: bool, line_end: bytes, data: st.DataObject
) -> None:
    """However whole events come, at once or one by one, the lines are the same, and one of them ends."""
    stream = b"".join(events).replace(b"\n", line_end)
    together = lines(shape, splits_tags=splits_tags, top_logprobs=1)
    expected = together.feed(stream) + together.end([1])
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)), max_size=5)))
    by = lines(shape, splits_tags=splits_tags, top_logprobs=1)
    out, held = b"", b""
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        held += stream[start:end]
        size = whole_events(held)
        out += by.feed(held[:size])
        held = held[size:]
    assert out + by.feed(held) + by.end([1]) == expected
    assert by.failure is None or str(by.failure) == str(together.failure)
    read(expected)
    one = whole(shape, splits_tags=splits_tags)
    assert one.feed(stream) == b""
    assert (one.failure is None) or together.failure is not None
