"""What the tests of attended streams share: Copilot's clients, what upstream says, and who reads it."""

from __future__ import annotations

import json
from typing import Any

from copilot_proxy.stream.heartbeat import COMMENT
from tests.unit.copilot_parser import VS_CODE as VS_CODE_PARSERS
from tests.unit.copilot_parser import CopilotCLI
from tests.unit.stream_writer import DONE, FIRST, STOP, documents, errors, finishes, keeps_the_checklist, text
from tests.wire.llama import LOADING
from tests.wire.message import EVENTS_HEAD, Message, chunk
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

LOOK = 1.0  # seconds between two looks at whether llama-server has loaded its model


def begun(wire: Wire, *fields: str) -> tuple[Client, UpstreamConnection]:
    """A streamed chat of VS Code's, or of the client with these fields, that upstream has got."""
    client = wire.client()
    client.chats(*(fields or (VS_CODE,)))
    return client, wire.asked[-1]


def streaming(wire: Wire, *events: bytes, agent: str = VS_CODE) -> tuple[Client, UpstreamConnection]:
    """A chat to which upstream has sent its head, and these events."""
    client, upstream = begun(wire, agent)
    upstream.sends(EVENTS_HEAD)
    for sent in filter(None, events):
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
    """The error with which the client's stream ended, as C11 wants it: clean, once, and seen by parsers."""
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


def loads(wire: Wire, *fields: str, **members: Any) -> tuple[Client, Message]:
    """A chat to which llama-server said that it loads its model, and what it had been sent."""
    client = wire.client()
    client.chats(*fields, **members)
    upstream = wire.asked[-1]
    asked = upstream.request
    upstream.tells(LOADING, 503)
    return client, asked


def still(wire: Wire, times: int) -> None:
    """The proxy looks `times` times, once a second, and llama-server still loads."""
    for _ in range(times):
        assert wire.asked == []
        wire.passes(LOOK)
        (looked,) = wire.asked
        assert looked.request.start == b"GET /health HTTP/1.1"
        looked.tells(LOADING, 503)


def loaded(wire: Wire) -> None:
    """At the next look llama-server is ready."""
    wire.passes(LOOK)
    (looked,) = wire.asked
    assert looked.request.target == b"/health"
    looked.tells({"status": "ok"})
