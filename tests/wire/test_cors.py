"""Which web pages may use the proxy, and who says so?"""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet import error

from tests.wire.message import EVENTS_HEAD, request
from tests.wire.pair import OpenWire, Wire
from tests.wire.peers import Client

PAGE = "https://page.example"
ALLOWED = b"access-control-allow-origin"
UPSTREAMS_OWN = (
    "Access-Control-Allow-Origin: https://upstream.example",
    "Access-Control-Allow-Credentials: true",
    "Access-Control-Expose-Headers: X-Own",
)


def preflight(wire: Wire, origin: str = PAGE, *fields: str, path: str = "/v1/chat/completions") -> Client:
    client = wire.client()
    client.asks("OPTIONS", path, f"Origin: {origin}", "Access-Control-Request-Method: POST", *fields)
    return client


def test_every_page_may_by_default(wire: Wire) -> None:
    """By default every answer says `*`, whether it is the proxy's or upstream's."""
    client = wire.client()
    client.gets("/api/version", f"Origin: {PAGE}")
    assert client.answer.field(ALLOWED) == b"*"
    client, upstream = wire.chat()
    upstream.sends(EVENTS_HEAD)
    assert client.answer.field(ALLOWED) == b"*"


def test_errors_say_it_too(wire: Wire) -> None:
    """A page can read errors as well."""
    wire.refusal = error.ConnectionRefusedError()
    client = wire.client()
    client.chats(f"Origin: {PAGE}")
    assert client.answer.status == 502
    assert client.answer.field(ALLOWED) == b"*"


def test_preflight_is_answered_here(wire: Wire) -> None:
    """A preflight gets a 204 with what was asked for, and upstream does not see it."""
    wanted = "authorization, content-type, x-stainless-os"
    client = preflight(wire, PAGE, f"Access-Control-Request-Headers: {wanted}")
    assert client.answer.status == 204
    assert client.answer.field(ALLOWED) == b"*"
    assert b"POST" in (client.answer.field(b"access-control-allow-methods") or b"")
    assert client.answer.field(b"access-control-allow-headers") == wanted.encode()
    assert int(client.answer.field(b"access-control-max-age") or 0) > 0
    assert client.answer.field(b"content-length") is None
    assert wire.connections == []


def test_preflight_of_any_path(wire: Wire) -> None:
    """A preflight of a path that only upstream knows is answered here too."""
    assert preflight(wire, path="/slots").answer.status == 204


def test_preflight_without_asked_headers(wire: Wire) -> None:
    """Where no header is asked for by name, those that chats have are allowed."""
    allowed = preflight(wire).answer.field(b"access-control-allow-headers")
    assert allowed == b"Authorization, Content-Type"


def test_private_network(wire: Wire) -> None:
    """A page of the internet that asks whether it may reach a private network may (Chromium)."""
    client = preflight(wire, PAGE, "Access-Control-Request-Private-Network: true")
    assert client.answer.field(b"access-control-allow-private-network") == b"true"
    assert preflight(wire).answer.field(b"access-control-allow-private-network") is None


def test_upstreams_own_headers_are_replaced(wire: Wire) -> None:
    """Upstream's CORS headers never reach the client, so that none is there twice."""
    client = wire.client()
    client.gets("/slots", f"Origin: {PAGE}")
    wire.asked[0].answers(200, b"[]", *UPSTREAMS_OWN)
    assert client.answer.field(ALLOWED) == b"*"
    assert client.answer.field(b"access-control-allow-credentials") is None
    assert client.answer.field(b"access-control-expose-headers") is None


@pytest.fixture
def restricted(open_wire: OpenWire) -> Wire:
    return open_wire(cors_origin=[PAGE, "vscode-webview://x,http://localhost:3000"])


@pytest.mark.parametrize(
    "origin", [PAGE, "HTTPS://Page.Example", "http://localhost:3000", "vscode-webview://x"]
)
def test_named_page_may(restricted: Wire, origin: str) -> None:
    """A page that the list names is named in the answer, and in its preflight's."""
    client = restricted.client()
    client.gets("/api/version", f"Origin: {origin}")
    assert client.answer.status == 200
    assert client.answer.field(ALLOWED) == origin.encode()
    assert client.answer.field(b"vary") == b"Origin"
    answer = preflight(restricted, origin).answer
    assert answer.status == 204
    assert answer.field(ALLOWED) == origin.encode()


@pytest.mark.parametrize("origin", ["https://other.example", "http://page.example", "null"])
def test_other_page_may_not(restricted: Wire, origin: str) -> None:
    """A page that the list does not name is refused, preflight or not, and upstream sees nothing of it."""
    client = restricted.client()
    client.chats(f"Origin: {origin}")
    assert client.answer.status == 403
    assert client.answer.field(ALLOWED) is None
    assert "--cors-origin" in client.answer.json["error"]["message"]
    assert preflight(restricted, origin).answer.status == 403
    assert restricted.connections == []


def test_programs_may(restricted: Wire) -> None:
    """A restricted list does not keep out programs, which send no Origin."""
    client = restricted.client()
    client.gets("/api/version")
    assert client.answer.status == 200
    assert client.answer.field(ALLOWED) is None


@pytest.mark.parametrize(
    ("host", "status"),
    [("127.0.0.1:11434", 200), ("[::1]:11434", 200), ("localhost:11434", 200), ("evil:11434", 403)],
)
def test_pages_of_the_proxy_itself(restricted: Wire, host: str, status: int) -> None:
    """A page of the proxy's own address may; one whose name leads here by DNS rebinding may not."""
    client = restricted.client()
    client.sends(request("GET", "/api/version", f"Origin: http://{host}", host=host))
    assert client.answer.status == status


def test_vary_is_added_to_upstreams(restricted: Wire) -> None:
    """Caches are told of both: what upstream varies by, and the Origin."""
    client = restricted.client()
    client.gets("/slots", f"Origin: {PAGE}")
    restricted.asked[0].answers(200, b"[]", "Vary: Accept-Encoding")
    assert client.answer.all(b"vary") == [b"Origin", b"Accept-Encoding"]


def test_none_turns_it_off(open_wire: OpenWire) -> None:
    """With `none` no answer allows anything, nobody is refused, and OPTIONS is upstream's."""
    wire: Any = open_wire(cors_origin=["none"])
    client = wire.client()
    client.gets("/slots", f"Origin: {PAGE}")
    wire.asked[0].answers(200, b"[]", *UPSTREAMS_OWN)
    assert client.answer.status == 200
    assert client.answer.field(ALLOWED) is None
    client = preflight(wire)
    wire.asked[0].answers(200)
    assert client.answer.status == 200
    assert client.answer.field(b"access-control-allow-methods") is None


def test_options_that_is_no_preflight(wire: Wire) -> None:
    """OPTIONS without an Origin is a request like any other."""
    wire.client().asks("OPTIONS", "/slots")
    assert wire.asked[0].request.method == b"OPTIONS"
