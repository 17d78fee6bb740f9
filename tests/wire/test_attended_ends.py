"""Does whatever goes wrong upstream become an answer that a client of Copilot's reads to its one end?"""

from __future__ import annotations

import json

import pytest
from twisted.internet import error

from copilot_proxy.stream.heartbeat import COMMENT
from copilot_proxy.stream.relay import MAX_EVENT
from tests.unit.copilot_parser import VS_CODE as VS_CODE_PARSERS
from tests.unit.copilot_parser import LanguageServer
from tests.unit.stream_writer import DONE, FIRST, STOP, keeps_the_checklist, sse, text
from tests.wire.attended import JSON, LAST_CHUNK, WHOLE, begun, refusal, sends_whole, streaming, told
from tests.wire.message import EVENTS_HEAD, chunk
from tests.wire.pair import OpenWire, Wire
from tests.wire.peers import Client

CLI = "X-Initiator: user"
HOWS = pytest.mark.parametrize(
    "how", [error.ConnectionDone(), error.ConnectionLost()], ids=["closed", "reset"]
)
PIECES_OF_A_HEAD = (b"HTTP/1.1 2", b"HTTP/1.1 200 OK\r\nContent-Ty", EVENTS_HEAD[:-2])


def status(client: Client) -> tuple[int, str]:
    """The status of an answer that is an error, and its text."""
    assert client.answer.whole
    return client.answer.status, client.answer.json["error"]["message"]


# ---------------------------------------------------------------- before the first event


@HOWS
@pytest.mark.parametrize("piece", [b"", *PIECES_OF_A_HEAD], ids=len)
def test_upstream_dies_before_its_head_is_whole(wire: Wire, piece: bytes, how: Exception) -> None:
    """C3, C12, D1: within 3 s that is a status with the text; the connection to VS Code is not dropped."""
    client, upstream = begun(wire)
    upstream.sends(piece)
    wire.passes(2)
    upstream.leaves(how)
    code, message = status(client)
    assert code == 400
    assert "llama-server at http://127.0.0.1:11433" in message
    assert not client.closed
    cli, upstream = begun(wire, CLI)
    upstream.sends(piece)
    upstream.leaves(how)
    assert status(cli)[0] == 502


@HOWS
@pytest.mark.parametrize("piece", [b"", *PIECES_OF_A_HEAD], ids=len)
def test_upstream_dies_later_before_its_head_is_whole(wire: Wire, piece: bytes, how: Exception) -> None:
    """C11: after the early 200 that is an error inside the stream, and `[DONE]`."""
    client, upstream = begun(wire)
    upstream.sends(piece)
    wire.passes(20)
    upstream.leaves(how)
    assert "llama-server at http://127.0.0.1:11433" in told(client)["message"]
    assert client.answer.body.startswith(COMMENT * 2 + b'data: {"error":')


def test_nobody_is_there(wire: Wire) -> None:
    """C3, D1: a refused connection is a 400 that VS Code shows, with what to do."""
    wire.refusal = error.ConnectionRefusedError()
    client = wire.client()
    client.chats("User-Agent: GitHubCopilotChat/0.29.1")
    assert status(client)[0] == 400
    assert "is it running?" in status(client)[1]


def test_refused_after_the_early_200(wire: Wire) -> None:
    """C11: a refusal that comes too late for a status is told inside the stream, in upstream's own words."""
    client, upstream = begun(wire)
    wire.passes(3)
    upstream.answers(400, refusal("the request exceeds the context"), JSON, "Connection: close")
    assert told(client)["message"] == "the request exceeds the context"
    (line,) = [line for line in wire.lines if "POST /v1/chat/completions" in line]
    assert "the request exceeds the context" in line


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"error":"x"}', b"[]", b"\xff"])
def test_refused_without_words(wire: Wire, body: bytes) -> None:
    """C11: a late refusal without an error object is told by its status."""
    client, upstream = begun(wire)
    wire.passes(3)
    upstream.answers(413, body, JSON)
    assert told(client)["message"] == "llama-server refused the chat (413)"


def test_refusal_breaks_off(wire: Wire) -> None:
    """C11: a late refusal of which upstream sends only half is told as a lost connection."""
    client, upstream = begun(wire)
    wire.passes(3)
    upstream.sends(
        b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"
    )
    upstream.leaves()
    assert "broke off" in told(client)["message"]


def test_cured_after_the_early_200(wire: Wire) -> None:
    """B3, C2: a late refusal with a cure is cured behind the heartbeats, and the answer is whole."""
    refused = refusal("Jinja Exception: Conversation roles must alternate user/assistant")
    client = wire.client()
    user = {"role": "user", "content": "hi"}
    client.chats(CLI, messages=[user, user])
    wire.passes(20)
    wire.asked[-1].answers(400, refused, JSON, "Connection: close")
    wire.passes(20)
    assert len(json.loads(wire.asked[-1].request.body)["messages"]) == 1
    sends_whole(wire.asked[-1])
    assert client.answer.body == COMMENT * 3 + WHOLE


