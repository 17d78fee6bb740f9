"""Are the answers that are under way ended well, when the proxy is told to stop?"""

from __future__ import annotations

import json
from typing import Any

import pytest
from twisted.internet import error

from tests.wire.attended import VS_CODE
from tests.wire.message import DONE, EVENTS_HEAD, chunk, event, request
from tests.wire.pair import OpenWire, Wire
from tests.wire.peers import Client, UpstreamConnection

STOPPED = "copilot-proxy was stopped before this answer was whole: ask again when it is back"


def streaming(wire: Wire, *fields: str) -> tuple[Client, UpstreamConnection]:
    """A stream that has begun."""
    client = wire.client()
    client.chats(*fields)
    upstream = wire.asked[-1]
    upstream.answered += 1
    upstream.sends(EVENTS_HEAD + chunk(event("word")))
    return client, upstream


def told(wire: Wire) -> list[str]:
    """What the log says of the stop itself."""
    return [line for line in wire.lines if " total=" not in line]


def test_nobody_is_there(wire: Wire) -> None:
    """With nothing under way a stop is done at once, and the log says nothing of it."""
    wire.stops()
    assert wire.stopped
    assert told(wire) == []


def test_idle_connections(wire: Wire) -> None:
    """The port closes at once, and so do connections on which nothing is under way."""
    silent, kept = wire.client(), wire.client()
    kept.gets("/api/version")
    assert not kept.closed
    wire.stops()
    assert not wire.listening
    assert silent.closed
    assert kept.closed
    assert wire.stopped


def test_streams_go_on_to_their_end(wire: Wire) -> None:
    """A stream goes on while the proxy stops, ends as it would have, and its connection with it."""
    client, upstream = streaming(wire)
    other, _ = streaming(wire)
    wire.stops()
    wire.passes(20)
    assert not wire.stopped
    upstream.sends(chunk(event("more")) + chunk(DONE) + chunk(b""))
    assert client.answer.body == event("word") + event("more") + DONE
    assert client.answer.whole
    assert client.closed
    assert not wire.stopped
    other.leaves()
    assert wire.stopped
    assert told(wire) == [
        "draining: 2 answers under way, at most 25 s; a second signal cuts them off",
        "drained: all have ended after 20.0 s",
    ]


def test_answers_that_begin_say_that_they_are_the_last(wire: Wire) -> None:
    """An answer that had no head yet says `Connection: close`, and the connection is closed behind it."""
    client, upstream = wire.chat()
    wire.stops()
    upstream.answers(200, b"{}", "Content-Type: application/json")
    assert client.answer.field(b"connection") == b"close"
    assert client.answer.whole
    assert client.closed
    assert wire.stopped


def test_requests_that_are_half_here(wire: Wire) -> None:
    """A request of which the beginning has come is read to its end and answered; the one behind it is not."""
    whole = request("GET", "/api/version")
    in_head, in_body = wire.client(), wire.client()
    in_head.sends(whole[:30])
    in_body.sends(b"POST /debug/json HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{")
    wire.stops()
    in_head.sends(whole[30:] + whole)
    in_body.sends(b"}" + whole)
    for client in (in_head, in_body):
        assert [answer.status for answer in client.answers] == [200]
        assert client.answer.field(b"connection") == b"close"
        assert client.closed
    assert wire.stopped


@pytest.mark.parametrize("path", ["/health/ready", "/health", "/health/live"])
def test_health_while_it_stops(wire: Wire, path: str) -> None:
    """On a connection that is still open, /health/ready says no, and /health that the proxy drains."""
    client = wire.client()
    client.sends(f"GET {path} HTTP/1.1\r\n".encode())
    wire.stops()
    client.sends(b"Host: localhost\r\n\r\n")
    assert client.answer.status == (503 if path == "/health/ready" else 200)
    if path == "/health":
        assert client.answer.json["draining"] is True
    if path == "/health/ready":
        assert "is being stopped" in client.answer.json["detail"]


# ---------------------------------------------------------------- those that take too long


def test_streams_that_take_too_long(open_wire: OpenWire) -> None:
    """After --drain a stream is told and closed, and upstream with it, so that its slot is free."""
    wire = open_wire(drain="3")
    client, upstream = streaming(wire)
    wire.stops()
    wire.passes(2.9)
    assert not upstream.closed
    wire.passes(0.2)
    assert upstream.closed
    said, last, rest = client.answer.body.split(b"\n\n")
    assert (said + b"\n\n", rest) == (event("word"), b"")
    assert json.loads(last.removeprefix(b"data: "))["error"] == {
        "message": STOPPED,
        "type": "server_error",
        "code": "proxy_stopped",
    }
    assert not client.answer.whole
    assert client.closed
    assert wire.stopped
    assert told(wire) == [
        "draining: 1 answer under way, at most 3 s; a second signal cuts them off",
        "1 answer cut: the clients are told that the proxy stops",
    ]
    (line,) = (line for line in wire.lines if " total=" in line)
    assert line.endswith("(the proxy was stopped)")


