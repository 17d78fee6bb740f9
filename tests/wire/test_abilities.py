"""How is it found out what a model can do that llama-server does not list?"""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet import error

from tests.wire.llama import entry, models, props
from tests.wire.pair import OpenWire, Wire

# what llama.cpp b11549 says to an empty request
ANSWERS: dict[str, tuple[int, str]] = {
    "fills in": (400, "[json.exception.out_of_range.403] key 'input_suffix' not found"),
    "does not fill in": (501, "Infill is not supported by this model: prefix token is missing"),
    "embeds": (400, '"input" or "content" must be provided'),
    "does not embed": (501, "This server does not support embeddings. Start it with `--embeddings`"),
    "embeds each token": (
        400,
        "Pooling type 'none' is not OAI compatible. Please use a different pooling type",
    ),
    "not loaded": (400, "model is not loaded"),
    "nothing": (404, "File Not Found"),
    "b8672": (500, "[json.exception.out_of_range.403] key 'input_suffix' not found"),
    "another server": (422, '[{"msg": "field required", "loc": ["body", "input"]}]'),
}
THINKING = props(chat_template="{{ '<think>' }}")


def listed(wire: Wire, infill: str, embeddings: str, told: Any, data: Any = None) -> tuple[Any, list[str]]:
    """The capabilities of each model of /api/tags, and the targets that upstream was asked for."""
    client = wire.client()
    client.gets("/api/tags")
    seen: list[str] = []
    while wire.asked:
        peer = wire.asked[0]
        target = peer.request.target.decode()
        seen.append(target)
        path = target.partition("?")[0]
        documents = {"/v1/models": models("tiny") if data is None else {"data": data}, "/props": told}
        if path in documents:
            peer.tells(documents[path])
        else:
            status, text = ANSWERS[{"/infill": infill, "/v1/embeddings": embeddings}.get(path, "nothing")]
            peer.tells({"error": {"code": status, "message": text}}, status)
    return [model["capabilities"] for model in client.answer.json["models"]], seen


@pytest.mark.parametrize(
    ("infill", "embeddings", "told", "found"),
    [
        ("does not fill in", "does not embed", props(), []),
        ("fills in", "does not embed", props(), ["insert"]),
        ("b8672", "does not embed", props(), ["insert"]),
        ("does not fill in", "embeds", props(), ["embedding"]),
        ("fills in", "embeds", THINKING, ["insert", "embedding", "thinking"]),
        ("nothing", "embeds each token", props(), []),
        ("another server", "another server", props(), []),
    ],
)
def test_capabilities(fresh: Wire, infill: str, embeddings: str, told: Any, found: list[str]) -> None:
    """A model can what its empty request misses the input of, and nothing that is refused outright."""
    capabilities, seen = listed(fresh, infill, embeddings, told)
    assert capabilities == [["completion", *found, "tools", "planAndExecute"]]
    assert seen[-2:] == ["/infill", "/v1/embeddings"]
    for peer in fresh.connections[-2:]:
        assert (peer.request.method, peer.request.body) == (b"POST", b"{}")


def test_asked_once(fresh: Wire) -> None:
    """It is asked once for each start of llama-server, and again when upstream was away."""
    first, second = props(media_marker="<a>"), props(media_marker="<b>")
    listed(fresh, "fills in", "embeds", first)
    for told, expected in ((first, False), (second, True), (second, False)):
        fresh.passes(3)
        capabilities, seen = listed(fresh, "fills in", "embeds", told)
        assert "insert" in capabilities[0]
        assert ("/infill" in seen) is expected
    fresh.passes(3)
    fresh.refusal = error.ConnectionRefusedError()
    listed(fresh, "fills in", "embeds", second)
    fresh.refusal = None
    assert "/infill" in listed(fresh, "fills in", "embeds", second)[1]


def test_no_llama_server(fresh: Wire) -> None:
    """A server without /props is not asked: its answers would tell nothing."""
    capabilities, seen = listed(fresh, "fills in", "embeds", {})
    assert capabilities == [["completion", "tools", "planAndExecute"]]
    assert seen == ["/v1/models", "/api/tags", "/props"]


def test_model_that_sleeps(fresh: Wire) -> None:
    """A model that sleeps is not woken for it; what was known of it stays."""
    capabilities, seen = listed(fresh, "fills in", "embeds", props(is_sleeping=True))
    assert "insert" not in capabilities[0]
    assert "/infill" not in seen
    for asleep in (False, True):
        fresh.passes(3)
        capabilities, seen = listed(fresh, "fills in", "embeds", props(is_sleeping=asleep))
        assert "insert" in capabilities[0]
        assert ("/infill" in seen) is not asleep


def test_router(fresh: Wire) -> None:
    """Of a router's models those that are loaded are asked by name, and none is loaded for it."""
    data = [entry("a", status={"value": "loaded"}), entry("b/c", status={"value": "unloaded"})]
    capabilities, seen = listed(fresh, "fills in", "not loaded", props(), data)
    assert capabilities[0] == ["completion", "insert", "tools", "planAndExecute"]
    assert "insert" not in capabilities[1]
    assert seen[-2:] == ["/infill?autoload=false", "/v1/embeddings?autoload=false"]
    assert [peer.request.json for peer in fresh.connections[-2:]] == [{"model": "a"}] * 2


def test_that_hangs(fresh: Wire) -> None:
    """A server that does not answer it holds a listing up for two seconds, and is asked again."""
    client = fresh.client()
    client.gets("/api/tags")
    for document in (models("tiny"), None, props()):
        fresh.asked[0].tells(document or {}, 200 if document else 404)
    assert fresh.asked[0].request.target == b"/infill"
    fresh.passes(2.1)
    assert client.answer.json["models"][0]["capabilities"] == ["completion", "tools", "planAndExecute"]
    fresh.passes(3)
    assert "insert" in listed(fresh, "fills in", "embeds", props())[0][0]


def test_chat_is_not_asked_about(open_wire: OpenWire) -> None:
    """Once it is known, a chat costs upstream nothing but the chat."""
    wire = open_wire()
    wire.chat()
    assert [peer.request.target for peer in wire.connections] == [b"/v1/chat/completions"]
