"""Does a request reach upstream, and its answer the client, as they were written?"""

from __future__ import annotations

import gzip
import json

import pytest

from tests.wire.message import answer
from tests.wire.pair import OpenWire, Wire

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"]


@pytest.mark.parametrize("method", METHODS)
def test_any_method_on_any_path(wire: Wire, method: str) -> None:
    """A path that the proxy does not know goes upstream as it is, and its answer comes back as it is."""
    client = wire.client()
    client.asks(method, "/slots/0?action=save&x=a%2Fb%20c|[1]", "Content-Type: text/plain", body=b"as it is")
    (upstream,) = wire.asked
    assert upstream.request.method == method.encode()
    assert upstream.request.target == b"/slots/0?action=save&x=a%2Fb%20c|[1]"
    assert upstream.request.body == b"as it is"
    assert upstream.request.field(b"content-type") == b"text/plain"
    upstream.answers(418, b"a teapot", "Content-Type: text/x-teapot", "X-Kind: green", phrase="I'm a teapot")
    assert client.answer.start == b"HTTP/1.1 418 I'm a teapot"
    assert client.answer.body == b"a teapot"
    assert client.answer.field(b"content-type") == b"text/x-teapot"
    assert client.answer.field(b"x-kind") == b"green"
    assert client.answer.field(b"content-length") == b"8"


def test_upstream_is_named_as_host(wire: Wire) -> None:
    """Upstream reads its own name in Host, and an Origin and an Expect that were for the proxy not at all."""
    client = wire.client()
    client.gets("/metrics", "Origin: https://page.example", "X-Conversation-Id: 7")
    (upstream,) = wire.asked
    assert upstream.request.field(b"host") == b"127.0.0.1:11433"
    assert upstream.request.field(b"origin") is None
    assert upstream.request.field(b"x-conversation-id") is None


@pytest.mark.parametrize("prefix", ["http://127.0.0.1:11433/llama/", "http://127.0.0.1:11433/llama/v1"])
def test_upstream_behind_a_prefix(open_wire: OpenWire, prefix: str) -> None:
    """The path of upstream's URL stands before every path, without the /v1 that guides put there."""
    wire = open_wire(models=None, upstream=prefix)
    wire.client().gets("/slots")
    assert wire.asked[0].request.target == b"/llama/slots"


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("//api//version/", None),
        ("/v1//slots//?a=//", b"/v1/slots?a=//"),
        ("/slots/", b"/slots"),
        ("///", None),
        ("/%2F/a/", b"/%2F/a"),
        ("/a/%2Fb", b"/a/%2Fb"),
        ("/a/../b/./c", b"/a/../b/./c"),
        ("/%C3%A9", b"/%C3%A9"),
        ("/v1/chat%2Fcompletions", b"/v1/chat%2Fcompletions"),
    ],
)
def test_slashes(wire: Wire, written: str, sent: bytes | None) -> None:
    """Duplicate and trailing slashes are tidied, and nothing else; the proxy's own paths are found."""
    client = wire.client()
    client.gets(written)
    if sent is None:
        assert client.answer.status == 200
        assert wire.asked == []
    else:
        assert [asked.request.target for asked in wire.asked] == [sent]


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/api/chat", b"/v1/chat/completions"),
        ("/api/generate", b"/v1/completions"),
        ("/api//chat/?debug=1", b"/v1/chat/completions?debug=1"),
        ("/chat/completions", b"/chat/completions"),
        ("/v1/chat/completions?x=y", b"/v1/chat/completions?x=y"),
        ("/v1/responses", b"/v1/responses"),
        ("/v1/messages?beta=true", b"/v1/messages?beta=true"),
    ],
)
def test_rewritten_paths(wire: Wire, path: str, target: bytes) -> None:
    """Ollama's two paths become OpenAI's, with the query; all others stay."""
    wire.client().posts(path, {"model": "tiny", "stream": True})
    assert [asked.request.target for asked in wire.asked] == [target]


def test_rewritten_body(wire: Wire) -> None:
    """A chat goes upstream minified, with usable tools, and with the order and spelling of the rest."""
    tools = b'[ {"type":"function","function":{"name":"f"}} ]'
    written = b'{ "model" : "tiny",\r\n "temperature": 1.0, "tools": ' + tools + b" }"
    wire.client().asks("POST", "/v1/chat/completions", body=written)
    sent = wire.asked[0].request
    tool = b'{"type":"function","function":{"name":"f","parameters":{"type":"object","properties":{}}}}'
    assert sent.body == b'{"model":"tiny","temperature":1.0,"tools":[' + tool + b"]}"
    assert sent.field(b"content-length") == str(len(sent.body)).encode()
    assert sent.field(b"transfer-encoding") is None


def test_chunked_body(wire: Wire) -> None:
    """A chunked body goes upstream with its length, which is known by then."""
    client = wire.client()
    client.sends(
        b"POST /tokenize HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
    )
    assert wire.asked == []
    client.sends(b"3\r\ndef\r\n0\r\n\r\n")
    assert wire.asked[0].request.body == b"abcdef"
    assert wire.asked[0].request.field(b"content-length") == b"6"


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b'[{"id":0,"scale":0.5}]'),
        ("application/json", b'[ {"id":0} ]'),
        ("multipart/form-data; boundary=x", b"--x\r\n\r\n{}\r\n--x--"),
        ("application/x-www-form-urlencoded", b"{not json"),
    ],
)
def test_bodies_that_are_no_object(wire: Wire, content_type: str, body: bytes) -> None:
    """A body of an unknown path that is no JSON object is upstream's to judge."""
    wire.client().asks("POST", "/lora-adapters", f"Content-Type: {content_type}", body=body)
    sent = wire.asked[0].request.body
    assert sent == body or json.loads(sent) == json.loads(body)


