"""Whatever an upstream sends, do all clients read the same answer, with one end?

An answer is drawn, then how a careless upstream would write it, then where it is cut; what the clients read
must be what the answer says up to there.
"""

import json
from typing import Any, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from copilot_proxy.errors import UpstreamLost
from copilot_proxy.stream.guard import Guard
from copilot_proxy.stream.reasoning import Reasoning
from tests.unit.copilot_parser import CLIENTS, VS_CODE
from tests.unit.stream_writer import DONE, chunk, errors, finishes, guard, keeps_the_checklist, sse
from tests.unit.test_guard_reasoning import SENTENCE

PROFILE = settings(deadline=None, max_examples=200)
WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6)
LOST = UpstreamLost("the connection broke")


class Style(NamedTuple):
    """How an upstream writes a stream."""

    ids: str
    indexes: str
    repeats: bool
    has_type: bool
    as_object: bool
    reasoning: str
    bare: bool
    line_end: bytes

    @property
    def is_vague(self) -> bool:
        """Nothing but its name and its place tells a call from the one before it."""
        return self.indexes in ("missing", "zero")


STYLES = st.builds(
    Style,
    ids=st.sampled_from(["own", "missing", "empty", "same"]),
    indexes=st.sampled_from(["counted", "missing", "zero", "from 5"]),
    repeats=st.booleans(),
    has_type=st.booleans(),
    as_object=st.booleans(),
    reasoning=st.sampled_from(["reasoning_content", "reasoning", "thinking"]),
    bare=st.booleans(),
    line_end=st.sampled_from([b"\n", b"\r\n", b"\r"]),
)


class Piece(NamedTuple):
    """A delta, and what it says: reasoning, text, or arguments of the call with this number."""

    delta: dict[str, Any]
    reasoning: str = ""
    text: str = ""
    call: int | None = None
    arguments: str = ""


def item(style: Style, number: int, name: str, arguments: object, opens: bool) -> dict[str, Any]:
    ids = {"own": f"id{number}", "same": "id", "empty": ""}
    indexes = {"counted": number, "zero": 0, "from 5": number + 5}
    written: dict[str, Any] = {"function": {"arguments": arguments}}
    if style.indexes in indexes:
        written["index"] = indexes[style.indexes]
    if opens or style.repeats:
        written["function"]["name"] = name
        if style.ids in ids:
            written["id"] = ids[style.ids]
        if style.has_type:
            written["type"] = "function"
    return written


def cuts(draw: st.DrawFn, text: str) -> list[str]:
    places = sorted(draw(st.lists(st.integers(0, len(text)), max_size=4)))
    return [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]


@st.composite
def answers(draw: st.DrawFn, style: Style) -> tuple[list[Piece], list[str]]:
    """The pieces of an answer, and the names of its calls."""
    pieces: list[list[Piece]] = []
    names: list[str] = []
    for kind in draw(st.lists(st.sampled_from(["reasoning", "text", "call"]), min_size=1, max_size=6)):
        if kind == "reasoning":
            said = draw(WORDS)
            pieces.append([Piece({style.reasoning: said}, reasoning=said)])
        elif kind == "text":
            said = draw(WORDS)
            pieces.append([Piece({"content": said}, text=said)])
        else:
            number = len(names)
            # where only the name can tell them apart, it does
            vague = style.is_vague and (style.repeats or style.ids == "same")
            name = f"f{number}" if vague else draw(st.sampled_from(["f", "g"]))
            names.append(name)
            value = draw(st.dictionaries(WORDS, st.one_of(WORDS, st.integers(), st.none()), max_size=2))
            arguments = json.dumps(value)
            whole = style.as_object and draw(st.booleans())
            parts = [arguments] if whole else cuts(draw, arguments)
            if style.is_vague:  # and where calls open with empty arguments, they all do
                parts = [part for part in parts if part]
            calls = []
            for place, part in enumerate(parts):
                written = item(style, number, name, value if whole else part, place == 0)
                calls.append(Piece({"tool_calls": [written]}, call=number, arguments=part))
            pieces.append(calls)
    if style.is_vague or not draw(st.booleans()):
        return [piece for group in pieces for piece in group], names
    mixed = []
    while pieces:
        group = draw(st.sampled_from(pieces))
        mixed.append(group.pop(0))
        if not group:
            pieces.remove(group)
    return mixed, names