def test_at_once(open_wire: OpenWire) -> None:
    """With --drain 0 nobody waits: streams are told in the same turn."""
    wire = open_wire(drain="0")
    client, upstream = streaming(wire)
    wire.stops()
    assert STOPPED in client.answer.body.decode()
    assert upstream.closed
    assert wire.stopped


def test_copilots_streams(open_wire: OpenWire) -> None:
    """A client of Copilot's gets the end that it can read: a finish reason, the error and `[DONE]`."""
    wire = open_wire(drain="0")
    client, upstream = streaming(wire, VS_CODE)
    wire.stops()
    *_, finish, failed, done, rest = client.answer.body.split(b"\n\n")
    assert json.loads(finish.removeprefix(b"data: "))["choices"][0]["finish_reason"] == "error"
    assert json.loads(failed.removeprefix(b"data: "))["error"]["message"] == STOPPED
    assert (done + b"\n\n", rest) == (DONE, b"")
    assert client.answer.whole
    assert upstream.closed
    assert wire.stopped


def test_copilots_streams_before_upstreams_head(open_wire: OpenWire) -> None:
    """One that has had its 200 and waits for upstream is told inside its stream as well."""
    wire = open_wire(drain="5")
    client = wire.client()
    client.chats(VS_CODE)
    (upstream,) = wire.asked
    wire.passes(4)
    assert client.answer.status == 200
    wire.stops()
    wire.passes(5.1)
    assert STOPPED in client.answer.body.decode()
    assert client.answer.body.endswith(DONE)
    assert client.answer.whole
    assert upstream.closed
    assert wire.stopped


@pytest.mark.parametrize(
    ("target", "fields", "status", "members"),
    [
        ("/v1/chat/completions", (), 503, {"code": "proxy_stopped", "type": "server_error"}),
        ("/v1/chat/completions", (VS_CODE,), 400, {"code": "proxy_stopped"}),
        ("/api/tags", (), 503, None),
    ],
)
def test_those_who_wait_for_upstream(
    open_wire: OpenWire, target: str, fields: tuple[str, ...], status: int, members: dict[str, Any] | None
) -> None:
    """Who has no head yet gets a whole answer, in the shape and with the status that the client reads."""
    wire = open_wire(models=None, drain="2")
    client = wire.client()
    if target == "/api/tags":
        client.gets(target, *fields)
    else:
        client.chats(*fields)
    wire.stops()
    wire.passes(2)
    assert client.answer.status == status
    assert client.answer.whole
    told_of = client.answer.json["error"]
    if members is None:
        assert told_of == STOPPED
    else:
        assert told_of == {**told_of, **members, "message": STOPPED}
    assert all(upstream.closed for upstream in wire.connections)
    assert wire.stopped


def test_those_who_wait_for_a_connection(open_wire: OpenWire) -> None:
    """Who waits for upstream to take the connection is told, and it is not made any more."""
    wire = open_wire(drain="3")
    wire.silent = True
    client = wire.client()
    client.chats()
    (connector,) = wire.clock.connectors
    wire.stops()
    wire.passes(3.1)
    assert client.answer.json["error"]["message"] == STOPPED
    assert connector.stoppedConnecting
    assert wire.stopped


def test_those_who_wait_for_the_model(open_wire: OpenWire) -> None:
    """A chat that waits for llama-server to load its model is told when it next looks, within a second."""
    wire = open_wire(drain="3")
    client, upstream = wire.chat()
    upstream.tells({"error": {"message": "Loading model"}}, 503)
    wire.stops()
    wire.passes(3)
    wire.passes(1)
    assert client.answer.status == 503
    assert client.answer.json["error"]["message"] == STOPPED
    assert wire.stopped


def test_answers_in_one_piece(open_wire: OpenWire) -> None:
    """An answer that is no stream and has begun is cut: the end without its rest tells."""
    wire = open_wire(drain="0")
    client, upstream = wire.chat()
    upstream.sends(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome")
    wire.stops()
    assert client.answer.body == b"some"
    assert not client.answer.whole
    assert upstream.closed
    assert wire.stopped


def test_a_client_that_does_not_end(open_wire: OpenWire) -> None:
    """A client that neither sends the rest of its request nor leaves is given up after two more seconds."""
    wire = open_wire(drain="3")
    client = wire.client()
    client.sends(b"GET /slots HTTP/1.1\r\n")
    wire.stops()
    wire.passes(4.9)
    assert not client.transport.aborted
    wire.passes(0.2)
    assert client.transport.aborted
    assert wire.stopped


def test_requests_that_come_too_late(open_wire: OpenWire) -> None:
    """What would ask upstream after the last word has been said is refused in the same words."""
    wire = open_wire(drain="0")
    client = wire.client()
    client.sends(b"GET /slots HTTP/1.1\r\n")
    wire.stops()
    client.sends(b"Host: localhost\r\n\r\n")
    assert client.answer.status == 503
    assert client.answer.json["error"]["message"] == STOPPED
    assert wire.stopped


def test_client_leaves_while_it_stops(wire: Wire) -> None:
    """A client that leaves while the proxy stops closes its upstream, and nobody is waited for."""
    client, upstream = streaming(wire)
    wire.stops()
    client.leaves(error.ConnectionLost())
    assert upstream.closed
    assert wire.stopped
