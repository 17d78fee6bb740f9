"""What does a client read when its request cannot be served?"""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet import error
from twisted.internet.defer import fail
from twisted.logger import LogLevel

from copilot_proxy.errors import UpstreamTLS
from tests.wire.message import EVENTS_HEAD
from tests.wire.pair import OpenWire, Wire
from tests.wire.peers import Client

VS_CODE = "User-Agent: GitHubCopilotChat/0.67.0"
WRITTEN = '{"model":"tiny",\n "messages":[}'


def told(client: Client) -> dict[str, Any]:
    """OpenAI's error object."""
    assert client.answer.field(b"content-type") == b"application/json"
    found = client.answer.json["error"]
    assert set(found) == {"message", "type", "code"}
    return dict(found)


@pytest.mark.parametrize(
    "path", ["/v1/chat/completions", "/chat/completions", "/v1/completions", "/debug/json"]
)
def test_invalid_json_says_where(wire: Wire, path: str) -> None:
    """A body that is no JSON is a 400 with the line, the column and what stands there."""
    client = wire.client()
    client.asks("POST", path, "Content-Type: application/json", body=WRITTEN.encode())
    assert client.answer.status == 400
    assert told(client)["code"] == "invalid_json"
    assert "line 2, column 14" in told(client)["message"]
    assert "[}" in told(client)["message"]
    assert wire.asked == []


def test_invalid_json_says_where_to_ollamas_clients(wire: Wire) -> None:
    """On a path of Ollama's the same complaint is in Ollama's shape."""
    client = wire.client()
    client.asks("POST", "/api/show", body=WRITTEN.encode())
    assert client.answer.status == 400
    assert "line 2, column 14" in client.answer.json["error"]


@pytest.mark.parametrize(("body", "what"), [(b"[]", "an array"), (b'"x"', "a string"), (b"", "empty")])
def test_json_that_is_no_object(wire: Wire, body: bytes, what: str) -> None:
    """A chat that is JSON and no object is a 400 that says what it is."""
    client = wire.client()
    client.asks("POST", "/v1/chat/completions", body=body)
    assert client.answer.status == 400
    assert what in told(client)["message"]


def test_zipped_body(wire: Wire) -> None:
    """A compressed chat is a 415 that says what to send."""
    client = wire.client()
    client.asks("POST", "/v1/chat/completions", "Content-Encoding: gzip", body=b"\x1f\x8b")
    assert client.answer.status == 415
    assert "Content-Encoding" in told(client)["message"]


REFUSALS = [
    (error.ConnectionRefusedError(), 502, "upstream_refused", "is it running?"),
    (error.ConnectError(osError=113, string="No route to host"), 502, "upstream_refused", "No route"),
    (error.DNSLookupError("no such host"), 502, "upstream_dns", "is the name right?"),
    (error.UnknownHostError(), 502, "upstream_dns", "is the name right?"),
    (UpstreamTLS("no TLS handshake"), 502, "upstream_tls", "no TLS handshake"),
    (error.TimeoutError(), 504, "upstream_timeout", "--connect-timeout"),
    (error.TCPTimedOutError(), 504, "upstream_timeout", "--connect-timeout"),
    (FileNotFoundError(2, "No such file"), 502, "upstream_refused", "is it running?"),
]


@pytest.mark.parametrize(("refusal", "status", "code", "words"), REFUSALS)
def test_no_connection(wire: Wire, refusal: Exception, status: int, code: str, words: str) -> None:
    """Each way in which upstream cannot be reached has its status, its code and its advice."""
    wire.refusal = refusal
    client = wire.client()
    client.chats()
    assert client.answer.status == status
    assert told(client)["code"] == code
    assert words in told(client)["message"]
    assert "127.0.0.1:11433" in told(client)["message"] or code == "upstream_tls"
    assert not client.closed


def test_real_tls_failure(wire: Wire) -> None:
    """What OpenSSL raises in a handshake is told as one that failed."""
    from OpenSSL import SSL

    client, upstream = wire.chat()
    upstream.leaves(SSL.Error([("SSL routines", "", "certificate verify failed")]))
    assert client.answer.status == 502
    assert told(client)["code"] == "upstream_tls"
    assert "certificate verify failed" in told(client)["message"]


def test_upstream_closes_without_a_byte(wire: Wire) -> None:
    """A new connection that upstream closes without an answer is a 502, and is not asked a second time."""
    client, upstream = wire.chat()
    upstream.leaves()
    assert client.answer.status == 502
    assert told(client)["code"] == "upstream_lost"
    assert wire.asked == []


@pytest.mark.parametrize("garbage", [b"hello\r\n\r\n", b"HTTP/1.1 abc OK\r\n\r\n", b"\x16\x03\x01\r\n"])
def test_answer_that_is_no_http(wire: Wire, garbage: bytes) -> None:
    """What is no HTTP at all is a 502."""
    client, upstream = wire.chat()
    upstream.sends(garbage)
    upstream.leaves()
    assert client.answer.status == 502
    assert told(client)["type"] == "upstream_error"


