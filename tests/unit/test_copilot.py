"""What becomes of a request's keys that only Copilot understands?"""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.web.http_headers import Headers

from copilot_proxy.dialects.copilot import from_copilot
from copilot_proxy.dialects.payload import rewrite

PROFILE = settings(deadline=None, max_examples=200)


def same(name: str) -> str:
    return name


def sent(body: Any) -> tuple[Any, tuple[str, ...]]:
    """What a client's request becomes, and what a log says of it."""
    result = rewrite(json.dumps(body).encode(), resolve_model=same)
    return json.loads(result.body), result.changes


def assistant(**members: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": "", **members}


def message_sent(message: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """What one message becomes, and the names of its members in their order."""
    (result,) = sent({"messages": [message]})[0]["messages"]
    return result, list(result)


# ---------------------------------------------------------------- who asks


@pytest.mark.parametrize(
    ("headers", "is_copilot"),
    [
        ({"User-Agent": ["GitHubCopilotChat/0.67.0"]}, True),
        ({"User-Agent": ["GithubCopilot/1.539.0"]}, True),
        ({"User-Agent": ["OpenAI/JS 5.20.1"], "x-initiator": ["user"]}, True),
        ({"X-GitHub-Api-Version": ["2025-05-01"]}, True),
        ({"User-Agent": ["OpenAI/JS 5.20.1"]}, False),
        ({"User-Agent": ["curl/8 GitHubCopilotChat/0.67.0"]}, False),
        ({}, False),
    ],
)
def test_who_is_copilot(headers: dict[str, list[str]], is_copilot: bool) -> None:
    """Section 9: VS Code and the language server name themselves; the CLI does not, but sends X-Initiator."""
    assert from_copilot(Headers(headers)) is is_copilot


# ---------------------------------------------------------------- keys that go


def test_keys_that_only_copilot_knows() -> None:
    """B3: they go at the top, in messages, in parts of their content and in tools; the log names them."""
    mark = {"copilot_cache_control": {"type": "ephemeral"}}
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
    body, changes = sent(
        {
            "snippy": {"enabled": False},
            "messages": [
                {"role": "system", "content": "s", **mark},
                {
                    "role": "user",
                    "copilot_references": [1],
                    "content": [{"type": "text", "text": "t", **mark}],
                },
                {"role": "user", "content": "u"},
            ],
            "tools": [{**tool, **mark}, tool],
            "copilot_thread_id": "x",
        }
    )
    assert body == {
        "messages": [
            {"role": "system", "content": "s"},
            {"role": "user", "content": [{"type": "text", "text": "t"}]},
            {"role": "user", "content": "u"},
        ],
        "tools": [tool, tool],
    }
    assert changes == (
        '"snippy" was dropped',
        '"copilot_thread_id" was dropped',
        '"copilot_cache_control" was dropped (3 times)',
        '"copilot_references" was dropped',
    )


def test_names_of_properties_stay() -> None:
    """B3: what a tool calls its own parameters is no key of Copilot's, and neither is what a text says."""
    properties = {"snippy": {"type": "string"}, "copilot_id": {"type": "string"}}
    parameters = {"type": "object", "properties": properties}
    request = {
        "messages": [{"role": "user", "content": '{"snippy":1,"copilot_references":2,"cot_id":3}'}],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": parameters}}],
    }
    assert sent(request) == (request, ())


def test_a_key_writes_no_lines_into_the_log() -> None:
    """A line break in a key is escaped where the log names it."""
    assert sent({"copilot_\nx": 1}) == ({}, ('"copilot_\\nx" was dropped',))


def test_untouched_messages_keep_their_bytes() -> None:
    """B3: only the message with such a key is written anew, and its other values keep their spelling."""
    body = (
        rb'{"seed":1.0,"messages":[{"role":"user","content":"\u00e9\/"},'
        rb'{"role":"user","copilot_references":[],"n":1e2,"content":"\u00e9\/"}],"snippy":1,"top_p":1.50}'
    )
    assert rewrite(body, resolve_model=same).body == (
        rb'{"seed":1.0,"messages":[{"role":"user","content":"\u00e9\/"},'
        rb'{"role":"user","n":1e2,"content":"\u00e9\/"}],"top_p":1.50}'
    )


# ---------------------------------------------------------------- reasoning


@pytest.mark.parametrize("name", ["cot_summary", "reasoning_text", "reasoning"])
def test_reasoning_is_renamed(name: str) -> None:
    """B4: reasoning under any of Copilot's names becomes `reasoning_content`, where it stood."""
    result, order = message_sent({"role": "assistant", name: "thought", "content": "said"})
    assert result == {"role": "assistant", "reasoning_content": "thought", "content": "said"}
    assert order == ["role", "reasoning_content", "content"]


@pytest.mark.parametrize(
    ("members", "becomes"),
    [
        ({"cot_id": "1", "cot_summary": "a"}, {"reasoning_content": "a"}),
        ({"reasoning_text": "a", "reasoning_opaque": "x"}, {"reasoning_content": "a"}),
        ({"reasoning": "c", "reasoning_text": "b", "cot_summary": "a"}, {"reasoning_content": "a"}),
        ({"cot_summary": "", "reasoning": "c"}, {"reasoning_content": "c"}),
        ({"reasoning_content": "own", "reasoning": "own"}, {"reasoning_content": "own"}),
        ({"reasoning_content": "own", "cot_id": "1", "cot_summary": "a"}, {"reasoning_content": "own"}),
        ({"reasoning_content": "", "cot_summary": "a"}, {"reasoning_content": "a"}),
        ({"reasoning_content": None, "cot_summary": "a"}, {"reasoning_content": "a"}),
        ({"cot_summary": ""}, {}),
        ({"cot_id": "1", "refusal": None}, {"refusal": None}),
        ({"cot_id": None}, {}),
        ({"reasoning": {"effort": "low"}}, {"reasoning": {"effort": "low"}}),
        ({"reasoning": None}, {"reasoning": None}),
        ({"reasoning": ["a"], "reasoning_text": "b"}, {"reasoning": ["a"], "reasoning_content": "b"}),
    ],
)
def test_reasoning_is_there_once(members: dict[str, Any], becomes: dict[str, Any]) -> None:
    """B4: a message keeps its own `reasoning_content`; ids go, and what is no text stays."""
    assert message_sent(assistant(**members))[0] == assistant(**becomes)


@pytest.mark.parametrize("role", ["user", "tool", "system", None, 7])
def test_reasoning_of_others_stays(role: Any) -> None:
    """B4: only an assistant reasons; `reasoning` of a whole request, as /v1/responses has it, stays too."""
    request = {"messages": [{"role": role, "content": "c", "reasoning": "r"}], "reasoning": {"effort": "low"}}
    assert sent(request) == (request, ())


def test_reasoning_is_logged() -> None:
    """What was renamed and what was dropped is said once for each, with how often."""
    message = assistant(cot_id="1", cot_summary="a")
    assert sent({"messages": [message, message, {"role": "user", "content": "u"}]})[1] == (
        '"cot_id" of an assistant message was dropped (2 times)',
        '"cot_summary" of an assistant message became "reasoning_content" (2 times)',
    )


# ---------------------------------------------------------------- any request

values = st.sampled_from(['"a"', '""', "null", "1.0", '{"cot_id":"1"}', '["b"]', r'"\u00e9\/"'])
names = st.sampled_from(
    [
        *("role", "content", "tool_calls", "name", "cot_id", "cot_summary", "reasoning", "reasoning_text"),
        *("reasoning_opaque", "reasoning_content", "copilot_cache_control", "snippy"),
    ]
)
messages = st.dictionaries(names, values, max_size=6).flatmap(
    lambda members: st.sampled_from(['"assistant"', '"user"']).map(lambda role: {**members, "role": role})
)


def spelled(members: dict[str, str]) -> str:
    return "{" + ",".join(f"{json.dumps(key)}:{value}" for key, value in members.items()) + "}"


@PROFILE
@given(st.lists(messages | st.sampled_from(["null", "1"]), max_size=4))
def test_any_messages(history: list[Any]) -> None:
    """Rewriting is done once: a second time changes nothing; and what is left is spelled as it was."""
    written = [message if isinstance(message, str) else spelled(message) for message in history]
    body = f'{{"messages":[{",".join(written)}]}}'.encode()
    once = rewrite(body, resolve_model=same)
    twice = rewrite(once.body, resolve_model=same)
    assert (twice.body, twice.changes) == (once.body, ())
    assert once.changes or once.body == body
    for before, after in zip(
        history, msgspec.json.decode(once.body, type=dict[str, list[msgspec.Raw]])["messages"], strict=True
    ):
        if isinstance(before, str):
            assert bytes(after).decode() == before
            continue
        left = msgspec.json.decode(after, type=dict[str, msgspec.Raw])
        for key, value in left.items():
            if key != "reasoning_content":
                assert bytes(value).decode() == before[key]
        assert not {key for key in left if key.startswith("copilot_") or key == "snippy"}
        if before["role"] == '"assistant"':
            assert not left.keys() & {"cot_id", "reasoning_opaque"}
