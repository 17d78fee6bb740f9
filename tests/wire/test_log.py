"""What does the log tell of a request, and what never?"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from twisted.internet import error
from twisted.logger import LogLevel

from tests.wire.message import DONE, EVENTS_HEAD, chunk, event
from tests.wire.pair import OpenWire, Wire

SECRETS = ("sk-header", "sk-second", "sk-body", "sk-nested", "session=7")


def timed(wire: Wire) -> tuple[Any, Any]:
    """A chat whose head comes after one second, whose first event after two, and whose end after five."""
    client, upstream = wire.chat()
    wire.passes(1)
    upstream.sends(EVENTS_HEAD)
    wire.passes(1)
    upstream.sends(chunk(event("hello")))
    wire.passes(3)
    usage = b'data: {"choices":[],"usage":{"prompt_tokens":12,"completion_tokens":34}}\n\n'
    upstream.sends(chunk(usage + DONE) + chunk(b""))
    return client, upstream


def test_one_line_for_a_request(wire: Wire) -> None:
    """A chat is one line: client, method, path, status, model, first byte, duration and tokens."""
    timed(wire)
    assert wire.lines == [
        "127.0.0.1 POST /v1/chat/completions 200 model=tiny first=2.000s total=5.000s tokens=12+34"
    ]
    (logged,) = wire.log
    assert logged["log_level"] is LogLevel.info


@pytest.mark.parametrize(
    ("target", "line"),
    [
        ("/api/version", "127.0.0.1 GET /api/version 200 total=0.000s"),
        ("//api/version/?key=sk-1", "127.0.0.1 GET /api/version 200 total=0.000s"),
    ],
)
def test_line_of_what_the_proxy_answers(wire: Wire, target: str, line: str) -> None:
    """What the proxy answers itself has its line too, and no line has a query."""
    wire.client().gets(target)
    assert wire.lines == [line]


def test_line_of_a_failure(wire: Wire) -> None:
    """A request that failed has the reason in its line, at the level of information."""
    wire.refusal = error.ConnectionRefusedError()
    wire.client().chats()
    (line,) = wire.lines
    assert line.startswith("127.0.0.1 POST /v1/chat/completions 502 model=tiny total=0.000s (")
    assert "is it running?" in line


def test_line_of_an_upstream_error(wire: Wire) -> None:
    """Upstream's own error has its status in the line."""
    _, upstream = wire.chat()
    upstream.answers(500, b"{}")
    assert " 500 " in wire.lines[0]


def test_line_of_a_request_that_is_refused(open_wire: OpenWire) -> None:
    """What is refused at the door is logged like everything else."""
    wire = open_wire(body_limit="1k", cors_origin=["https://page.example"])
    wire.client().asks("POST", "/v1/chat/completions", body=b"x" * 2000)
    wire.client().gets("/slots", "Origin: https://other.example")
    assert [re.sub(r" total.*", "", line) for line in wire.lines] == [
        "127.0.0.1 POST /v1/chat/completions 413",
        "127.0.0.1 GET /slots 403",
    ]


@pytest.mark.parametrize("verbose", [False, True])
def test_one_line_for_each_of_many(open_wire: OpenWire, verbose: bool) -> None:
    """Each request has exactly one line that ends it, also on one connection."""
    wire = open_wire(verbose="1" if verbose else None)
    client = wire.client()
    for _ in range(3):
        client.gets("/api/version")
    assert sum("total=" in line for line in wire.lines) == 3


def test_client_on_a_unix_socket(wire: Wire) -> None:
    """A client without an address of its own is called by its kind of socket."""
    from twisted.internet.address import UNIXAddress

    client = wire.client()
    client.transport.peerAddr = UNIXAddress(None)
    client.gets("/api/version")
    assert wire.lines == ["unix GET /api/version 200 total=0.000s"]


def test_model_name_cannot_write_lines(wire: Wire) -> None:
    """A model's name, which is the client's text, stays on its line and is cut where it is long."""
    wire.client().chats(model="a\n127.0.0.1 GET /fake 200 total=0.000s\x1b[31m" + "x" * 500)
    wire.asked[0].answers(400, b"{}")
    (line,) = wire.lines
    assert "\n" not in line
    assert "\x1b" not in line
    assert len(line) < 300


# ---------------------------------------------------------------- what never


def secret_chat(wire: Wire) -> None:
    client = wire.client()
    document = {
        "model": "tiny",
        "messages": [{"role": "user", "content": "my words"}],
        "api_key": "sk-body",
        "options": {"apiKey": "sk-nested"},
        "tools": [{"type": "function", "function": {"name": "f"}}],
    }
    fields = ("Authorization: Bearer sk-header", "X-Api-Key: sk-second", "Cookie: session=7")
    client.posts("/v1/chat/completions?api_key=sk-query", document, *fields)
    answered = b'{"choices":[{"message":{"content":"its words"}}]}'
    wire.asked[0].answers(200, answered, "Set-Cookie: session=7", "Content-Type: application/json")


