"""A client chats through the proxy, and reads what llama.cpp wrote."""

import json
from typing import Any

import pytest

from copilot_proxy.embedded.tiny.vocabulary import FIRST_SENTENCE
from tests.real.client import (
    JSON,
    Answer,
    ask,
    asking,
    busy_slots,
    chat,
    chunks,
    first_event,
    pieces,
    text_of,
    told_alike,
    until_free,
)
from tests.real.processes import Server
from tests.unit.copilot_request import agent_request, compact, pretty

# Of VS Code 1.139, for a chat (networking.ts, openAIEndpoint.ts); the key is empty
VS_CODE = {
    **JSON,
    "Authorization": "Bearer ",
    "User-Agent": "GitHubCopilotChat/0.67.0",
    "X-Request-Id": "7e1b9d5e-8f1f-4a67-9f0a-2c1d8b3e4f50",
    "X-Interaction-Id": "0d3c5e0a-6b0e-4c8e-8f6b-7b1f6f0f9a11",
    "X-Initiator": "agent",
    "OpenAI-Intent": "conversation-other",
    "X-GitHub-Api-Version": "2026-01-09",
    "Accept-Encoding": "gzip, deflate",
}
COMPLETION = {"model": "tiny", "prompt": "I", "max_tokens": 20, "temperature": 0, "cache_prompt": False}
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather.",
        "parameters": {
            "type": "object",
            "properties": {"location": {"type": "string"}},
            "required": ["location"],
        },
    },
}

WAYS = [
    ("/v1/chat/completions", "/v1/chat/completions", chat("Who are you?")),
    ("/chat/completions", "/chat/completions", chat("Who are you?")),
    ("/api/chat", "/v1/chat/completions", chat("Who are you?")),
    ("/v1/completions", "/v1/completions", {**COMPLETION, "stream": True}),
    ("/api/generate", "/v1/completions", {**COMPLETION, "stream": True}),
]


def both(running: Server, llama: Server, path: str, direct: str, body: Any) -> tuple[Answer, Answer]:
    return ask(running, "POST", path, body, JSON), ask(llama, "POST", direct, body, JSON)


@pytest.mark.parametrize(("path", "direct", "body"), WAYS, ids=[way[0] for way in WAYS])
def test_a_stream_is_llama_cpps_own(
    path: str, direct: str, body: dict[str, Any], running: Server, llama: Server
) -> None:
    """Through each path come the very bytes that llama.cpp streams when it is asked directly."""
    through, straight = both(running, llama, path, direct, body)
    assert through.status == straight.status == 200
    assert through.headers["Content-Type"] == "text/event-stream"
    assert through.headers["Transfer-Encoding"] == "chunked"
    assert told_alike(through.body) == told_alike(straight.body)
    assert through.body.endswith(b"data: [DONE]\n\n")
    assert len(chunks(through.body)) > 10


@pytest.mark.parametrize(("path", "direct", "body"), WAYS, ids=[way[0] for way in WAYS])
def test_a_whole_answer_is_llama_cpps_own(
    path: str, direct: str, body: dict[str, Any], running: Server, llama: Server
) -> None:
    """Without stream each path gives the one JSON document that llama.cpp gives."""
    through, straight = both(running, llama, path, direct, {**body, "stream": False})
    assert through.status == 200
    assert through.headers["Content-Type"] == straight.headers["Content-Type"]
    assert told_alike(through.body) == told_alike(straight.body)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/api/chat"])
def test_the_first_token_does_not_wait_for_the_last(path: str, running: Server, llama: Server) -> None:
    """The head and the first event are there while llama.cpp still generates an answer that has no end."""
    until_free(llama)
    with asking(running, "POST", path, chat("TALK_LONG")) as response:
        assert first_event(response).startswith(b'data: {"choices":[{')
        assert busy_slots(llama) == 1
    until_free(llama)


def test_tokens_come_one_by_one(running: Server) -> None:
    """A long answer comes in many pieces, and ends as it should."""
    with asking(running, "POST", "/v1/chat/completions", chat("TALK_LONG", max_tokens=300)) as response:
        received = list(pieces(response))
    assert len(received) > 10
    deltas = chunks(b"".join(received))
    assert len(deltas) > 300
    assert deltas[-1]["choices"][0]["finish_reason"] == "length"


