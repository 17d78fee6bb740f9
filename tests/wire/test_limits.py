"""What may come in, and how much of it?"""

from __future__ import annotations

import tracemalloc

import pytest

from tests.wire.message import request
from tests.wire.pair import OpenWire, Wire
from tests.wire.peers import Client

MEBIBYTE = 1024 * 1024


def test_body_over_the_limit(open_wire: OpenWire) -> None:
    """A body over --body-limit is a 413 that names the option, and nothing of it goes upstream."""
    wire = open_wire(body_limit="1k")
    client = wire.client()
    client.asks("POST", "/v1/chat/completions", body=b"x" * 1025)
    assert client.answer.status == 413
    error = client.answer.json["error"]
    assert error["code"] == "body_too_large"
    assert "1024 bytes" in error["message"]
    assert "--body-limit" in error["message"]
    assert wire.connections == []


def test_body_at_the_limit(open_wire: OpenWire) -> None:
    """A body of exactly the limit passes."""
    wire = open_wire(body_limit="1k")
    wire.client().asks("POST", "/slots", body=b"x" * 1024)
    assert wire.asked[0].request.body == b"x" * 1024


def test_ollamas_shape(open_wire: OpenWire) -> None:
    """On Ollama's paths the 413 is in Ollama's shape."""
    wire = open_wire(body_limit="1k")
    client = wire.client()
    client.asks("POST", "//api/show", body=b"x" * 1025)
    assert client.answer.status == 413
    assert "--body-limit" in client.answer.json["error"]


