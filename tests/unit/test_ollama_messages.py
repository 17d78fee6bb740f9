"""Do calls, results, thoughts and images of an Ollama chat reach llama-server as what they are?"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copilot_proxy.dialects.ollama.messages import Reasoning, converted, nothing_remembered
from copilot_proxy.dialects.ollama.requests import read_chat
from copilot_proxy.errors import BadRequest

USER = {"role": "user", "content": "hi"}


def openai(*messages: dict[str, Any], reasoning: Reasoning = nothing_remembered) -> list[dict[str, Any]]:
    body = json.dumps({"model": "tiny", "messages": messages}, separators=(",", ":")).encode()
    return converted(read_chat(body).messages, reasoning)


def call(name: str, call_id: str | None = None, **arguments: Any) -> dict[str, Any]:
    """One as Ollama's clients write it."""
    return {"function": {"name": name, "arguments": arguments}} | ({"id": call_id} if call_id else {})


def calls(*names: str | dict[str, Any]) -> dict[str, Any]:
    return {
        "role": "assistant",
        "content": "",
        "tool_calls": [call(name) if isinstance(name, str) else name for name in names],
    }


def result(content: str = "", **more: str) -> dict[str, Any]:
    return {"role": "tool", "content": content, **more}


def ids(messages: list[dict[str, Any]]) -> list[str]:
    return [known["id"] for message in messages for known in message.get("tool_calls", ())]


def answers(messages: list[dict[str, Any]]) -> list[tuple[Any, Any, str]]:
    """Of each result: whose it is, the name, and the content."""
    return [
        (message.get("tool_call_id"), message.get("name"), message["content"])
        for message in messages
        if message["role"] == "tool"
    ]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (USER, USER),
        ({"role": "System", "content": "s"}, {"role": "system", "content": "s"}),
        ({"role": "user"}, {"role": "user", "content": ""}),
        ({"role": "user", "content": None, "images": []}, {"role": "user", "content": ""}),
        ({"role": "user", "content": "é\n", "images": None}, {"role": "user", "content": "é\n"}),
        ({"role": "assistant", "content": "a", "tool_calls": []}, {"role": "assistant", "content": "a"}),
        (
            {"role": "assistant", "content": "a", "thinking": "t"},
            {"role": "assistant", "content": "a", "reasoning_content": "t"},
        ),
        ({"role": "user", "content": "a", "thinking": "t"}, {"role": "user", "content": "a"}),
        ({"role": "assistant", "content": "a", "thinking": ""}, {"role": "assistant", "content": "a"}),
        (result("r"), {"role": "tool", "content": "r"}),
        (result("r", tool_name="f"), {"role": "tool", "content": "r", "name": "f"}),
        (
            result("r", tool_name="f", tool_call_id="a"),
            {"role": "tool", "content": "r", "tool_call_id": "a", "name": "f"},
        ),
    ],
)
def test_one_message(message: dict[str, Any], expected: dict[str, Any]) -> None:
    """Content is a string always, and each name becomes OpenAI's."""
    assert openai(message) == [expected]


def test_calls() -> None:
    """A call gets its type, and its arguments are a string that holds their own bytes."""
    body = (
        b'{"model":"m","messages":[{"role":"assistant","tool_calls":['
        b'{"id":"a","type":"function","function":{"index":0,"name":"f","arguments":{"b":1.0,"a":1e2,"\\u00e9":""}}}'
        b"]}]}"
    )
    (message,) = converted(read_chat(body).messages, nothing_remembered)
    arguments = '{"b":1.0,"a":1e2,"\\u00e9":""}'
    assert message == {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": arguments}}],
    }


def test_ids_are_made() -> None:
    """A call without an id gets one of nine letters and digits, which Mistral's templates want."""
    chat = openai(USER, calls("f", "g"), result(), result(), calls("f"))
    assert ids(chat) == ["call00001", "call00002", "call00003"]


def test_ids_stay() -> None:
    """The client's own ids stay, and none is made that is there already."""
    chat = openai(calls(call("f", "call00001"), "g", call("h", "own")), calls("f"))
    assert ids(chat) == ["call00001", "call00002", "own", "call00003"]


def test_more_messages_change_no_id() -> None:
    """What is said later changes nothing before it: llama.cpp's prompt cache stays good."""
    chat = [USER, calls("f", "g"), result("1"), result("2"), calls("f"), result("3"), USER]
    whole = openai(*chat)
    for length in range(len(chat)):
        assert openai(*chat[:length]) == whole[:length]


