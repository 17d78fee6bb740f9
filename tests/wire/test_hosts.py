"""Who is refused for the name by which the proxy is asked, and how?"""

from __future__ import annotations

import pytest

from tests.wire.message import request
from tests.wire.pair import OpenWire, Wire
from tests.wire.peers import Client

EVIL = "evil.example:11434"


def asks(wire: Wire, method: str, target: str, *fields: str, host: str = EVIL) -> Client:
    client = wire.client()
    client.sends(request(method, target, *fields, host=host, body=b"{}" if method == "POST" else b""))
    return client


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", "/api/tags"),
        ("POST", "/api/show"),
        ("GET", "/api/nothing"),
        ("POST", "/api/tags"),
        ("POST", "/api/embed"),
    ],
)
def test_refused_in_ollamas_shape(wire: Wire, method: str, target: str) -> None:
    """A name that may be anybody's is refused on each path, and told which option allows it."""
    client = asks(wire, method, target)
    assert client.answer.status == 403
    assert "--allowed-host evil.example" in client.answer.json["error"]
    assert wire.asked == []


@pytest.mark.parametrize("target", ["/v1/chat/completions", "/slots", "/", "/v1/models"])
def test_refused_in_openais_shape(wire: Wire, target: str) -> None:
    """On the other paths it is OpenAI's error."""
    client = asks(wire, "POST", target)
    assert client.answer.status == 403
    assert client.answer.json["error"]["code"] == "host_not_allowed"
    assert wire.asked == []


def test_refusal_is_logged(wire: Wire) -> None:
    """The log tells who was asked for."""
    asks(wire, "GET", "/api/tags")
    (line,) = wire.lines
    assert line.startswith("127.0.0.1 GET /api/tags 403 ")
    assert "evil.example:11434" in line


def test_origin_comes_first(open_wire: OpenWire) -> None:
    """A page that may not ask is told so, whatever the host; one that may still needs an allowed host."""
    wire = open_wire(cors_origin=["https://page.example"])
    client = asks(wire, "GET", "/api/tags", "Origin: https://other.example")
    assert "--cors-origin" in client.answer.json["error"]
    client = asks(wire, "OPTIONS", "/api/tags", "Origin: https://page.example")
    assert client.answer.status == 403
    assert "--allowed-host" in client.answer.json["error"]
    assert client.answer.field(b"access-control-allow-origin") == b"https://page.example"


def test_options_of_an_allowed_name(wire: Wire) -> None:
    """OPTIONS under an allowed name is answered here; a preflight has what it asks for besides."""
    client = asks(wire, "OPTIONS", "/slots", host="localhost:11434")
    assert client.answer.status == 204
    assert client.answer.field(b"access-control-allow-methods") is None
    client = asks(wire, "OPTIONS", "/slots", "Origin: http://a", host="localhost:11434")
    assert client.answer.status == 204
    assert client.answer.field(b"access-control-allow-methods") is not None
    assert wire.asked == []
    assert asks(wire, "OPTIONS", "/api/tags", host="127.0.0.1:11434").answer.status == 405


def test_allowed_host(open_wire: OpenWire) -> None:
    """`--allowed-host` allows what it names."""
    wire = open_wire(allowed_host=["evil.example"])
    assert asks(wire, "GET", "/api/version").answer.status == 200
    assert asks(wire, "GET", "/api/version", host="other.example").answer.status == 403


def test_every_host_is_allowed(open_wire: OpenWire) -> None:
    """With `*` nobody is refused, and OPTIONS is upstream's again."""
    wire = open_wire(allowed_host=["*"])
    assert asks(wire, "GET", "/api/version").answer.status == 200
    asks(wire, "OPTIONS", "/slots", host="localhost")
    assert wire.asked[0].request.method == b"OPTIONS"


def test_no_host(wire: Wire) -> None:
    """A program that names no host is no page."""
    client = wire.client()
    client.sends(b"GET /api/version HTTP/1.0\r\n\r\n")
    assert client.answer.status == 200
