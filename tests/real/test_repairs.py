"""Chats that a real llama.cpp refuses, and answers when the proxy has cured them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from copilot_proxy.embedded.tiny.template import CHAT_TEMPLATE
from copilot_proxy.embedded.tiny.vocabulary import FIRST_SENTENCE
from tests.real.client import ask, chat, chunks, text_of
from tests.real.processes import Server, llama_server, proxy

CHAT = "/v1/chat/completions"

# What the templates of Qwen 3.5 (ggml-org/llama.cpp#20733) and of Devstral demand.
STRICT = """
{%- set ns = namespace(last='') %}
{%- for message in messages %}
    {%- if message.role == 'system' and not loop.first %}
        {{- raise_exception('System message must be at the beginning.') }}
    {%- endif %}
    {%- if message.role == 'user' and ns.last == 'user' %}
        {{- raise_exception('After the optional system message, conversation roles must alternate user and assistant roles except for tool calls and results.') }}
    {%- endif %}
    {%- set ns.last = message.role %}
{%- endfor %}
""".strip("\n")  # noqa: E501


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A llama.cpp server whose chat template refuses what many a model's does."""
    file: Path = tmp_path_factory.mktemp("template") / "strict.jinja"
    file.write_text(STRICT + CHAT_TEMPLATE)
    with llama_server("--chat-template-file", str(file)) as server:
        yield server


@pytest.fixture
def repairing(strict: Server) -> Iterator[Server]:
    """A proxy that has repaired nothing yet."""
    with proxy(strict.url) as server:
        yield server


def said(role: str, content: str = "Who are you?", **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


def tools(**schema: Any) -> list[dict[str, Any]]:
    parameters = {"type": "object", "properties": {"x": {"type": "string", **schema}}}
    return [{"type": "function", "function": {"name": "f", "parameters": parameters}}]


def no_description() -> list[dict[str, Any]]:
    (tool,) = tools()
    return [{**tool, "function": {**tool["function"], "description": None}}]


CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"x": '}}
RESULT = said("tool", "no", tool_call_id="1")

REFUSED: list[tuple[str, int, str, dict[str, Any], str]] = [
    (
        "late system message",
        400,
        "System message must be at the beginning",
        {"messages": [said("system", "a"), said("user"), said("system", "b")]},
        "system messages were merged into the first",
    ),
    (
        "user messages in a row",
        400,
        "conversation roles must alternate",
        {"messages": [said("user", "a"), said("user")]},
        "user messages in a row were merged",
    ),
    (
        "pattern that is no regular expression",
        400,
        "Invalid pattern ^(a$: unbalanced parentheses",
        {"messages": [said("user")], "tools": tools(pattern="^(a$")},
        "tool schemas lost pattern, format and $schema",
    ),
    (
        "null for a description",
        500,
        "type must be string, but is null",
        {"messages": [said("user")], "tools": no_description()},
        "tools without a description got an empty one",
    ),
    (
        "arguments of a call that was cut",
        500,
        "Failed to parse tool call arguments as JSON",
        {"messages": [said("user"), said("assistant", "", tool_calls=[CALL]), RESULT]},
        "arguments of earlier tool calls that are no JSON became {}",
    ),
]


@pytest.mark.parametrize(
    ("status", "words", "members", "done"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_refused_and_repaired(
    status: int, words: str, members: dict[str, Any], done: str, strict: Server, repairing: Server
) -> None:
    """B3, B6: llama.cpp refuses the chat in these words; through the proxy it is answered, and logged."""
    body = chat("", **members)
    refused = ask(strict, "POST", CHAT, body)
    assert refused.status == status
    assert words in refused.json["error"]["message"]
    assert text_of(chunks(ask(repairing, "POST", CHAT, body).body)) == FIRST_SENTENCE
    assert repairing.log.count("sent once more") == 1
    assert done in repairing.log
    assert text_of(chunks(ask(repairing, "POST", CHAT, body).body)) == FIRST_SENTENCE
    assert repairing.log.count("sent once more") == 1, "what helped was not remembered"


def test_three_faults_in_one_chat(repairing: Server) -> None:
    """B3, B6: a chat with several faults gets a cure for each; a tool call comes back as from any other."""
    messages = [said("user", "CALL_TOOL"), said("system", "a"), said("user", "now"), said("system", "b")]
    body = chat("", messages=messages, tools=tools(pattern="^(a$"))
    answer = chunks(ask(repairing, "POST", CHAT, body).body)
    calls = [call for chunk in answer for c in chunk["choices"] for call in c["delta"].get("tool_calls", [])]
    assert calls[0]["function"]["name"] == "f"
    assert repairing.log.count("sent once more") == 3


def test_refusal_without_a_cure(strict: Server, repairing: Server) -> None:
    """What no cure is known for reaches the client in llama.cpp's own words."""
    body = chat("Who are you?", grammar="root ::= (")
    refused = ask(strict, "POST", CHAT, body)
    assert refused.json["error"]["message"] == "Failed to initialize samplers: failed to parse grammar"
    answer = ask(repairing, "POST", CHAT, body)
    assert (answer.status, answer.body) == (refused.status, refused.body)
    assert answer.headers["Content-Type"] == refused.headers["Content-Type"]


def test_reasoning_comes_back(running: Server) -> None:
    """B4: reasoning under Copilot's name reaches the template, as the tokens of the prompt show."""
    tool_turn = {"tool_calls": [{**CALL, "function": {"name": "f", "arguments": "{}"}}]}

    def prompt_tokens(**reasoning: Any) -> int:
        messages = [said("user"), said("assistant", "", **tool_turn, **reasoning), RESULT]
        body = {**chat("", messages=messages), "stream": False, "max_tokens": 1}
        count: int = ask(running, "POST", CHAT, body).json["usage"]["prompt_tokens"]
        return count

    without = prompt_tokens()
    expected = prompt_tokens(reasoning_content="I think that I am a machine.")
    assert expected > without
    for name in ("cot_summary", "reasoning_text", "reasoning"):
        assert prompt_tokens(**{name: "I think that I am a machine."}, cot_id="7") == expected