def uploads(client: Client, framing: str, segment: bytes, count: int) -> int:
    """Send so many segments of a body; the most memory that it took, in bytes."""
    client.sends(f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n{framing}\r\n\r\n".encode())
    tracemalloc.start()
    try:
        for _ in range(count):
            client.sends(segment)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


PIECE = b"x" * 65536


def test_chunks_over_the_limit(open_wire: OpenWire) -> None:
    """What is over the limit is read and dropped: 50 MiB against a limit of 1 MiB cost less than 4 MiB."""
    client = open_wire(body_limit="1M").client()
    segment = b"%x\r\n%s\r\n" % (len(PIECE), PIECE)
    assert uploads(client, "Transfer-Encoding: chunked", segment, 800) < 4 * MEBIBYTE
    assert client.received == b"", "nobody knows yet how long it is"
    client.sends(b"0\r\n\r\n")
    assert client.answer.status == 413
    client.gets("/api/version")
    assert client.answers[-1].status == 200, "the connection goes on"


def test_length_over_the_limit(open_wire: OpenWire) -> None:
    """A body that says itself that it is too long is a 413 at once; what still comes of it is thrown away.

    A client may send all of it before it reads, so nothing is closed while it does but the other direction.
    """
    wire = open_wire(body_limit="1M")
    client = wire.client()
    assert uploads(client, f"Content-Length: {50 * MEBIBYTE}", PIECE, 1) < 4 * MEBIBYTE
    assert client.answer.status == 413
    assert client.answer.field(b"connection") == b"close"
    assert client.answer.whole
    assert client.transport.half_closed
    assert not client.closed
    for _ in range(799):
        client.sends(PIECE)
    assert client.transport.producerState == "producing", "it is read to its end"
    client.leaves()
    assert [line.partition(" total=")[0] for line in wire.lines] == [
        "127.0.0.1 POST /v1/chat/completions 413"
    ]


def test_length_over_the_limit_and_no_end(open_wire: OpenWire) -> None:
    """A client that was refused and sends for ever is cut off after five seconds."""
    wire = open_wire(body_limit="1k")
    client = wire.client()
    uploads(client, f"Content-Length: {MEBIBYTE}", b"x", 1)
    wire.passes(4.9)
    client.sends(b"x")
    assert not client.closed
    wire.passes(0.2)
    assert client.transport.aborted


def test_length_over_the_limit_of_who_asks_first(open_wire: OpenWire) -> None:
    """A client that asks whether it may send a body that is too long is told 413, and not to go on."""
    client = open_wire(body_limit="1k").client()
    client.sends(
        b"POST /slots HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 2000\r\n\r\n"
    )
    assert [answer.status for answer in client.answers] == [413]


def test_large_body_stays_in_memory(wire: Wire) -> None:
    """A body over twisted.web's 100 kB threshold goes upstream whole, and no temporary file is made."""
    body = b"y" * (3 * MEBIBYTE)
    wire.client().asks("POST", "/slots", body=body)
    assert wire.asked[0].request.body == body


@pytest.mark.parametrize("target", ["http://other.example/slots", "*", "other.example:80", "slots"])
def test_target_that_is_no_path(wire: Wire, target: str) -> None:
    """A target that would lead to another server than upstream is a 400."""
    client = wire.client()
    client.asks("OPTIONS" if target == "*" else "GET", target)
    assert client.answer.status == 400
    assert "/v1/models" in client.answer.json["error"]["message"]
    assert wire.connections == []


@pytest.mark.parametrize("target", ["/a\x7f", "/caf\xa9", "/a?q=\x80"])
def test_bytes_in_a_target(wire: Wire, target: str) -> None:
    """Bytes that are no printable ASCII are a 400, since nothing could pass them on as they are."""
    client = wire.client()
    client.gets(target)
    assert client.answer.status == 400
    assert "percent-encoded" in client.answer.json["error"]["message"]


@pytest.mark.parametrize("target", ["/a%0Ab", "/a%00b", "/%1b[31m"])
def test_path_that_does_not_print(wire: Wire, target: str) -> None:
    """A path with characters that control characters is a 400: Klein's routes cannot match a line end."""
    client = wire.client()
    client.gets(target)
    assert client.answer.status == 400
    assert "control characters" in client.answer.json["error"]["message"]
    assert wire.connections == []


@pytest.mark.parametrize("target", ["/%ff", "/a%80b?x"])
def test_path_that_is_no_utf_8(wire: Wire, target: str) -> None:
    """A path of other bytes than UTF-8 is a 400, in our words."""
    client = wire.client()
    client.gets(target)
    assert client.answer.status == 400
    assert "UTF-8" in client.answer.json["error"]["message"]


@pytest.mark.parametrize(
    "head",
    [
        "GET /a b HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET / HTTP/3.0\r\nHost: localhost\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        f"GET /{'a' * 20000} HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET / HTTP/1.1\r\n" + "X: y\r\n" * 501 + "\r\n",
    ],
    ids=["space", "version", "smuggled", "two lengths", "long", "many"],
)
def test_requests_that_are_no_http(wire: Wire, head: str) -> None:
    """What is no HTTP, or may be read in two ways, is refused or cut off before anything is made of it."""
    client = wire.client()
    client.sends(head.encode())
    assert client.received[:13] in (b"HTTP/1.1 400 ", b"")
    assert client.closed
    assert wire.connections == []


def test_expect_100(wire: Wire) -> None:
    """A client that waits for 100 Continue gets it, once, and upstream does not see the Expect."""
    client = wire.client()
    head = b"POST /slots HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
    client.sends(head)
    assert client.received == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.sends(b"abc")
    (upstream,) = wire.asked
    assert upstream.request.field(b"expect") is None
    assert upstream.request.body == b"abc"
    upstream.answers(200, b"done")
    assert [answer.status for answer in client.answers] == [100, 200]


def test_pipelined_requests(wire: Wire) -> None:
    """Requests that come together are answered in their order, the second when the first is done."""
    client = wire.client()
    client.sends(request("GET", "/slots") + request("GET", "/lora-adapters") + request("GET", "/api/version"))
    (upstream,) = wire.asked
    assert upstream.request.target == b"/slots"
    upstream.answers(200, b"first")
    (upstream,) = wire.asked
    assert upstream.request.target == b"/lora-adapters"
    upstream.answers(200, b"second")
    assert [answer.body for answer in client.answers[:2]] == [b"first", b"second"]
    assert client.answers[2].json["version"]


def test_connection_close(wire: Wire) -> None:
    """A client that asks for the end of its connection gets it after the answer."""
    client = wire.client()
    client.gets("/api/version", "Connection: close")
    assert client.answer.status == 200
    assert client.closed


def test_idle_client(wire: Wire) -> None:
    """A client that says nothing for a minute is let go; one that waits for upstream is not."""
    idle, waiting = wire.client(), wire.client()
    waiting.chats()
    wire.passes(61)
    assert idle.closed
    assert not waiting.closed


def test_read_only_temporary_folder(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """No body needs a temporary file, so that a container may be read-only."""
    monkeypatch.setattr("tempfile.TemporaryFile", lambda *_: pytest.fail("a temporary file was made"))
    client = wire.client()
    client.sends(
        b"POST /slots HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    )
    assert wire.asked[0].request.body == b"abc"
