"""Who is told what, when the client or upstream goes away in the middle?"""

from __future__ import annotations

import json

import pytest
from twisted.internet import error
from twisted.logger import LogLevel

from copilot_proxy.stream.relay import MAX_EVENT
from tests.wire.message import DONE, EVENTS_HEAD, chunk, event
from tests.wire.pair import OpenWire, Wire
from tests.wire.peers import Client, UpstreamConnection

RESET = error.ConnectionLost()


def line_of(wire: Wire) -> str:
    """The one line that the log has; it is information."""
    (logged,) = [event for event in wire.log if event["log_namespace"] == "copilot_proxy.journal.Journal"]
    assert logged["log_level"] is LogLevel.info
    return wire.lines[wire.log.index(logged)]


def error_event(client: Client) -> str:
    """The text of the error with which the client's stream ends."""
    last = client.answer.body.removesuffix(b"\n\n").rpartition(b"\n\n")[2]
    message: str = json.loads(last.removeprefix(b"data: "))["error"]["message"]
    return message


# ---------------------------------------------------------------- the client


@pytest.mark.parametrize("how", [error.ConnectionDone(), RESET], ids=["closed", "reset"])
@pytest.mark.parametrize("said", [b"", EVENTS_HEAD, EVENTS_HEAD + chunk(event("word"))], ids=len)
def test_client_leaves(wire: Wire, said: bytes, how: Exception) -> None:
    """A client that leaves before or after the head closes upstream at once, and is logged as information."""
    client, upstream = wire.chat()
    upstream.sends(said)
    client.leaves(how)
    assert upstream.closed
    line = line_of(wire)
    assert "the client left" in line
    assert f" {200 if said else '-'} " in line


def test_client_leaves_while_upstream_is_connecting(wire: Wire) -> None:
    """A client that leaves before upstream took the connection: nothing is opened for it any more."""
    wire.silent = True
    client = wire.client()
    client.chats()
    (connector,) = wire.clock.connectors
    client.leaves()
    assert connector.stoppedConnecting
    wire.silent = False
    wire.turn()
    assert wire.connections == []
    assert "the client left" in line_of(wire)


def test_client_leaves_while_models_are_asked(open_wire: OpenWire) -> None:
    """A client that leaves while its model's name is looked up is not asked for upstream."""
    wire = open_wire(models=None)
    client = wire.client()
    client.chats()
    (asked,) = wire.asked
    assert asked.request.target == b"/v1/models"
    client.leaves()
    assert "the client left" in line_of(wire)
    seen = wire.serves({})
    assert "/v1/chat/completions" not in seen


def test_client_that_stalled_leaves(wire: Wire) -> None:
    """A client that read nothing and then leaves closes an upstream that was paused."""
    client, upstream = wire.chat()
    upstream.sends(EVENTS_HEAD)
    client.stalls()
    upstream.sends(chunk(event("word")))
    client.leaves(RESET)
    assert upstream.closed


