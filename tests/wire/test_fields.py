"""Which header fields reach upstream, and which the client?"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.wire.llama import server
from tests.wire.pair import OpenWire, Wire


def test_hop_by_hop_fields_of_a_request(wire: Wire) -> None:
    """What belongs to the client's connection, or is named by its Connection, does not go upstream."""
    client = wire.client()
    client.gets(
        "/slots", "Connection: keep-alive, X-Hop", "X-Hop: 1", "Keep-Alive: timeout=5", "TE: trailers",
        "Upgrade: h2c", "Proxy-Authorization: Basic eA==", "Proxy-Connection: x", "X-Request-Id: 7",
    )  # fmt: skip
    sent = wire.asked[0].request
    for name in (b"x-hop", b"keep-alive", b"te", b"upgrade", b"proxy-authorization", b"proxy-connection"):
        assert sent.field(name) is None
    assert sent.field(b"connection") in (None, b"keep-alive")
    assert sent.field(b"x-request-id") == b"7"


def test_hop_by_hop_fields_of_an_answer(wire: Wire) -> None:
    """What belongs to upstream's connection does not reach the client; what is sent twice does twice."""
    client = wire.client()
    client.gets("/slots")
    wire.asked[0].answers(
        200, b"[]", "Connection: keep-alive", "Keep-Alive: timeout=5, max=100", "X-Two: a", "X-Two: b",
        "Proxy-Authenticate: Basic", "Upgrade: h2c", "Server: llama.cpp",
    )  # fmt: skip
    for name in (b"keep-alive", b"connection", b"proxy-authenticate", b"upgrade"):
        assert client.answer.field(name) is None
    assert client.answer.all(b"x-two") == [b"a", b"b"]
    assert client.answer.field(b"server") == b"llama.cpp"
    assert client.answer.field(b"date")


@pytest.mark.parametrize("bearer", ["Bearer", "Bearer ", "bearer", ""])
def test_empty_bearer_is_not_forwarded(wire: Wire, bearer: str) -> None:
    """The empty bearer that Copilot sends without a key does not go upstream, nor does an empty X-Api-Key."""
    wire.client().chats(f"Authorization: {bearer}", "X-Api-Key:")
    assert wire.asked[0].request.field(b"authorization") is None
    assert wire.asked[0].request.field(b"x-api-key") is None


def test_clients_own_key_passes(wire: Wire) -> None:
    """A key that a client does have goes upstream as it is."""
    wire.client().chats("Authorization: Bearer sk-own", "X-Api-Key: own")
    assert wire.asked[0].request.field(b"authorization") == b"Bearer sk-own"
    assert wire.asked[0].request.field(b"x-api-key") == b"own"


def test_configured_key_replaces_the_clients(open_wire: OpenWire, tmp_path: Path) -> None:
    """With --upstream-key-file, upstream sees that key in every request and no other."""
    file = tmp_path / "key"
    file.write_text("sk-server\n")
    wire = open_wire(models=None, upstream_key_file=str(file))
    wire.client().chats("Authorization: Bearer sk-own", "X-Api-Key: own")
    assert wire.asked[0].request.field(b"authorization") == b"Bearer sk-server"
    wire.serves(server("tiny"))
    wire.client().chats("Authorization: Bearer sk-own", "X-Api-Key: own")
    for connection in wire.connections:
        assert connection.request.field(b"authorization") == b"Bearer sk-server"
        assert connection.request.field(b"x-api-key") is None


def test_cookies_are_not_shared(wire: Wire) -> None:
    """A cookie that upstream sets for one client reaches that client, and no request of another."""
    one, other = wire.client(), wire.client()
    one.gets("/slots", "Cookie: mine=1")
    assert wire.asked[0].request.field(b"cookie") == b"mine=1"
    wire.asked[0].answers(200, b"[]", "Set-Cookie: session=one; Path=/")
    assert one.answer.field(b"set-cookie") == b"session=one; Path=/"
    other.gets("/slots")
    assert wire.asked[0].request.field(b"cookie") is None