@pytest.mark.parametrize(("limit", "early"), [("2", True), ("40", False)])
def test_silent_upstream(open_wire: OpenWire, limit: str, early: bool) -> None:
    """C2, C11: upstream that says nothing until --first-byte-timeout is told as slow, and is left."""
    wire = open_wire(first_byte_timeout=limit)
    client, upstream = begun(wire)
    wire.passes(float(limit))
    assert upstream.closed
    message = status(client)[1] if early else told(client)["message"]
    assert f"did not answer in {limit} s" in message
    assert client.received.count(COMMENT) == (0 if early else 3)
    assert early == (client.answer.status == 400)


# ---------------------------------------------------------------- inside the stream

CUTS = {
    "after the head": (b"", b""),
    "between events": (FIRST + text("I"), b""),
    "inside an event": (FIRST + text("I"), text(" am")[:40]),
    "in an event's last byte": (FIRST + text("I"), text(" am")[:-1]),
}


@HOWS
@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("wait", [0, 20])
def test_upstream_dies_in_the_stream(wire: Wire, cut: str, how: Exception, wait: float) -> None:
    """C11: a finish reason "error" if a choice has left, then the error, then `[DONE]`; no half event."""
    whole, half = CUTS[cut]
    client, upstream = streaming(wire, whole + half)
    wire.passes(wait)
    upstream.leaves(how)
    assert "broke off in the middle of its answer" in told(client)["message"]
    assert client.answer.body.startswith(whole)
    assert client.answer.body.count(b'"content":" am"') == 0
    (line,) = [line for line in wire.lines if "POST /v1/chat/completions" in line]
    assert "broke off" in line


@HOWS
@pytest.mark.parametrize("behind", [b"", STOP[:20], DONE])
def test_upstream_dies_after_the_finish(wire: Wire, behind: bytes, how: Exception) -> None:
    """C5: what has its finish reason is a whole answer, and gets the one `[DONE]`."""
    client, upstream = streaming(wire, FIRST + text("I") + STOP + behind)
    upstream.leaves(how)
    assert client.answer.body == FIRST + text("I") + STOP + DONE
    assert client.answer.whole
    for parser in VS_CODE_PARSERS:
        assert parser().read(client.answer.body)[:4] == ("I", "", [], None)


def test_done_without_a_finish(wire: Wire) -> None:
    """C5: where upstream ends whole and gives no finish reason, it is supplied."""
    client, upstream = streaming(wire, FIRST + text("I") + DONE)
    upstream.sends(LAST_CHUNK)
    keeps_the_checklist(client.answer.body)
    for parser in VS_CODE_PARSERS:
        assert parser().read(client.answer.body)[:4] == ("I", "", [], None)


@pytest.mark.parametrize("said", [b"", FIRST, FIRST + text("I")], ids=len)
def test_ended_without_done_and_finish(wire: Wire, said: bytes) -> None:
    """C5, C11: a body that ends in the regular way and in nothing else is an error, not an answer."""
    client, upstream = streaming(wire, said)
    upstream.sends(LAST_CHUNK)
    assert "without saying that it is finished" in told(client)["message"]


@pytest.mark.parametrize("said", [b"", FIRST, FIRST + text("I")], ids=len)
@pytest.mark.parametrize("ends", [LAST_CHUNK, chunk(DONE) + LAST_CHUNK, b""], ids=len)
def test_error_inside_the_stream(wire: Wire, said: bytes, ends: bytes) -> None:
    """C11: upstream's own error keeps its text and is the one end, whatever upstream does behind it."""
    broken = sse({"error": {"code": 500, "message": "Compute error.", "type": "server_error"}})
    client, upstream = streaming(wire, said + broken)
    upstream.sends(ends)
    upstream.leaves()
    assert told(client) == {"code": 500, "message": "Compute error.", "type": "server_error"}


@pytest.mark.parametrize("said", [b"", FIRST, FIRST + text("I")], ids=len)
def test_failure_as_text(wire: Wire, said: bytes) -> None:
    """C11: the language server only logs an error inside a stream, so the text of the answer tells it too."""
    client, upstream = streaming(wire, said, agent="User-Agent: GithubCopilot/1.539.0")
    upstream.leaves()
    body = client.answer.body
    keeps_the_checklist(body)
    reading = LanguageServer().read(body)
    assert reading.text.startswith(
        "I\n\nllama-server at" if said.endswith(text("I")) else "\n\nllama-server at"
    )
    assert "broke off in the middle of its answer" in reading.text
    assert reading.failure == "No finish reason received.", "it does not pass for whole"


def test_no_stream_after_all(wire: Wire) -> None:
    """C11: a 200 that is no stream of events is told as an answer without an end."""
    client, upstream = begun(wire)
    upstream.answers(200, b'{"choices":[]}', JSON)
    assert "without saying that it is finished" in told(client)["message"]


@pytest.mark.parametrize("end", [b'"}}]}\n\n' + STOP + DONE, None], ids=["whole", "cut"])
def test_an_event_too_large(wire: Wire, end: bytes | None) -> None:
    """C11: an answer with an event over 1 MiB, which nobody keeps whole, never passes for whole."""
    client, upstream = streaming(wire, FIRST)
    upstream.sends(chunk(b'data: {"choices":[{"delta":{"content":"' + b"x" * MAX_EVENT))
    if end is None:
        upstream.leaves()
    else:
        upstream.sends(chunk(end) + LAST_CHUNK)
    assert f"more than {MAX_EVENT} bytes" in told(client)["message"]
