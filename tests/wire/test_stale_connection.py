"""What happens to a request that meets a kept connection in the moment in which upstream closes it?"""

from __future__ import annotations

import pytest
from twisted.internet import error

from copilot_proxy.upstream.client import IDLE_CONNECTIONS, IDLE_SECONDS
from tests.wire.message import EVENTS_HEAD, answer, chunk, event
from tests.wire.pair import Wire
from tests.wire.peers import Client, UpstreamConnection

CLOSES = [error.ConnectionDone(), error.ConnectionLost()]


def kept(wire: Wire, count: int = 1) -> list[UpstreamConnection]:
    """Connections that stay open after an answer each."""
    clients = [wire.client() for _ in range(count)]
    for client in clients:
        client.gets("/slots")
    opened = wire.asked
    for connection in opened:
        connection.answers(200, b"[]")
    assert not any(connection.closed for connection in opened)
    return opened


def chats(wire: Wire) -> Client:
    client = wire.client()
    client.chats()
    return client


def test_connection_is_used_again(wire: Wire) -> None:
    """A request goes over a connection that was kept, and opens no new one."""
    (connection,) = kept(wire)
    chats(wire)
    assert wire.connections == [connection]
    assert connection.request.target == b"/v1/chat/completions"


@pytest.mark.parametrize("how", CLOSES, ids=["closed", "reset"])
def test_kept_connection_that_closes(wire: Wire, how: Exception) -> None:
    """A chat that meets a closing kept connection is sent once more, with its body, on a new one."""
    (stale,) = kept(wire)
    client = chats(wire)
    sent = stale.request
    stale.leaves(how)
    (again,) = wire.asked
    assert again is not stale
    assert (again.request.start, again.request.body) == (sent.start, sent.body)
    assert set(sent.fields) <= set(again.request.fields)
    assert b'"hi"' in sent.body
    again.sends(EVENTS_HEAD + chunk(event("word")))
    assert client.answer.body == event("word")


def test_it_is_sent_once_more_only(wire: Wire) -> None:
    """Where the new connection closes without an answer as well, the client is told."""
    (stale,) = kept(wire)
    client = chats(wire)
    stale.leaves()
    wire.asked[0].leaves()
    assert client.answer.status == 502
    assert wire.asked == []
    assert len(wire.connections) == 2


def test_every_kept_connection_is_stale(wire: Wire) -> None:
    """Where upstream closes all kept connections as they are used, the request reaches it on a new one."""
    stale = kept(wire, 2)
    chats(wire)
    for _ in stale:
        for connection in wire.asked:
            if connection in stale:
                connection.leaves()
    (again,) = wire.asked
    assert again not in stale


def test_fresh_connection_that_closes(wire: Wire) -> None:
    """A new connection that closes without an answer is not tried again: upstream may have died of it."""
    client, upstream = wire.chat()
    upstream.leaves()
    assert client.answer.status == 502
    assert len(wire.connections) == 1


def test_connection_that_closes_inside_its_head(wire: Wire) -> None:
    """A kept connection that brought some of an answer is not tried again: upstream has read the request."""
    (stale,) = kept(wire)
    client = chats(wire)
    stale.sends(EVENTS_HEAD[:20])
    stale.leaves()
    assert client.answer.status == 502
    assert wire.asked == []


def test_client_that_left_is_not_served_again(wire: Wire) -> None:
    """A request whose client has left is not sent a second time."""
    (stale,) = kept(wire)
    client = chats(wire)
    client.leaves()
    assert stale.closed
    assert wire.asked == []
    assert len(wire.connections) == 1


def test_too_late_is_not_stale(wire: Wire) -> None:
    """A kept connection on which no answer comes in time is a 504, and not a reason to ask again."""
    kept(wire)
    client = chats(wire)
    wire.passes(600.1)
    assert client.answer.status == 504
    assert len(wire.connections) == 1


def test_upstream_closes_an_idle_connection(wire: Wire) -> None:
    """A kept connection that closes while nobody uses it is forgotten."""
    (idle,) = kept(wire)
    idle.leaves()
    chats(wire)
    assert wire.asked[0] is not idle


def test_idle_connections_are_closed_in_time(wire: Wire) -> None:
    """A kept connection is closed after four seconds, before llama-server would do it after five."""
    (idle,) = kept(wire)
    wire.passes(IDLE_SECONDS - 0.1)
    assert not idle.closed
    wire.passes(0.2)
    assert idle.closed


def test_few_connections_are_kept(wire: Wire) -> None:
    """Of many connections only some stay, since llama-server's idle ones delay new ones."""
    clients = [chats(wire) for _ in range(IDLE_CONNECTIONS + 3)]
    opened = wire.asked
    assert len(opened) == len(clients)
    for connection in opened:
        connection.sends(answer(200, b"{}"))
    assert sum(not connection.closed for connection in opened) == IDLE_CONNECTIONS
    assert [client.answer.status for client in clients] == [200] * len(clients)


def test_upstreams_connection_close(wire: Wire) -> None:
    """A connection that upstream wants closed is not kept."""
    client = chats(wire)
    (closing,) = wire.asked
    closing.answers(200, b"{}", "Connection: close")
    assert client.answer.status == 200
    assert closing.closed