def mixed_chunks(draw: st.DrawFn, pieces: list[Piece]) -> list[list[Piece]]:
    """Pieces that stand in one chunk: none says two things of a kind, and they say them in our order."""
    groups: list[list[Piece]] = []
    order = (*("reasoning_content", "reasoning", "thinking"), "content", "tool_calls")
    for piece in pieces:
        last = groups[-1] if groups else []
        place = order.index(next(iter(piece.delta)))
        after = all(order.index(next(iter(other.delta))) < place for other in last)
        if last and after and draw(st.booleans()):
            last.append(piece)
        else:
            groups.append([piece])
    return groups


def event(style: Style, delta: dict[str, Any], finish: str | None) -> bytes:
    if style.bare:
        return sse({"choices": [{"delta": delta, **({"finish_reason": finish} if finish else {})}]})
    return chunk(delta, finish)


@PROFILE
@given(st.data(), STYLES)
def test_every_client_reads_what_was_said(data: st.DataObject, style: Style) -> None:
    """C5 to C11: each parser gets the same text, thoughts and calls, or why there are none, and one end."""
    pieces, names = data.draw(answers(style))
    groups = data.draw(st.composite(lambda draw: mixed_chunks(draw, pieces))())
    word = data.draw(st.sampled_from(["stop", "tool_calls", "function_call", "eos", None]))
    finish_at = (
        data.draw(st.one_of(st.just(len(groups)), st.integers(0, len(groups)))) if word else len(groups)
    )
    beside = data.draw(st.booleans())
    events: list[bytes] = []
    told: list[list[Piece]] = []
    finish_told: int | None = None
    for number, group in enumerate(groups):
        if word and number == finish_at:
            break
        delta = {key: value for piece in group for key, value in piece.delta.items()}
        if data.draw(st.booleans()):
            delta["role"] = "assistant"
        finish = word if word and beside and number == finish_at - 1 else None
        events.append(event(style, delta, finish))
        told.append(group)
        if finish:
            finish_told = len(events)
    if word and finish_told is None:
        events.append(event(style, {}, word))
        finish_told = len(events)
    if finish_at < len(groups):
        events.append(event(style, {"content": "too late"}, None))
    if data.draw(st.booleans()):
        finish_told = finish_told or len(events) + 1
        events.append(DONE)
    cut = data.draw(st.one_of(st.just(len(events)), st.integers(0, len(events))))
    by = guard()
    out = b""
    waiting = b""
    for sent in events[:cut]:
        waiting += sent.replace(b"\n", style.line_end)
        if data.draw(st.booleans()):
            out += by.feed(waiting)
            waiting = b""
    out += by.feed(waiting)
    broke = data.draw(st.booleans())
    out += by.fail(LOST) if broke else by.end()

    keeps_the_checklist(out)
    assert by.finished
    said = [piece for group in told[:cut] for piece in group]
    text = "".join(piece.text for piece in said)
    thoughts = "".join(piece.reasoning for piece in said)
    arguments = {piece.call: "" for piece in said if piece.call is not None}
    for piece in said:
        if piece.call is not None:
            arguments[piece.call] += piece.arguments
    try:
        calls = [(names[number], json.loads(written or "{}")) for number, written in arguments.items()]
    except ValueError:
        calls = None
    whole = finish_told is not None and cut >= finish_told and calls is not None
    if whole and not calls and not text.strip() and thoughts:
        text += SENTENCE
    for client in CLIENTS:
        reading = client().read(out)
        assert reading.text == text
        assert reading.thoughts == thoughts
        if not whole:
            assert reading.failure is not None
        elif text or calls:
            assert reading.failure is None
            assert reading.calls == calls
            assert len(set(reading.ids)) == len(reading.ids)
    if not whole:
        message = errors(out)[0]["message"]
        assert all(message in json.loads(client().read(out).failure or "")["message"] for client in VS_CODE)
        assert broke is False or message == LOST.message or finish_told is not None
    else:
        assert finishes(out) == ["tool_calls" if calls else "stop"]
        assert by.failure is None