PAIRS: list[tuple[str, list[dict[str, Any]], list[tuple[str | None, str | None, str]]]] = [
    (
        "by id (AI SDK)",
        [
            calls(call("f", "a"), call("f", "b")),
            result("B", tool_call_id="b"),
            result("A", tool_call_id="a"),
        ],
        [("b", "f", "B"), ("a", "f", "A")],
    ),
    (
        "by name (Ollama's SDKs)",
        [calls("f", "g"), result("G", tool_name="g"), result("F", tool_name="f")],
        [("call00002", "g", "G"), ("call00001", "f", "F")],
    ),
    (
        "by name and order",
        [
            calls("f", "g", "f"),
            result("1", tool_name="f"),
            result("G", tool_name="g"),
            result("2", tool_name="f"),
        ],
        [("call00001", "f", "1"), ("call00002", "g", "G"), ("call00003", "f", "2")],
    ),
    (
        "by order alone (Home Assistant)",
        [calls("f", "g"), result("F"), result("G")],
        [("call00001", "f", "F"), ("call00002", "g", "G")],
    ),
    (
        "the client's ids by order",
        [calls(call("f", "a"), call("g", "b")), result("F"), result("G")],
        [("a", "f", "F"), ("b", "g", "G")],
    ),
    (
        "ids that only results have (LangChain over the Python SDK)",
        [calls("f", "g"), result("F", tool_call_id="x"), result("G", tool_call_id="y")],
        [("call00001", "f", "F"), ("call00002", "g", "G")],
    ),
    (
        "ids that only results have, and names",
        [calls("f", "g"), result("G", tool_call_id="x", tool_name="g"), result("F", tool_call_id="y")],
        [("call00002", "g", "G"), ("call00001", "f", "F")],
    ),
    (
        "a name that was not called",
        [calls("f"), result("F", tool_name="other")],
        [("call00001", "other", "F")],
    ),
    (
        "an id that was not given, where the client gave ids",
        [calls(call("f", "a")), result("F", tool_call_id="x")],
        [("x", None, "F")],
    ),
    (
        "more results than calls",
        [calls("f"), result("1"), result("2"), result("3", tool_name="f")],
        [("call00001", "f", "1"), (None, None, "2"), (None, "f", "3")],
    ),
    (
        "only the last answer's calls are open",
        [calls("f"), calls("g"), result("G"), result("?", tool_name="f")],
        [("call00002", "g", "G"), (None, "f", "?")],
    ),
    (
        "an answer without calls opens none",
        [calls("f"), {"role": "assistant", "content": "a"}, result("?")],
        [(None, None, "?")],
    ),
    (
        "a word of the user's between",
        [calls("f"), USER, result("F")],
        [("call00001", "f", "F")],
    ),
    (
        "a call without a name",
        [calls({"function": {}}), result("F")],
        [("call00001", None, "F")],
    ),
]


@pytest.mark.parametrize(
    ("messages", "expected"), [pair[1:] for pair in PAIRS], ids=[pair[0] for pair in PAIRS]
)
def test_results(messages: list[dict[str, Any]], expected: list[tuple[Any, Any, str]]) -> None:
    """Each result gets the id and the name of the call that it answers, however the client says which."""
    written = answers(openai(USER, *messages))
    assert [(call_id, name or None, content) for call_id, name, content in written] == expected


def test_thoughts_of_the_client_come_first() -> None:
    """Thinking that the client sends back is used, and nothing is looked up."""
    chat = openai({**calls(call("f", "a")), "thinking": "mine"}, reasoning=lambda call_id: "remembered")
    assert chat[0]["reasoning_content"] == "mine"


@pytest.mark.parametrize(
    ("calls_made", "asked", "expected"),
    [
        ([call("f", "a")], ["a"], "of a"),
        ([call("f", "x"), call("f", "a"), call("f", "b")], ["x", "a"], "of a"),
        ([call("f"), call("f", "b")], ["b"], "of b"),
        ([call("f", "x")], ["x"], None),
        ([call("f", "empty")], ["empty"], None),
        ([call("f")], [], None),
        ([], [], None),
    ],
)
def test_remembered_thoughts(
    calls_made: list[dict[str, Any]], asked: list[str], expected: str | None
) -> None:
    """Else the reasoning of the first call that has some is put back; an id made here is never asked for."""
    known = {"a": "of a", "b": "of b", "empty": ""}
    seen = []

    def reasoning(call_id: str) -> str | None:
        seen.append(call_id)
        return known.get(call_id)

    (message,) = openai(calls(*calls_made), reasoning=reasoning)
    assert message.get("reasoning_content") == expected
    assert seen == asked


def test_images() -> None:
    """Images follow the text as parts; without a text there is no part for it."""
    image = {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,QUJD"}}
    sound = {"type": "input_audio", "input_audio": {"data": "SUQzAAAA", "format": "mp3"}}
    (message,) = openai({**USER, "images": ["QUJD", "SUQzAAAA"]})
    assert message["content"] == [{"type": "text", "text": "hi"}, image, sound]
    (message,) = openai({"role": "user", "content": "", "images": ["QUJD"]})
    assert message["content"] == [image]


def test_bad_images() -> None:
    """What is no base64 is refused."""
    with pytest.raises(BadRequest, match="illegal base64 data at input byte 4"):
        openai({**USER, "images": ["data:image/png;base64,QUJD"]})


NAMES = st.sampled_from(["f", "g"])
IDS = st.none() | st.sampled_from(["a", "b", "call00001"])
MESSAGES = st.lists(
    st.one_of(
        st.just(USER),
        st.builds(lambda made: calls(*made), st.lists(st.builds(call, NAMES, IDS), max_size=3)),
        st.builds(
            lambda name, call_id: result(
                **{k: v for k, v in (("tool_name", name), ("tool_call_id", call_id)) if v}
            ),
            st.none() | NAMES,
            IDS,
        ),
    ),
    max_size=8,
)


@given(MESSAGES)
def test_any_chat(messages: list[dict[str, Any]]) -> None:
    """The same chat becomes the same, every call has an id, and a made one is answered once at most."""
    chat = openai(*messages)
    assert chat == openai(*messages)
    assert all(ids(chat))
    own = {known.get("id") for message in messages for known in message.get("tool_calls", ())}
    own |= {message.get("tool_call_id") for message in messages}
    made = [call_id for call_id in ids(chat) if call_id not in own]
    assert len(made) == len(set(made))
    answered = [call_id for call_id, _, _ in answers(chat) if call_id in made]
    assert len(answered) == len(set(answered))
