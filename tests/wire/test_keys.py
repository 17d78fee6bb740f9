"""What may who ask, where --api-key-file is given?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.wire.attended import VS_CODE
from tests.wire.pair import OpenWire, Wire

RIGHT = "Authorization: Bearer right-key"
WRONG = "Authorization: Bearer wrong-key"
MARK = "Access-Control-Request-Method: POST"
LISTINGS = (
    "/api/tags",
    "/api/ps",
    "/api/version",
    "/v1/models",
    "/models",
    "/api/models",
    "/api/experimental/model-recommendations",
)
OpenLocked = Callable[..., Wire]


@pytest.fixture
def locked(open_wire: OpenWire, tmp_path: Path) -> OpenLocked:
    """Makes a proxy that asks for a key."""
    file = tmp_path / "keys"
    file.write_text("# of the team\nright-key\n")

    def opened(**flags: Any) -> Wire:
        return open_wire(api_key_file=str(file), **flags)

    return opened


@pytest.mark.parametrize("key", [(), (WRONG,), ("Authorization: Bearer",), ("X-Api-Key: wrong-key",)])
def test_without_a_right_key(locked: OpenLocked, key: tuple[str, ...]) -> None:
    """A chat without a right key is a 401 that says what to send, and nothing of it goes upstream."""
    wire = locked()
    client = wire.client()
    client.chats(*key)
    assert client.answer.status == 401
    assert client.answer.field(b"www-authenticate") == b"Bearer"
    assert client.answer.field(b"access-control-allow-origin") == b"*"
    error = client.answer.json["error"]
    assert (error["type"], error["code"]) == ("authentication_error", "key_refused")
    assert "`Authorization: Bearer KEY`" in error["message"]
    assert error["message"].startswith("this key" if "wrong" in "".join(key) else "this proxy asks for a key")
    assert "open-listings" not in error["message"]
    assert wire.connections == []
    (line,) = wire.lines
    assert " 401 " in line
    assert "wrong-key" not in line


@pytest.mark.parametrize("key", [RIGHT, "authorization: bearer right-key", "X-Api-Key: right-key"])
def test_with_a_right_key(locked: OpenLocked, key: str) -> None:
    """A chat with a right key goes upstream, and the key does not."""
    wire = locked()
    client = wire.client()
    client.chats(key)
    (upstream,) = wire.asked
    assert upstream.request.field(b"authorization") is None
    assert upstream.request.field(b"x-api-key") is None
    assert b"right-key" not in upstream.received


def test_llama_servers_own_key(locked: OpenLocked, tmp_path: Path) -> None:
    """Upstream gets its own key, in place of the client's."""
    file = tmp_path / "upstream"
    file.write_text("theirs")
    wire = locked(upstream_key_file=str(file))
    wire.client().chats("X-Api-Key: right-key")
    (upstream,) = wire.asked
    assert upstream.request.field(b"authorization") == b"Bearer theirs"
    assert upstream.request.field(b"x-api-key") is None


def test_no_keys_are_set(wire: Wire) -> None:
    """Without --api-key-file a client's key is llama-server's, and passes."""
    wire.client().chats(WRONG)
    assert wire.asked[0].request.field(b"authorization") == b"Bearer wrong-key"


def test_shapes(locked: OpenLocked) -> None:
    """On Ollama's paths the refusal is in Ollama's shape; VS Code, which misreads a 401, gets a 400."""
    wire = locked()
    client = wire.client()
    client.posts("/api/show", {"model": "tiny"})
    assert client.answer.status == 401
    assert client.answer.json["error"].startswith("this proxy asks for a key")
    client = wire.client()
    client.chats(VS_CODE)
    assert client.answer.status == 400
    assert client.answer.json["error"]["code"] == "key_refused"


@pytest.mark.parametrize("target", ["/", "/health", "/health/live", "//health/"])
def test_open_to_everybody(locked: OpenLocked, target: str) -> None:
    """Whether the proxy is there, and well, is told to everybody."""
    client = locked().client()
    client.gets(target)
    assert client.answer.status == 200


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("POST", "/health"),
        ("DELETE", "/"),
        ("GET", "/health/other"),
        ("GET", "/slots"),
        ("OPTIONS", "/slots"),
    ],
)
def test_not_open(locked: OpenLocked, method: str, target: str) -> None:
    """Anything else needs a key, on whatever path it stands."""
    wire = locked()
    client = wire.client()
    client.asks(method, target)
    assert client.answer.status == 401
    assert wire.connections == []


def test_preflights(locked: OpenLocked) -> None:
    """A browser asks whether it may without a key, and is answered."""
    client = locked().client()
    client.asks("OPTIONS", "/v1/chat/completions", "Origin: https://a.example", MARK)
    assert client.answer.status == 204


@pytest.mark.parametrize("target", LISTINGS)
def test_listings(locked: OpenLocked, target: str) -> None:
    """Listings need a key, and the refusal names the option that opens them."""
    wire = locked()
    client = wire.client()
    client.gets(target)
    assert client.answer.status == 401
    assert "--open-listings" in client.answer.body.decode()
    client.gets(target, RIGHT)
    assert client.answers[-1].status == 200


@pytest.mark.parametrize("target", LISTINGS)
def test_open_listings(locked: OpenLocked, target: str) -> None:
    """With --open-listings everybody is told of the models, and asks nothing else of that path."""
    wire = locked(open_listings="1")
    client = wire.client()
    client.gets(target)
    assert client.answer.status == 200
    client.asks("POST", target, body=b"{}")
    assert client.answers[-1].status == 401
    client = wire.client()
    client.chats()
    assert client.answer.status == 401


def test_open_show(locked: OpenLocked) -> None:
    """What one model is like is a listing too, asked for with a body."""
    client = locked(open_listings="1").client()
    client.posts("/api/show", {"model": "tiny"})
    assert client.answer.status == 200


@pytest.mark.parametrize(
    ("target", "key", "status"),
    [("/v1/chat/completions", (), 401), ("/api/show", (), 413), ("/slots", (RIGHT,), None)],
)
def test_large_bodies(locked: OpenLocked, target: str, key: tuple[str, ...], status: int | None) -> None:
    """Of somebody without a key 64 KiB are read at most: a larger body is refused before it has come."""
    wire = locked(open_listings="1")
    client = wire.client()
    head = "\r\n".join((f"POST {target} HTTP/1.1", "Host: localhost", "Content-Length: 70000", *key, "", ""))
    client.sends(head.encode())
    if status is None:
        assert client.received == b""
        client.sends(b"x" * 70000)
        assert len(wire.asked[0].request.body) == 70000
    else:
        assert client.answer.status == status
        assert client.answer.field(b"connection") == b"close"


def test_verbose_log(locked: OpenLocked) -> None:
    """A verbose log shows no key, right or wrong."""
    wire = locked(verbose="1")
    for key in (RIGHT, WRONG, "X-Api-Key: right-key"):
        wire.client().chats(key)
    assert "-key" not in "".join(wire.lines).replace("x-api-key", "").replace("--api-key-file", "")
