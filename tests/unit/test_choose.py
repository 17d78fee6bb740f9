"""Is a request to /api/chat or /api/generate Ollama's or OpenAI's?"""

from __future__ import annotations

import json
from typing import Any

import pytest

from copilot_proxy.dialects.choose import by_body, by_headers
from copilot_proxy.dialects.jsontext import members, minify
from copilot_proxy.errors import Dialect

OPENAIS_TOOL_CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}}


def body(**fields: Any) -> Dialect:
    return by_body(members(minify(json.dumps(fields, indent=2).encode())) or {})


@pytest.mark.parametrize(
    ("accept", "user_agent"),
    [
        (b"application/x-ndjson", b""),
        (b"application/json, Application/X-NDJSON;q=0.9", b"curl/8.5"),
        (b"application/json", b"ollama-python/0.6.3 (x86_64 linux) Python/3.12"),
        (b"", b"ollama-js/0.6.4 (x64 linux Node.js/v22)"),
        (b"", b"ollama/0.33.0 (amd64 linux) Go/go1.26"),
    ],
)
def test_headers_of_ollamas_clients(accept: bytes, user_agent: bytes) -> None:
    """NDJSON is Ollama's alone, and its own clients say who they are."""
    assert by_headers({b"accept": accept, b"user-agent": user_agent}) is Dialect.OLLAMA


def test_headers_of_open_webui() -> None:
    """Open WebUI is known by the fields in which it names its user."""
    assert by_headers({b"content-type": b"application/json", b"x-openwebui-chat-id": b"1"}) is Dialect.OLLAMA


@pytest.mark.parametrize(
    ("accept", "user_agent"),
    [
        (b"", b""),
        (b"application/json", b"GitHubCopilotChat/0.67.0"),
        (b"text/event-stream", b"OpenAI/JS 5.20.1"),
        (b"*/*", b"my-ollama/1.0"),
    ],
)
def test_headers_that_tell_nothing(accept: bytes, user_agent: bytes) -> None:
    """Any other headers leave it to the body."""
    assert by_headers({b"accept": accept, b"user-agent": user_agent, b"x-open": b"1"}) is None


@pytest.mark.parametrize(
    "key",
    [
        "options", "keep_alive", "think", "format", "template", "raw", "context", "system", "images",
        "truncate", "shift", "_debug_render_only",
    ],
)  # fmt: skip
@pytest.mark.parametrize("value", [None, {}, "x"])
def test_keys_of_ollama(key: str, value: Any) -> None:
    """A key that only Ollama has decides, whatever its value."""
    assert body(model="m", messages=[], **{key: value}) is Dialect.OLLAMA


@pytest.mark.parametrize(
    "message",
    [
        {"role": "user", "content": "x", "images": ["aGk="]},
        {"role": "assistant", "content": "x", "thinking": "hm"},
        {"role": "tool", "content": "x", "tool_name": "f"},
        {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": {}}}]},
        {
            "role": "assistant",
            "tool_calls": [OPENAIS_TOOL_CALL, {"function": {"name": "f", "arguments": {"x": 1}}}],
        },
    ],
)
def test_messages_of_ollama(message: Any) -> None:
    """One message with something of Ollama's decides, wherever it stands."""
    assert body(messages=[{"role": "user", "content": "hi"}, message]) is Dialect.OLLAMA


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"model": "m", "prompt": "x", "suffix": "y", "stream": True},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:"}}]}]},
        {"messages": [{"role": "assistant", "content": None, "tool_calls": [OPENAIS_TOOL_CALL]}]},
        {"response_format": {"type": "json_object"}, "reasoning_effort": "low", "messages": []},
    ],
)
def test_openais(fields: Any) -> None:
    """What has nothing of Ollama's is OpenAI's, tool calls and images included."""
    assert body(**fields) is Dialect.OPENAI


@pytest.mark.parametrize(
    "messages",
    [
        None,
        "x",
        7,
        {},
        [None, 7, "x", []],
        [{"tool_calls": None}],
        [{"tool_calls": "x"}],
        [{"tool_calls": [None, 7, [], {}, {"function": None}, {"function": {}}, {"function": "x"}]}],
        [{"tool_calls": [{"function": {"arguments": None}}]}],
    ],
)
def test_strange_messages(messages: Any) -> None:
    """What is no proper message decides nothing, and breaks nothing: upstream says what is wrong with it."""
    assert body(messages=messages) is Dialect.OPENAI