@pytest.mark.parametrize("content_type", ["application/json", "application/x-www-form-urlencoded", ""])
def test_object_on_an_unknown_path(open_wire: OpenWire, content_type: str) -> None:
    """A JSON object is one whatever its label, and gets upstream's name of the model."""
    wire = open_wire(models=("/models/tiny.gguf",))
    client = wire.client()
    client.asks("POST", "/v1/rerank", f"Content-Type: {content_type}", body=b'{"model": "tiny"}')
    assert wire.asked[0].request.body == b'{"model":"/models/tiny.gguf"}'
    wire.asked[0].answers(200, b"{}")
    assert client.answer.status == 200


def test_invalid_json_on_an_unknown_path(wire: Wire) -> None:
    """What calls itself JSON and is none is a 400 there too, unless it is zipped."""
    client = wire.client()
    client.asks("POST", "/v1/rerank", "Content-Type: application/json", body=b'{"model":')
    assert client.answer.status == 400
    assert "line 1" in client.answer.json["error"]["message"]
    zipped = gzip.compress(b"{}")
    fields = ("Content-Type: application/json", "Content-Encoding: gzip")
    wire.client().asks("POST", "/v1/rerank", *fields, body=zipped)
    assert wire.asked[0].request.body == zipped


def test_zipped_bodies_pass_both_ways(wire: Wire) -> None:
    """On a path that the proxy does not read, what is zipped stays zipped, and says so."""
    zipped = gzip.compress(b"x" * 100)
    client = wire.client()
    client.asks("POST", "/slots", "Content-Encoding: gzip", "Accept-Encoding: gzip, br", body=zipped)
    (upstream,) = wire.asked
    assert upstream.request.body == zipped
    assert upstream.request.field(b"content-encoding") == b"gzip"
    assert upstream.request.field(b"accept-encoding") == b"gzip, br"
    upstream.answers(200, zipped, "Content-Encoding: gzip")
    assert client.answer.body == zipped
    assert client.answer.field(b"content-encoding") == b"gzip"


def test_unzipped_answer_has_no_encoding(wire: Wire) -> None:
    """An answer without Content-Encoding gets none, not even an empty one."""
    client = wire.client()
    client.gets("/slots", "Accept-Encoding: gzip")
    wire.asked[0].answers(200, b"[]")
    assert client.answer.field(b"content-encoding") is None


@pytest.mark.parametrize("status", [204, 304])
def test_answer_without_a_body(wire: Wire, status: int) -> None:
    """A 204 has no Content-Length (RFC 9110 section 8.6), a 304 none that is made up."""
    client = wire.client()
    client.asks("DELETE", "/v1/stream")
    wire.asked[0].sends(b"HTTP/1.1 %d Fine\r\nETag: x\r\n\r\n" % status)
    assert client.answer.status == status
    assert client.answer.field(b"content-length") is None
    assert client.answer.field(b"etag") == b"x"
    client.gets("/slots")
    assert wire.asked != []


def test_head(wire: Wire) -> None:
    """HEAD goes upstream as HEAD, and tells no length that GET would not have."""
    client = wire.client()
    client.asks("HEAD", "/slots")
    (upstream,) = wire.asked
    assert upstream.request.method == b"HEAD"
    upstream.sends(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 123\r\n\r\n")
    assert client.answer.status == 200
    assert client.answer.field(b"content-length") in (None, b"123")
    client.gets("/slots")
    assert wire.asked != []


def test_redirects_are_the_clients(wire: Wire) -> None:
    """A redirect of upstream's is passed on, not followed."""
    client = wire.client()
    client.gets("/old")
    wire.asked[0].answers(308, b"", "Location: /new", phrase="Permanent Redirect")
    assert client.answer.status == 308
    assert client.answer.field(b"location") == b"/new"
    assert wire.asked == []


def test_model_name_resolves_back(open_wire: OpenWire) -> None:
    """A client's name for a model becomes upstream's, in chats and on any other path with a `model`."""
    wire = open_wire(models=("/models/tiny-Q4.gguf",))
    for name in ("tiny-Q4", "tiny-Q4:latest", "/models/tiny-Q4.gguf"):
        for path in ("/v1/chat/completions", "/v1/embeddings", "/api/chat"):
            wire.client().posts(path, {"model": name})
            assert json.loads(wire.asked[-1].request.body) == {"model": "/models/tiny-Q4.gguf"}


def test_debug_json(wire: Wire) -> None:
    """POST /debug/json gives the body back as it would be sent, without asking upstream."""
    client = wire.client()
    client.asks("POST", "/debug/json", body=b'{ "a" : [ 1.0, "\\u00e9" ] }')
    assert client.answer.status == 200
    assert client.answer.body == b'{"minified":{"a":[1.0,"\\u00e9"]}}'
    assert wire.connections == []


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(("path", "words"), [("/", b"Ollama is running"), ("/api/version", b'"version"')])
def test_ollama_is_here(wire: Wire, method: str, path: str, words: bytes) -> None:
    """Clients that look whether an Ollama is there find one, whether upstream is there or not."""
    client = wire.client()
    client.asks(method, path)
    assert client.answer.status == 200
    assert (words in client.answer.body) == (method == "GET")
    assert wire.connections == []


def test_interim_answers_of_upstream(wire: Wire) -> None:
    """Early hints before an answer are not the answer."""
    client = wire.client()
    client.gets("/slots")
    wire.asked[0].sends(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + answer(200, b"[]"))
    assert client.answer.body == b"[]"
    assert client.answer.field(b"link") is None
