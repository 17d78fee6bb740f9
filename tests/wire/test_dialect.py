"""Is a chat on Ollama's paths read as what it is, Ollama's or OpenAI's?"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.wire.pair import OpenWire, Wire

OLLAMAS = [
    ({"options": {"num_ctx": 4096}}, ""),
    ({"keep_alive": "5m"}, ""),
    ({"messages": [{"role": "user", "content": "hi", "images": ["aGk="]}]}, ""),
    ({}, "Accept: application/x-ndjson"),
    ({}, "User-Agent: ollama-python/0.6.3 (x86_64 linux) Python/3.12"),
]


@pytest.mark.parametrize(("members", "field"), OLLAMAS)
@pytest.mark.parametrize("path", ["/api/chat", "/api/generate"])
def test_ollamas_own_protocol(wire: Wire, path: str, members: dict[str, Any], field: str) -> None:
    """What is written in Ollama's own protocol gets an error in Ollama's shape, and its words."""
    client = wire.client()
    client.posts(path, {"model": "tiny", "think": "x", **members}, *filter(None, [field]))
    assert client.answer.status == 400
    assert client.answer.json["error"].startswith("invalid think value")
    assert wire.asked == []


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "byte order mark"])
def test_ollamas_protocol_pretty_printed(wire: Wire, mark: bytes) -> None:
    """Neither whitespace nor a byte order mark changes the shape in which a request's error is read."""
    call = {"function": {"name": "f", "arguments": {"x": 1}}}
    body = {"messages": [{"role": "assistant", "tool_calls": [call]}]}
    client = wire.client()
    client.asks("POST", "/api/chat", body=mark + json.dumps(body, indent=2).encode())
    assert (client.answer.status, client.answer.json) == (400, {"error": "model is required"})


def test_dialect_is_settled_by_the_option(open_wire: OpenWire) -> None:
    """--api-dialect decides against everything that the request says."""
    wire = open_wire(api_dialect="openai")
    wire.client().posts("/api/chat", {"options": {}}, "Accept: application/x-ndjson")
    assert wire.asked[0].request.target == b"/v1/chat/completions"
    assert "stream" not in wire.asked[0].request.json
    wire = open_wire(api_dialect="ollama")
    wire.client().posts("/api/chat", {"model": "tiny", "messages": [{"role": "user", "content": "hi"}]})
    assert wire.asked[0].request.json["stream"] is True


def test_other_methods_of_the_rewritten_paths(wire: Wire) -> None:
    """Only a POST to /api/chat is a chat; any other method is refused as Ollama does."""
    client = wire.client()
    client.gets("/api/chat")
    assert client.answer.status == 405
    assert client.answer.field(b"allow") == b"POST"
    assert wire.asked == []