ENVELOPE = ["id", "created", "model", "object", "choices", "usage", "timings", "error", "code", "type"]
CHOICE = ["index", "delta", "message", "finish_reason", "logprobs"]
DELTA = ["role", "content", "text", "reasoning_content", "thinking", "cot_id", "reasoning_opaque"]
CALL = ["tool_calls", "function_call", "function", "name", "arguments"]
USAGE = ["prompt_tokens", "completion_tokens", "total_tokens"]
KEYS = st.sampled_from([*ENVELOPE, *CHOICE, *DELTA, *CALL, *USAGE])
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-1, 3),
    st.integers(),
    st.floats(),
    st.sampled_from(["", "a", "stop", "tool_calls", "error", "{", "{}", "f", "\ud83d", "\n", "assistant"]),
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=5))
)
ITEMS = st.one_of(
    st.fixed_dictionaries(
        {},
        optional={
            "index": SCALARS,
            "id": SCALARS,
            "type": SCALARS,
            "name": SCALARS,
            "function": st.one_of(
                SCALARS, st.fixed_dictionaries({}, optional={"name": SCALARS, "arguments": VALUES})
            ),
        },
    ),
    VALUES,
)
DELTAS = st.one_of(
    st.fixed_dictionaries(
        {},
        optional={
            "role": SCALARS,
            "content": VALUES,
            "reasoning_content": SCALARS,
            "thinking": VALUES,
            "reasoning_opaque": SCALARS,
            "tool_calls": st.one_of(st.lists(ITEMS, max_size=3), VALUES),
            "function_call": ITEMS,
        },
    ),
    VALUES,
)
CHOICES = st.fixed_dictionaries(
    {},
    optional={
        "index": SCALARS,
        "delta": DELTAS,
        "message": DELTAS,
        "finish_reason": SCALARS,
        "logprobs": VALUES,
    },
)
CHUNKS = st.one_of(
    st.fixed_dictionaries(
        {},
        optional={
            "id": SCALARS,
            "created": SCALARS,
            "model": SCALARS,
            "object": SCALARS,
            "choices": st.one_of(st.lists(st.one_of(CHOICES, VALUES), max_size=2), VALUES),
            "usage": VALUES,
            "error": st.one_of(st.none(), st.none(), st.none(), VALUES),
        },
    ),
    VALUES,
)
PAYLOADS = st.one_of(
    CHUNKS.map(lambda value: json.dumps(value).encode()),
    st.binary(max_size=20),
    st.sampled_from([b"[DONE]", b" [DONE] ", b"[" * 2000, b'{"choices":' * 300]),
)
FIELDS = st.sampled_from(
    [b"data: ", b"data: ", b"data: ", b"data:", b"error: ", b": ", b"event: ", b"id", b"data\n"]
)
ENDS = st.sampled_from([b"\n\n", b"\r\n\r\n", b"\r\r", b"\n", b"\n\n\n\r\n"])
BODIES = st.lists(st.tuples(FIELDS, PAYLOADS, ENDS).map(b"".join), max_size=8)


@PROFILE
@given(BODIES, st.sampled_from(Reasoning), st.booleans(), st.sampled_from([None, "tiny"]))
def test_nothing_breaks_it(bodies: list[bytes], mode: Reasoning, broke: bool, model: str | None) -> None:
    """No bytes make the guard raise or leave the checklist, and it ends once."""
    by = Guard(created=1, reasoning=mode, model=model)
    out = b"".join(by.feed(body) for body in bodies)
    out += by.fail(LOST) if broke else by.end()
    assert by.finished
    assert by.feed(b"data: {}\n\n") + by.end() + by.fail(LOST) == b""
    comments = [block for block in out.split(b"\n\n") if block.startswith(b":")]
    for comment in comments:
        out = out.replace(comment + b"\n\n", b"", 1)
    keeps_the_checklist(out)
    for client in CLIENTS:
        client().read(out)