def test_head_that_breaks_off(wire: Wire) -> None:
    """Half a head is a 502, since nothing of it has been passed on."""
    client, upstream = wire.chat()
    upstream.sends(EVENTS_HEAD[:30])
    assert client.received == b""
    upstream.leaves()
    assert client.answer.status == 502
    assert told(client)["code"] == "upstream_lost"


def test_first_byte_too_late(wire: Wire) -> None:
    """Without a head in time the client gets a 504 that names the option, and upstream is closed."""
    client, upstream = wire.chat()
    wire.passes(599.9)
    assert client.received == b""
    wire.passes(0.2)
    assert client.answer.status == 504
    assert told(client)["code"] == "upstream_timeout"
    assert "--first-byte-timeout" in told(client)["message"]
    assert upstream.closed


def test_first_byte_timeout_is_an_option(open_wire: OpenWire) -> None:
    """`--first-byte-timeout` is what counts, and it does not count once the head is there."""
    wire = open_wire(first_byte_timeout="3")
    late, _ = wire.chat()
    client, upstream = wire.chat()
    upstream.sends(EVENTS_HEAD)
    wire.passes(3.1)
    assert late.answer.status == 504
    wire.passes(3600)
    assert client.answer.status == 200
    assert not upstream.closed


def test_ollamas_shape(open_wire: OpenWire) -> None:
    """On Ollama's paths, and for Ollama's clients on the shared ones, an error is one text."""
    wire = open_wire(models=None)
    wire.refusal = error.ConnectionRefusedError()
    for path in ("/api/tags", "/api/ps"):
        client = wire.client()
        client.gets(path)
        assert client.answer.status == 502
        assert "is it running?" in client.answer.json["error"]


def test_shape_on_the_shared_paths(wire: Wire) -> None:
    """On /api/chat the shape of an error is that of the dialect which the request is written in."""
    wire.refusal = error.ConnectionRefusedError()
    client = wire.client()
    client.posts("/api/chat", {"model": "tiny", "messages": []})
    assert told(client)["code"] == "upstream_refused"
    other = wire.client()
    other.asks("POST", "/api/chat", "Accept: application/x-ndjson", body=b"{")
    assert other.answer.status == 400
    assert isinstance(other.answer.json["error"], str)


def test_vs_code_gets_a_400(wire: Wire) -> None:
    """VS Code drops the body of a 5xx, so it is told the same as a 400."""
    wire.refusal = error.ConnectionRefusedError()
    client = wire.client()
    client.chats(VS_CODE)
    assert client.answer.status == 400
    assert told(client)["code"] == "upstream_refused"


@pytest.mark.parametrize(("status", "shown"), [(500, 400), (503, 400), (401, 400), (429, 400), (404, 404)])
def test_vs_code_gets_upstreams_errors_as_400(wire: Wire, status: int, shown: int) -> None:
    """What VS Code would misread of upstream's own statuses is a 400 too, with upstream's body."""
    client = wire.client()
    client.chats(VS_CODE)
    wire.asked[0].answers(status, b'{"error":{"message":"no"}}', phrase="Its Phrase")
    assert client.answer.status == shown
    assert client.answer.body == b'{"error":{"message":"no"}}'
    assert (b"Its Phrase" in client.answer.start) == (status == shown)


def test_a_defect_of_ours(open_wire: OpenWire, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception that nobody foresaw is a 500 in the client's shape, and is logged with its traceback."""
    wire = open_wire()
    monkeypatch.setattr("copilot_proxy.upstream.models.Models.listing", lambda self: 1 / 0)
    client = wire.client()
    client.gets("/v1/models")
    assert client.answer.status == 500
    assert told(client)["code"] == "internal_error"
    (logged,) = [event for event in wire.log if event["log_level"] is LogLevel.critical]
    assert logged["log_failure"].check(ZeroDivisionError)
    wire.log.remove(logged)


def test_a_defect_of_ours_on_the_way_up(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """A defect in what sends requests is not blamed on upstream."""
    monkeypatch.setattr("copilot_proxy.upstream.agent.Plain.request", lambda self, *_: fail(KeyError("ours")))
    client = wire.client()
    client.gets("/slots")
    assert client.answer.status == 500
    (logged,) = [event for event in wire.log if event["log_level"] is LogLevel.critical]
    assert logged["log_failure"].check(KeyError)
    wire.log.remove(logged)


def test_a_defect_of_ours_after_the_head(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception after the head never ends the answer as if it were whole."""
    client, upstream = wire.chat()
    monkeypatch.setattr("copilot_proxy.stream.relay.EventRelay.connectionMade", lambda self: 1 / 0)
    upstream.sends(EVENTS_HEAD)
    assert client.answer.status == 200
    assert not client.answer.whole
    assert client.closed
    (logged,) = [event for event in wire.log if event["log_level"] is LogLevel.critical]
    assert logged["log_failure"].check(ZeroDivisionError)
    wire.log.remove(logged)