def test_no_body_and_no_key_by_default(wire: Wire) -> None:
    """Without --verbose neither bodies nor headers nor keys are in the log, in no field of an event."""
    secret_chat(wire)
    everything = " ".join(repr(sorted(event.items(), key=str)) for event in wire.log)
    for words in ("my words", "its words", "sk-query", *SECRETS):
        assert words not in everything
    assert len(wire.lines) == 1


def test_invalid_json_is_not_quoted(wire: Wire) -> None:
    """The complaint about a body's JSON quotes the body to the client, and not to the log."""
    client = wire.client()
    client.asks("POST", "/v1/chat/completions", body=b'{"content": my secret words')
    assert "my secret" in client.answer.json["error"]["message"]
    (line,) = wire.lines
    assert "secret" not in line
    assert "line 1, column 13" in line


# ---------------------------------------------------------------- --verbose


def test_verbose_adds_bodies_headers_and_rewrites(open_wire: OpenWire) -> None:
    """With --verbose the log has both bodies as people read them, the headers, and what was rewritten."""
    wire = open_wire(verbose="1")
    secret_chat(wire)
    text = "\n".join(wire.lines)
    assert '  "messages": [' in text
    assert "my words" in text
    assert "its words" in text
    assert "Content-Type: application/json" in text
    assert 'tool "f": parameters were missing' in text
    assert "upstream answers 200" in text


def test_verbose_masks_every_key(open_wire: OpenWire) -> None:
    """With --verbose keys are masked, in headers, in bodies and in queries."""
    wire = open_wire(verbose="1")
    secret_chat(wire)
    everything = " ".join(repr(sorted(event.items(), key=str)) for event in wire.log)
    for secret in (*SECRETS, "sk-query"):
        assert secret not in everything
    assert "Authorization: ***" in "\n".join(wire.lines)


def test_verbose_masks_keys_inside_strings(open_wire: OpenWire) -> None:
    """A key inside the arguments of a tool call, which are JSON in a string, is masked as well."""
    wire = open_wire(verbose="1")
    function = {"name": "f", "arguments": json.dumps({"api_key": "sk-inside", "x": 1})}
    wire.client().chats(messages=[{"role": "assistant", "tool_calls": [{"function": function}]}])
    assert "sk-inside" not in "\n".join(wire.lines)


@pytest.mark.parametrize("name", ["Api-Key", "X-Goog-Api-Key", "Openai-Api-Key", "X-Auth-Token"])
def test_verbose_masks_other_headers_with_keys(open_wire: OpenWire, name: str) -> None:
    """Headers that other services call their keys by are masked as well."""
    wire = open_wire(verbose="1")
    wire.client().chats(f"{name}: sk-other")
    assert "sk-other" not in "\n".join(wire.lines)


def test_verbose_stream(open_wire: OpenWire) -> None:
    """With --verbose a stream's events are in the log when it has ended."""
    wire = open_wire(verbose="1")
    timed(wire)
    text = "\n".join(wire.lines)
    assert "hello" in text
    assert "tokens=12+34" in wire.lines[-1]


def test_verbose_body_that_is_no_json(open_wire: OpenWire) -> None:
    """A body that is no JSON is shown as it is, also where it is no text."""
    wire = open_wire(verbose="1")
    wire.client().asks("PUT", "/slots", body=b"\xff plain")
    assert "\\xff plain" in "\n".join(wire.lines)


def test_verbose_very_long_body_is_cut(open_wire: OpenWire) -> None:
    """Of a very long body the log has the beginning, and says how much is missing."""
    wire = open_wire(verbose="1")
    wire.client().asks("PUT", "/slots", body=b"x" * 200_000)
    assert max(map(len, wire.lines)) < 70_000
    assert "characters more" in "\n".join(wire.lines)


def test_nothing_of_twisteds_own(wire: Wire) -> None:
    """Twisted says nothing of its own about connections that come, go and are reused."""
    for _ in range(3):
        timed(wire)
    assert len(wire.lines) == 3


# ---------------------------------------------------------------- the start


def test_start(wire: Wire) -> None:
    """The start tells where the proxy listens, what upstream has, and what to do in VS Code."""
    listens, hint, has = wire.announced
    assert listens.endswith("listens on http://127.0.0.1:11434")
    assert has == "upstream http://127.0.0.1:11433: has tiny (32768 tokens of context, tools)"
    assert "http://127.0.0.1:11434" in hint


def test_start_without_a_model(open_wire: OpenWire) -> None:
    """An upstream without models is told as one."""
    assert open_wire(models=()).announced[2].endswith(" has no models")


def test_start_before_upstream(open_wire: OpenWire) -> None:
    """A start before llama-server's is told as what it is, and the proxy works as soon as that is there."""
    wire = open_wire(models=None)
    assert "is it running?" in wire.announced[2]
    client = wire.client()
    client.gets("/slots")
    wire.asked[0].answers(200, b"[]")
    assert client.answer.status == 200