def in_known_words(request: dict[str, Any]) -> dict[str, Any]:
    """The request in the tiny model's words: each letter of another would be a token."""
    request["messages"][0]["content"] = (FIRST_SENTENCE + "\n") * 380
    for tool in request["tools"]:
        function = tool["function"]
        function["description"] = FIRST_SENTENCE * 7
        for described in function.get("parameters", {}).get("properties", {}).values():
            described["description"] = FIRST_SENTENCE * 3
    return request


@pytest.mark.parametrize("write", [compact, pretty])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/chat/completions"])
def test_an_agent_request_of_vs_code(path: str, write: Any, running: Server) -> None:
    """VS Code's request of 70 KB with 40 tools, some without parameters, is answered to its end."""
    answer = ask(running, "POST", path, write(in_known_words(agent_request())), VS_CODE)
    assert answer.status == 200, answer.body
    *said, usage = chunks(answer.body)
    assert text_of(said)
    assert said[-1]["choices"][0]["finish_reason"] == "stop"
    assert usage["choices"] == []
    assert all(usage["usage"][key] > 0 for key in ("prompt_tokens", "completion_tokens", "total_tokens"))


def test_thoughts_are_passed_on(running: Server) -> None:
    """What a model thinks comes as reasoning_content, before what it says."""
    deltas = chunks(ask(running, "POST", "/v1/chat/completions", chat("THINK_FIRST")).body)
    assert text_of(deltas, "reasoning_content")
    assert text_of(deltas)


def streamed_call(deltas: list[dict[str, Any]]) -> dict[str, Any]:
    """The one tool call of a stream, put together as clients do it."""
    pieces = [call for chunk in deltas for call in chunk["choices"][0]["delta"].get("tool_calls", [])]
    assert pieces[0]["type"] == "function"
    arguments = "".join(piece["function"]["arguments"] for piece in pieces)
    function = {"name": pieces[0]["function"]["name"], "arguments": arguments}
    return {"id": pieces[0]["id"], "type": "function", "function": function}


def test_a_tool_call_and_the_turns_around_it(running: Server) -> None:
    """A conversation of several turns: a tool is called, its result is read, and another question follows."""

    def turn(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
        body = chat("", messages=messages, tools=[WEATHER])
        return chunks(ask(running, "POST", "/v1/chat/completions", body, VS_CODE).body)

    messages: list[dict[str, Any]] = [
        {"role": "system", "content": "You help."},
        {"role": "user", "content": "CALL_TOOL and tell me the weather"},
    ]
    deltas = turn(messages)
    assert deltas[-1]["choices"][0]["finish_reason"] == "tool_calls"
    call = streamed_call(deltas)
    assert call["id"]
    assert call["function"]["name"] == "get_weather"
    assert isinstance(json.loads(call["function"]["arguments"])["location"], str)

    messages += [
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": call["id"], "content": "sunny"},
    ]
    deltas = turn(messages)
    assert deltas[-1]["choices"][0]["finish_reason"] == "stop"
    assert text_of(deltas) == FIRST_SENTENCE

    messages += [
        {"role": "assistant", "content": text_of(deltas)},
        {"role": "user", "content": "And what are you?"},
    ]
    assert text_of(turn(messages)) == FIRST_SENTENCE


def test_chats_at_the_same_time_do_not_mix(running: Server) -> None:
    """Four answers read in turns, one event each, are each as they are alone."""
    alone = told_alike(ask(running, "POST", "/v1/chat/completions", chat("Who are you?")).body)
    with (
        asking(running, "POST", "/v1/chat/completions", chat("Who are you?")) as first,
        asking(running, "POST", "/api/chat", chat("Who are you?")) as second,
        asking(running, "POST", "/chat/completions", chat("Who are you?")) as third,
    ):
        streams = [first, second, third]
        bodies = [b"", b"", b""]
        while any(lines := [stream.readline() for stream in streams]):
            bodies = [body + line for body, line in zip(bodies, lines, strict=True)]
    assert [told_alike(body) for body in bodies] == [alone] * 3
