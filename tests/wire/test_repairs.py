"""Does a chat that llama-server refuses reach it once more with a cure, and the client the right answer?"""

from __future__ import annotations

import json
from typing import Any

import pytest

from copilot_proxy.upstream.whole import LARGEST
from tests.wire.message import EVENTS_HEAD, answer
from tests.wire.pair import OpenWire, Wire
from tests.wire.peers import Client, UpstreamConnection

SYSTEM = "Jinja Exception: System message must be at the beginning."
USERS = "Jinja Exception: Conversation roles must alternate user/assistant/user/assistant/..."
GRAMMAR = "Failed to initialize samplers: failed to parse grammar"
TOO_LONG = "request (60012 tokens) exceeds the available context size (32768 tokens), try increasing it"


def said(*roles: str) -> list[dict[str, str]]:
    return [{"role": role, "content": role} for role in roles]


LATE = said("user", "system", "user")
CURED = [{"role": "system", "content": "system"}, *said("user", "user")]
BOTH_CURED = [{"role": "system", "content": "system"}, {"role": "user", "content": "user\n\nuser"}]


def refuses(upstream: UpstreamConnection, message: str, status: int = 400, kind: str = "x") -> bytes:
    """Refuse a chat as llama-server does, which closes the connection after; the body of the answer."""
    body = json.dumps({"error": {"code": status, "message": message, "type": kind}}).encode()
    upstream.answers(status, body, "Content-Type: application/json; charset=utf-8", "Connection: close")
    return body


def history(upstream: UpstreamConnection) -> Any:
    """The messages that upstream was sent."""
    return json.loads(upstream.request.body)["messages"]


def refused(wire: Wire, message: str = SYSTEM, *fields: str, **members: Any) -> tuple[Client, bytes]:
    """A chat that was refused once; what upstream said."""
    client = wire.client()
    client.chats(*fields, **{"messages": LATE, **members})
    return client, refuses(wire.asked[-1], message)


def test_cured_and_streamed(wire: Wire) -> None:
    """B3: the chat goes upstream once more with its system messages merged, and its stream comes as ever."""
    client, _ = refused(wire, SYSTEM, "Authorization: Bearer sk-own", "X-Request-Id: 7")
    assert client.received == b""
    (upstream,) = wire.asked
    assert upstream.request.target == b"/v1/chat/completions"
    assert upstream.request.field(b"authorization") == b"Bearer sk-own"
    assert upstream.request.field(b"x-request-id") == b"7"
    assert history(upstream) == CURED
    upstream.sends(EVENTS_HEAD + b"7\r\ndata: 1\r\n2\r\n\n\n\r\n0\r\n\r\n")
    assert client.answer.status == 200
    assert client.answer.body == b"data: 1\n\n"
    (line,) = [line for line in wire.lines if "sent once more" in line]
    assert line == (
        'upstream refused a chat with tiny: "System message must be at the beginning"; sent once more: '
        "system messages were merged into the first"
    )


@pytest.mark.parametrize("path", ["/api/chat", "/chat/completions", "/v1/chat/completions"])
def test_on_every_path_of_chats(wire: Wire, path: str) -> None:
    """B6: a grammar that cannot be parsed is cured on each path that is a chat of OpenAI's."""
    schema = {"type": "object", "properties": {"x": {"type": "string", "pattern": "(?=x)"}}}
    tools = [{"type": "function", "function": {"name": "f", "parameters": schema}}]
    client = wire.client()
    client.posts(path, {"model": "tiny", "messages": [], "tools": tools})
    refuses(wire.asked[0], GRAMMAR, 500)
    (upstream,) = wire.asked
    assert b"(?=x)" not in upstream.request.body
    upstream.tells({"choices": []})
    assert client.answer.json == {"choices": []}


def test_remembered(wire: Wire) -> None:
    """B3: what helped is done at once in the next chat with that model, under any of its names."""
    refused(wire)
    wire.asked[0].tells({})
    for model, sent in (("tiny", CURED), ("tiny:latest", CURED), ("other", LATE)):
        wire.client().chats(messages=LATE, model=model)
        assert history(wire.asked[0]) == sent
        wire.asked[0].tells({})


def test_not_remembered_where_it_did_not_help(wire: Wire) -> None:
    """What did not lead to a 200 is not done again by itself."""
    refused(wire)
    refuses(wire.asked[0], "something else")
    wire.client().chats(messages=LATE)
    assert history(wire.asked[0]) == LATE


def test_two_complaints(wire: Wire) -> None:
    """B3: a chat with two faults gets both cures, one after the other, and both are remembered."""
    client, _ = refused(wire)
    assert history(wire.asked[0]) == CURED
    refuses(wire.asked[0], USERS, 500)
    assert history(wire.asked[0]) == BOTH_CURED
    wire.asked[0].tells({"choices": []})
    assert client.answer.status == 200
    wire.client().chats(messages=LATE)
    assert history(wire.asked[0]) == BOTH_CURED


@pytest.mark.parametrize(("kind", "told"), [("invalid_request_error", 0), ("exceed_context_size_error", 1)])
def test_what_the_client_reads_in_the_end(wire: Wire, kind: str, told: int) -> None:
    """The client gets the first complaint, which is about what it wrote; or that the chat is too long."""
    client, first = refused(wire)
    second = refuses(wire.asked[0], TOO_LONG, kind=kind)
    assert wire.asked == []
    assert client.answer.status == 400
    assert client.answer.body == (first, second)[told]