def test_client_leaves_an_answer_that_is_no_stream(wire: Wire) -> None:
    """A client that leaves in the middle of a whole answer closes upstream too."""
    client, upstream = wire.chat()
    upstream.sends(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome")
    client.leaves()
    assert upstream.closed
    assert "the client left" in line_of(wire)


def test_client_leaves_after_its_answer(wire: Wire) -> None:
    """A client that leaves after a whole answer leaves upstream's connection open for the next one."""
    client, upstream = wire.chat()
    upstream.sends(EVENTS_HEAD + chunk(DONE) + chunk(b""))
    client.leaves()
    assert not upstream.closed
    assert "the client left" not in line_of(wire)


def test_other_clients_go_on(wire: Wire) -> None:
    """One client that leaves cuts nobody else's stream."""
    leaving, cut = wire.chat()
    staying, kept = wire.chat()
    for upstream in (cut, kept):
        upstream.sends(EVENTS_HEAD)
    leaving.leaves()
    kept.sends(chunk(event("word")))
    assert cut.closed
    assert not kept.closed
    assert staying.answer.body == event("word")


# ---------------------------------------------------------------- upstream


@pytest.mark.parametrize("how", [error.ConnectionDone(), RESET], ids=["closed", "reset"])
def test_upstream_leaves_mid_stream(wire: Wire, how: Exception) -> None:
    """The client of a stream that upstream breaks off gets an error event, then an end that is not clean."""
    client, upstream = wire.chat()
    upstream.sends(EVENTS_HEAD + chunk(event("word")))
    upstream.leaves(how)
    assert client.answer.body.startswith(event("word"))
    assert "broke off" in error_event(client)
    assert not client.answer.whole
    assert DONE not in client.answer.body
    assert client.closed
    line = line_of(wire)
    assert "cut by upstream" in line
    assert "broke off" in line


def test_error_event_stands_at_an_events_end(wire: Wire) -> None:
    """Half an event is dropped before the error event, so that the client can read the error."""
    client, upstream = wire.chat()
    upstream.sends(EVENTS_HEAD + chunk(event("word") + event("half")[:20]))
    upstream.leaves()
    said, told = client.answer.body.split(b"\n\n")[:2]
    assert said + b"\n\n" == event("word")
    assert set(json.loads(told.removeprefix(b"data: "))["error"]) == {"message", "type", "code"}
    assert client.answer.body.endswith(b"\n\n")


def test_error_event_after_a_piece_of_an_event(wire: Wire) -> None:
    """Where a huge event was passed on in pieces, a blank line stands between its torn end and the error."""
    client, upstream = wire.chat()
    upstream.sends(EVENTS_HEAD + chunk(b"data: " + b"x" * MAX_EVENT))
    upstream.leaves()
    torn, told, _ = client.answer.body.split(b"\n\n")
    assert torn.endswith(b"x")
    assert told.startswith(b'data: {"error":')


def test_upstream_leaves_between_head_and_first_event(wire: Wire) -> None:
    """A stream of which only the head came ends with an error event too."""
    client, upstream = wire.chat()
    upstream.sends(EVENTS_HEAD)
    upstream.leaves()
    assert "broke off" in error_event(client)
    assert not client.answer.whole
    assert client.closed


def test_garbage_in_the_framing(wire: Wire) -> None:
    """Chunks that cannot be read end the stream like a lost connection."""
    client, upstream = wire.chat()
    upstream.sends(EVENTS_HEAD + chunk(event("word")))
    upstream.sends(b"this is no chunk size\r\n")
    assert "broke off" in error_event(client)
    assert not client.answer.whole
    assert upstream.closed


def test_stream_framed_by_its_end_and_without_its_last_event(wire: Wire) -> None:
    """A stream that ends with upstream's connection, and not with `[DONE]`, is one that was cut."""
    client, upstream = wire.chat()
    upstream.sends(EVENTS_HEAD.replace(b"Transfer-Encoding: chunked\r\n", b"") + event("word"))
    upstream.leaves()
    assert "broke off" in error_event(client)
    assert not client.answer.whole


@pytest.mark.parametrize(
    "framing", [b"Content-Length: 100\r\n\r\nsome", b"Transfer-Encoding: chunked\r\n\r\n"]
)
def test_upstream_leaves_an_answer_that_is_no_stream(wire: Wire, framing: bytes) -> None:
    """A whole answer that breaks off gets nothing put behind it: its unclean end tells."""
    client, upstream = wire.chat()
    upstream.sends(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n" + framing)
    upstream.leaves()
    assert client.answer.body in (b"some", b"")
    assert not client.answer.whole
    assert client.closed
    assert "cut by upstream" in line_of(wire)


def test_http_1_0_client_is_reset(wire: Wire) -> None:
    """To HTTP/1.0 the end of the connection is the end of the answer: only a reset tells that it was cut."""
    client = wire.client()
    client.asks("POST", "/v1/chat/completions", body=b'{"stream":true}', version="1.0")
    (upstream,) = wire.asked
    upstream.sends(EVENTS_HEAD + chunk(event("word")))
    upstream.leaves()
    assert client.transport.aborted


def cut(wire: Wire) -> tuple[Client, UpstreamConnection]:
    client, upstream = wire.chat()
    upstream.sends(EVENTS_HEAD + chunk(event("word")))
    return client, upstream


def test_upstream_leaves_a_client_that_stalled(wire: Wire) -> None:
    """A slow reader is told like everybody else."""
    client, upstream = cut(wire)
    client.stalls()
    upstream.leaves()
    assert "broke off" in error_event(client)
    assert client.closed


def test_upstream_and_then_the_client_leave(wire: Wire) -> None:
    """Both going away, one after the other, is one line of log."""
    client, upstream = cut(wire)
    upstream.leaves()
    client.leaves(RESET)
    assert "cut by upstream" in line_of(wire)


def test_upstreams_own_error_event_passes(wire: Wire) -> None:
    """Where llama-server itself ends its stream with an error event, nothing is added; the end is clean."""
    client, upstream = cut(wire)
    own = b'data: {"error":{"code":500,"message":"out of memory","type":"server_error"}}\n\n'
    upstream.sends(chunk(own) + chunk(b""))
    assert client.answer.body == event("word") + own
    assert client.answer.whole
