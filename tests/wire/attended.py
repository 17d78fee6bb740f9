"""What the tests of attended streams share: Copilot's clients, what upstream says to them, and who reads it."""

from __future__ import annotations

import json
from typing import Any

from copilot_proxy.stream.heartbeat import COMMENT
from tests.unit.copilot_parser import VS_CODE as VS_CODE_PARSERS
from tests.unit.copilot_parser import CopilotCLI
from tests.unit.stream_writer import DONE, FIRST, STOP, documents, errors, finishes, keeps_the_checklist, text
from tests.wire.message import EVENTS_HEAD, chunk
from tests.wire.pair import Wire
from tests.wire.peers import Client, UpstreamConnection

VS_CODE = "User-Agent: GitHubCopilotChat/0.67.0"
COPILOTS = (
    VS_CODE,
    "User-Agent: GithubCopilot/1.539.0",
    "X-GitHub-Api-Version: 2025-05-01",
    "X-Initiator: user",
)
"""A field for each way in which a client of Copilot's is told from others."""

JSON = "Content-Type: application/json; charset=utf-8"
WHOLE = FIRST + text("I") + text(" am") + STOP + DONE
LAST_CHUNK = chunk(b"")


def begun(wire: Wire, *fields: str) -> tuple[Client, UpstreamConnection]:
    """A streamed chat of VS Code's, or of the client with these fields, that upstream has got."""
    client = wire.client()
    client.chats(*(fields or (VS_CODE,)))
    return client, wire.asked[-1]


def streaming(wire: Wire, *events: bytes) -> tuple[Client, UpstreamConnection]:
    """A chat of VS Code's to which upstream has sent its head, and these events."""
    client, upstream = begun(wire)
    upstream.sends(EVENTS_HEAD)
    for sent in events:
        upstream.sends(chunk(sent))
    return client, upstream


def refusal(message: str, status: int = 400) -> bytes:
    """The body of an error as llama-server writes it."""
    return json.dumps({"error": {"code": status, "message": message, "type": "x"}}).encode()


def sends_whole(upstream: UpstreamConnection) -> None:
    upstream.sends(EVENTS_HEAD + chunk(WHOLE) + LAST_CHUNK)


def comments(client: Client) -> int:
    """How many times the client was told that its answer still comes."""
    return client.received.count(COMMENT)


def without_comments(client: Client) -> bytes:
    """The events that the client got, each of them whole."""
    body = client.answer.body
    assert all(block.count(b": keep-alive") == 0 or block == COMMENT[:-2] for block in body.split(b"\n\n"))
    return body.replace(COMMENT, b"")


def told(client: Client) -> Any:
    """The error with which the client's stream ended, as C11 wants it: clean, once, and read by its parsers."""
    answer = client.answer
    assert answer.status == 200
    assert answer.whole, "a client may throw away what it has not read of a stream that breaks"
    assert not client.closed
    keeps_the_checklist(answer.body)
    (error,) = errors(answer.body)
    had_choices = any(document.get("choices") for document in documents(answer.body))
    assert finishes(answer.body) == (["error"] if had_choices else [])
    for parser in VS_CODE_PARSERS:
        assert json.loads(parser().read(answer.body).failure or "null") == error
    assert CopilotCLI().read(answer.body).failure == error["message"]
    return error