def test_each_cure_once(wire: Wire) -> None:
    """B6: upstream that complains of the same again is not asked a third time."""
    client, first = refused(wire)
    refuses(wire.asked[0], SYSTEM)
    assert wire.asked == []
    assert client.answer.body == first


@pytest.mark.parametrize(("status", "fields", "seen"), [(400, "", 400), (500, "", 500), (500, "VS", 400)])
def test_no_cure(wire: Wire, status: int, fields: str, seen: int) -> None:
    """Without a cure, the client gets a refusal's own status, headers and body; VS Code gets its 400."""
    client = wire.client()
    client.chats(*(["User-Agent: GitHubCopilotChat/0.67.0"] if fields else []))
    body = b'{"error": {"message": "no\\u00e9"}}\n'
    wire.asked[0].answers(
        status, body, "Content-Type: application/json", "X-Kind: green", phrase="Its Phrase"
    )
    assert client.answer.status == seen
    assert client.answer.body == body
    assert client.answer.field(b"x-kind") == b"green"
    assert client.answer.field(b"content-length") == str(len(body)).encode()
    assert (b"Its Phrase" in client.answer.start) == (status == seen)
    assert wire.asked == []


def test_refusal_in_chunks(wire: Wire) -> None:
    """A refusal without a length, as llama-server's router passes it on, is read whole all the same."""
    client = wire.client()
    client.chats(messages=LATE)
    body = json.dumps({"error": {"message": SYSTEM}}).encode()
    head = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: application/json\r\n"
    wire.asked[0].sends(head + b"Transfer-Encoding: chunked\r\n\r\n" + b"%x\r\n%b\r\n" % (len(body), body))
    assert len(wire.connections) == 1
    wire.connections[0].sends(b"0\r\n\r\n")
    assert history(wire.connections[1]) == CURED
    wire.connections[1].tells({})
    assert client.answer.status == 200


@pytest.mark.parametrize(
    ("status", "content_type"), [(502, "application/json"), (400, "text/html"), (200, "application/json")]
)
def test_other_answers_pass(wire: Wire, status: int, content_type: str) -> None:
    """What is no JSON, or no 400 and no 500, passes as it comes: no byte of it waits for the others."""
    client = wire.client()
    client.chats(messages=LATE)
    body = json.dumps({"error": {"message": SYSTEM}}).encode()
    whole = answer(status, body, f"Content-Type: {content_type}")
    wire.asked[0].sends(whole[:-1])
    assert client.received.endswith(body[:-1])
    wire.connections[0].sends(whole[-1:])
    assert client.answer.status == status
    assert len(wire.connections) == 1


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/embeddings", "/tokenize"])
def test_other_paths(wire: Wire, path: str) -> None:
    """What is no chat is sent once, whatever upstream says."""
    client = wire.client()
    client.posts(path, {"model": "tiny", "messages": LATE})
    body = refuses(wire.asked[0], SYSTEM)
    assert wire.asked == []
    assert client.answer.body == body


def test_unavailable_in_between(wire: Wire) -> None:
    """An answer to the cured chat that is no complaint is the client's, such as that the model is loading."""
    client, _ = refused(wire)
    wire.asked[0].tells({"error": {"message": "Loading model"}}, 503)
    assert client.answer.status == 503
    wire.client().chats(messages=LATE)
    assert history(wire.asked[0]) == LATE, "nothing was remembered"


def test_cut_refusal(wire: Wire) -> None:
    """A refusal that breaks off is a 502 that says so: nothing of it has reached the client."""
    client = wire.client()
    client.chats()
    wire.asked[0].sends(answer(400, b"x" * 100, "Content-Type: application/json")[:-50])
    assert client.received == b""
    wire.connections[0].leaves()
    assert client.answer.status == 502
    assert client.answer.json["error"]["code"] == "upstream_lost"


def test_endless_refusal(wire: Wire) -> None:
    """A refusal that is longer than any is given up, and upstream closed."""
    client = wire.client()
    client.chats()
    (upstream,) = wire.asked
    head = b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    upstream.sends(head % (LARGEST * 2) + b" " * (LARGEST + 1))
    assert client.answer.status == 502
    assert upstream.closed


@pytest.mark.parametrize("cut", [0, 40])
def test_the_client_leaves(wire: Wire, cut: int) -> None:
    """A client that leaves while its chat is refused or sent anew leaves no request behind."""
    client = wire.client()
    client.chats(messages=LATE)
    (upstream,) = wire.asked
    if cut:
        upstream.sends(answer(400, b"x" * 100, "Content-Type: application/json")[:-cut])
    else:
        refuses(upstream, SYSTEM)
        (upstream,) = wire.asked
    client.leaves()
    assert upstream.closed


def test_verbose(open_wire: OpenWire) -> None:
    """--verbose shows what is sent again, and what was done at once because it has helped before."""
    wire = open_wire(verbose="1")
    refused(wire)
    wire.asked[0].tells({})
    wire.client().chats(messages=LATE)
    told = [line for line in wire.lines if "rewritten: system messages were merged into the first" in line]
    assert len(told) == 2
