"""What is strange and still a request, and what would hang or loop, is answered in our own words."""

from __future__ import annotations

import json

import pytest

from tests.wire.message import answer, request
from tests.wire.pair import OpenWire, Wire


@pytest.mark.parametrize("host", ["a..b", "a" * 70 + ".example", "\xff", ""])
def test_host_that_is_no_name(open_wire: OpenWire, host: str) -> None:
    """Where every host is allowed, no Host header keeps a request from its route."""
    wire = open_wire(allowed_host=["*"])
    client = wire.client()
    client.sends(request("GET", "/api/version", host=host))
    assert client.answer.status == 200
    assert "version" in client.answer.json


def test_json_behind_white_space(wire: Wire) -> None:
    """JSON is minified whatever stands before it, and without a content type."""
    client = wire.client()
    client.sends(request("POST", "/tokenize", body=b'\n\r\n {"content":  "hi"}'))
    assert wire.asked[0].request.body == b'{"content":"hi"}'


def test_upstream_is_the_proxy_itself(wire: Wire) -> None:
    """A request that the proxy sent itself is refused, and says what is wrong."""
    first = wire.client()
    first.gets("/slots")
    own = (wire.asked[0].request.field(b"via") or b"").decode()
    client = wire.client()
    client.gets("/slots", f"Via: {own}")
    assert client.answer.status == 508
    assert "this proxy itself" in client.answer.json["error"]["message"]
    assert len(wire.connections) == 1


def test_cookie_that_is_not_ascii(wire: Wire) -> None:
    """A cookie of upstream's reaches its client as it is, and is not read on the way."""
    client = wire.client()
    client.gets("/slots")
    wire.asked[0].sends(answer(200, b"[]", "Set-Cookie: a=\xfc"))
    assert client.answer.status == 200
    assert client.answer.field(b"set-cookie") == b"a=\xfc"


def test_zipped_stream_passes(wire: Wire) -> None:
    """A stream that upstream zips all the same passes as it comes: no event's end can be seen in it."""
    client = wire.client()
    client.posts("/v1/other", {"stream": True})
    head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Encoding: gzip\r\n"
    wire.asked[0].sends(f"{head}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n".encode())
    assert client.received.endswith(b"abc\r\n")


@pytest.mark.parametrize("path", ["/v1/responses", "/v1/messages", "/v1/chat/completions"])
def test_no_stream_is_zipped(wire: Wire, path: str) -> None:
    """Where answers may be streams, upstream is not asked to zip them."""
    client = wire.client()
    client.posts(path, {"messages": []}, "Accept-Encoding: gzip")
    assert wire.asked[0].request.field(b"accept-encoding") == b"identity"


def test_model_that_came_later(open_wire: OpenWire) -> None:
    """A name that nobody knew is asked for once more when some time has passed."""
    wire = open_wire(models=("/models/A.gguf",))
    wire.passes(11)
    wire.client().chats(model="B")
    listed = {"data": [{"id": "/models/B.gguf", "object": "model"}]}
    wire.serves({"/v1/models": listed, "/props": {}, "/v1/chat/completions": {}})
    sent = [json.loads(peer.request.body) for peer in wire.connections if peer.request.method == b"POST"]
    assert [body["model"] for body in sent] == ["/models/B.gguf"]


def test_one_bad_model_of_several(open_wire: OpenWire) -> None:
    """A3: a router's model that cannot be asked about does not break the listing of the others."""
    wire = open_wire(models=None)
    wire.passes(3)
    client = wire.client()
    client.gets("/api/tags")
    loaded = {"value": "loaded"}
    wire.asked[0].tells({"data": [{"id": "a", "status": loaded}, {"id": "b", "status": loaded}]})
    while wire.asked:
        peer = wire.asked[0]
        bad = b"model=b" in peer.request.target
        peer.tells({"default_generation_settings": {"n_ctx": 4096}}, 503 if bad else 200)
    assert [model["name"] for model in client.answer.json["models"]] == ["a", "b"]
    assert "context_length" not in client.answer.json["models"][1]


def test_show_of_a_number(wire: Wire) -> None:
    """A model's name that is no text is a 400 of ours."""
    client = wire.client()
    client.sends(request("POST", "/api/show", body=b'{"model":1e999}'))
    assert client.answer.status == 400


def test_stream_that_is_called_json(wire: Wire) -> None:
    """A stream whose upstream calls it application/json reaches a Copilot client, the CLI, as what it is."""
    client = wire.client()
    client.chats("X-Initiator: user")
    head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    event = b'data: {"choices":[{"index":0,"delta":{"content":"x"},"finish_reason":"stop"}]}\n\n'
    wire.asked[0].sends(head.encode() + b"%x\r\n%b\r\n0\r\n\r\n" % (len(event), event))
    assert client.answer.field(b"content-type") == b"text/event-stream"
    assert client.answer.body.endswith(b"data: [DONE]\n\n")
    assert client.answer.whole
