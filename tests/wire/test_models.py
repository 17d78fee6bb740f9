"""How often is upstream asked for its models, and who waits for the answer?"""

from __future__ import annotations

import json

from twisted.internet import error

from copilot_proxy.upstream.whole import LARGEST
from tests.wire.llama import LOADING, server
from tests.wire.pair import OpenWire, Wire, got


def test_listing_that_is_too_long(fresh: Wire) -> None:
    """An answer about models that does not end is given up, and its connection is closed."""
    client = fresh.client()
    client.gets("/api/tags")
    (upstream,) = fresh.asked
    upstream.sends(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (2 * LARGEST))
    upstream.sends(b" " * (LARGEST + 1))
    assert upstream.closed
    assert client.answer.status == 502
    assert str(LARGEST) in client.answer.json["error"]


def test_listing_that_breaks_off(fresh: Wire) -> None:
    """A listing that upstream breaks off is a 502 that says so."""
    client = fresh.client()
    client.gets("/api/tags")
    (upstream,) = fresh.asked
    upstream.sends(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
    upstream.leaves()
    assert client.answer.status == 502
    assert "broke off" in client.answer.json["error"]


def test_listing_that_is_too_late(fresh: Wire) -> None:
    """A question about models is given up after ten seconds, also inside its answer."""
    for begin in (b"", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"):
        client = fresh.client()
        client.gets("/api/tags")
        (upstream,) = fresh.asked
        upstream.sends(begin)
        fresh.passes(10.1)
        assert client.answer.status == 504
        assert upstream.closed


# ---------------------------------------------------------------- at the same time, and again


def test_one_round_of_questions(fresh: Wire) -> None:
    """Clients that ask at the same time, and within two seconds, cost upstream one round of questions."""
    clients = [fresh.client() for _ in range(3)]
    for client in clients:
        client.gets("/api/tags")
    assert fresh.serves(server("tiny")) == [
        "/v1/models", "/api/tags", "/props", "/infill", "/v1/embeddings",
    ]  # fmt: skip
    assert [client.answer.status for client in clients] == [200, 200, 200]
    fresh.passes(1.9)
    got(fresh, {}, "/v1/models")
    assert len(fresh.connections) == 5
    fresh.passes(0.2)
    client = fresh.client()
    client.gets("/api/tags")
    assert fresh.serves(server("tiny")) == ["/v1/models", "/props"], "there is no /api/tags, as was seen"


def test_one_that_leaves_does_not_hurt_the_others(fresh: Wire) -> None:
    """The client that began a round of questions may leave: the others get their answer."""
    first, second = fresh.client(), fresh.client()
    first.gets("/api/tags")
    second.gets("/api/tags")
    first.leaves()
    fresh.serves(server("tiny"))
    assert second.answer.status == 200


def test_all_are_told_of_a_failure(fresh: Wire) -> None:
    """Everybody who waits for a round that fails gets the error, and the next one asks again."""
    clients = [fresh.client() for _ in range(2)]
    for client in clients:
        client.gets("/api/tags")
    fresh.refusal = error.ConnectionRefusedError()
    fresh.asked[0].leaves()
    assert [client.answer.status for client in clients] == [502, 502]
    fresh.refusal = None
    assert got(fresh, server("tiny")).answer.status == 200


def test_upstream_that_was_replaced(fresh: Wire) -> None:
    """After upstream was away, it is asked again whether it has Ollama's API."""
    got(fresh, server("tiny"))
    fresh.passes(3)
    fresh.refusal = error.ConnectionRefusedError()
    assert got(fresh, {}).answer.status == 200
    fresh.refusal = None
    client = fresh.client()
    client.gets("/api/tags")
    assert "/api/tags" in fresh.serves(server("tiny"))


def test_last_good_while_upstream_is_away(fresh: Wire) -> None:
    """A: the models stay listed while upstream is down, and are what it tells when it is back."""
    before = got(fresh, server("tiny")).answer.json
    fresh.passes(3)
    fresh.refusal = error.ConnectionRefusedError()
    assert got(fresh, {}).answer.json == before
    fresh.refusal = None
    assert got(fresh, server("other")).answer.json["models"][0]["name"] == "other"


def test_no_guess_while_a_model_loads(fresh: Wire) -> None:
    """A: what upstream told before is not told while it loads, for it may be loading another model."""
    got(fresh, server("tiny"))
    fresh.passes(3)
    client = fresh.client()
    client.gets("/api/tags")
    fresh.asked[0].tells(LOADING, 503)
    assert client.answer.status == 503


# ---------------------------------------------------------------- chats


def test_chat_before_any_listing(fresh: Wire) -> None:
    """The first chat asks for the names by itself, so that a name resolves without a listing before it."""
    client = fresh.client()
    client.chats(model="tiny:latest")
    client2 = fresh.client()
    client2.chats(model="unknown")
    fresh.serves({**server("tiny"), "/v1/chat/completions": {}})
    sent = [peer.request for peer in fresh.connections if peer.request.target == b"/v1/chat/completions"]
    assert [request.json["model"] for request in sent] == ["tiny", "unknown"]


def test_chat_while_models_cannot_be_asked(fresh: Wire) -> None:
    """A chat goes upstream where the names cannot be asked for."""
    client = fresh.client()
    client.chats()
    fresh.asked[0].tells(LOADING, 503)
    (upstream,) = fresh.asked
    assert upstream.request.target == b"/v1/chat/completions"
    upstream.tells({})
    assert client.answer.status == 200


def test_numbers_are_positions(open_wire: OpenWire) -> None:
    """B5: a bare number is a position in /api/tags, for Copilot Chat 0.37, unless a model is called so."""
    wire = open_wire(models=("first", "/models/second.gguf", "0"))
    client = wire.client()
    client.gets("/api/tags")
    listed = [model["name"] for model in client.answer.json["models"]]
    assert listed == ["first", "second", "0"]
    for model, sent in (
        ("1", "/models/second.gguf"),
        ("2", "0"),
        ("0", "0"),
        ("3", "3"),
        ("01", "01"),
        ("-1", "-1"),
    ):
        wire.client().posts("/chat/completions", {"model": model, "messages": []})
        assert json.loads(wire.asked[0].request.body)["model"] == sent
        wire.asked[0].tells({})
