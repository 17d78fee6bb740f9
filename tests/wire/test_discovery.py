"""What do Copilot's clients read of the models, and what of their chats goes on to llama-server?"""

from __future__ import annotations

import json
import re

import pytest

from tests.unit.copilot_request import (
    WITH_EMPTY_PARAMETERS,
    WITHOUT_PARAMETERS,
    agent_request,
    compact,
)
from tests.wire.attended import VS_CODE
from tests.wire.llama import server
from tests.wire.message import answer
from tests.wire.pair import OpenWire, Wire

NOTHING = {"type": "object", "properties": {}}


def test_version(open_wire: OpenWire) -> None:
    """A1: the version is numeric and above what each client asks for, also while upstream is away."""
    wire = open_wire(models=None)
    client = wire.client()
    client.gets("/api/version", VS_CODE)
    assert client.answer.status == 200
    version = client.answer.json["version"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", version)
    assert [int(part) for part in version.split(".")] >= [0, 17, 6]
    assert wire.asked == []


def test_tags(open_wire: OpenWire) -> None:
    """A2: an entry of tags has all that any generation reads of it."""
    wire = open_wire(models=("tiny", "other"))
    client = wire.client()
    client.gets("/api/tags", VS_CODE)
    wire.serves(server("tiny", "other"))
    for entry, name in zip(client.answer.json["models"], ("tiny", "other"), strict=True):
        assert entry["name"] == entry["model"] == name
        assert re.fullmatch(r"[0-9a-f]{64}", entry["digest"])
        assert isinstance(entry["size"], int)
        assert entry["modified_at"]
        assert entry["details"]["family"]
        assert {"completion", "tools"} <= set(entry["capabilities"])
        assert entry["context_length"] == entry["maxInputTokens"] + entry["maxOutputTokens"] == 32768
        assert (entry["toolCalling"], entry["vision"]) == (True, False)
        assert "remote_host" not in entry


@pytest.mark.parametrize("target", ["//api/version", "/api//version", "//api/version/"])
def test_slashes(wire: Wire, target: str) -> None:
    """A7: the slash of a configured URL, which VS Code keeps, does no harm."""
    client = wire.client()
    client.gets(target, VS_CODE)
    assert client.answer.status == 200
    assert "version" in client.answer.json


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_root(wire: Wire, method: str) -> None:
    """A7: the root answers 200."""
    client = wire.client()
    client.asks(method, "/")
    assert client.answer.status == 200


@pytest.mark.parametrize("path", ["/v1/responses", "/responses", "/v1/messages"])
def test_other_apis_pass(wire: Wire, path: str) -> None:
    """A8: the other APIs that Copilot's clients can be set to pass, and their streams are not touched."""
    client = wire.client()
    client.posts(path, {"model": "tiny", "input": "hi", "stream": True}, VS_CODE)
    (upstream,) = wire.asked
    assert upstream.request.target == path.encode()
    upstream.sends(answer(200, b'event: x\r\ndata: {"type":"x"}\r\n\r\n', "Content-Type: text/event-stream"))
    assert client.answer.body == b'event: x\r\ndata: {"type":"x"}\r\n\r\n'


def test_a_whole_request(wire: Wire) -> None:
    """B2, B3: VS Code's request of 72 KB keeps each byte but the parameters of the tools that have none."""
    request = {**agent_request(), "model": "tiny"}
    client = wire.client()
    client.asks("POST", "/v1/chat/completions", VS_CODE, body=compact(request))
    sent = wire.asked[-1].request.body
    for tool in request["tools"]:
        if tool["function"]["name"] in (*WITHOUT_PARAMETERS, *WITH_EMPTY_PARAMETERS):
            tool["function"]["parameters"] = NOTHING
    assert sent == compact(request)
    assert list(json.loads(sent)) == list(request)
