"""Do the listings tell what upstream is, and no more?"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from tests.wire.llama import LOADING, entry, models, props, row, server
from tests.wire.pair import OpenWire, Wire, got

OPENAI_PATHS = ["/v1/models", "/models", "/api/models"]


def test_tags(fresh: Wire) -> None:
    """/api/tags names each model once, with the context that one slot really holds."""
    answer = got(fresh, server("tiny", n_ctx=8192)).answer
    assert answer.status == 200
    assert answer.field(b"content-type") == b"application/json"
    (model,) = answer.json["models"]
    assert model["name"] == model["model"] == "tiny"
    assert model["context_length"] == 8192
    assert model["capabilities"] == ["completion", "tools", "planAndExecute"]
    assert model["size"] == 1683968
    assert model["details"]["quantization_level"] == "all F32"
    assert model["details"]["parameter_size"] == "421.0K"
    assert len(model["digest"]) == 64
    assert datetime.fromisoformat(model["modified_at"]).tzinfo is not None
    assert model["maxInputTokens"] + model["maxOutputTokens"] == 8192


def test_digest_follows_the_context(fresh: Wire) -> None:
    """The digest stays while nothing changes, and changes with the context."""
    digests = []
    for n_ctx in (8192, 8192, 4096):
        (model,) = got(fresh, server("tiny", n_ctx=n_ctx)).answer.json["models"]
        digests.append(model["digest"])
        fresh.passes(3)
    assert digests[0] == digests[1] != digests[2]


def test_show(fresh: Wire) -> None:
    """/api/show tells what the template can, and the context under the architecture's name."""
    answer = got(fresh, server("tiny"), "/api/show", {"model": "tiny"}).answer
    assert answer.status == 200
    shown = answer.json
    assert shown["capabilities"] == ["completion", "tools", "planAndExecute"]
    assert shown["template"] == "{% for message in messages %}"
    info = shown["model_info"]
    assert info[f"{info['general.architecture']}.context_length"] == 32768
    assert info["general.basename"] == "tiny"
    assert info["general.parameter_count"] == 420992
    assert "num_ctx" not in shown["parameters"]


@pytest.mark.parametrize("body", [{"name": "tiny"}, {"model": "", "name": "tiny"}, {"model": "tiny:latest"}])
def test_show_finds_the_model(fresh: Wire, body: Any) -> None:
    """The model may be called `name`, as older clients do, and may have Ollama's default tag."""
    assert got(fresh, server("tiny"), "/api/show", body).answer.status == 200


@pytest.mark.parametrize("body", [{}, {"model": ""}, {"model": None, "other": 7}])
def test_show_without_a_model(fresh: Wire, body: Any) -> None:
    """Without a model's name it is a 400 that says so."""
    answer = got(fresh, server("tiny"), "/api/show", body).answer
    assert answer.status == 400
    assert answer.json == {"error": "model is required"}


def test_show_of_an_unknown_model(fresh: Wire) -> None:
    """A model that upstream does not have is a 404 in Ollama's words."""
    answer = got(fresh, server("tiny"), "/api/show", {"model": "other"}).answer
    assert answer.status == 404
    assert answer.json == {"error": "model 'other:latest' not found"}


@pytest.mark.parametrize("path", OPENAI_PATHS)
def test_openai_models(fresh: Wire, path: str) -> None:
    """OpenAI's listing is upstream's own document, with names and limits put in."""
    answer = got(fresh, server("tiny"), path).answer
    assert answer.status == 200
    (data,) = answer.json["data"]
    assert data["id"] == "tiny"
    assert data["owned_by"] == "llamacpp"
    assert data["context_length"] == 32768
    assert data["capabilities"] == ["completion", "tools", "planAndExecute"]
    assert answer.json["object"] == "list"
    assert answer.json["models"][0]["name"] == "tiny"


@pytest.mark.parametrize("path", ["/api/tags", *OPENAI_PATHS])
def test_head_of_a_listing(fresh: Wire, path: str) -> None:
    """HEAD of a listing is answered like GET, without the body."""
    client = fresh.client()
    client.asks("HEAD", path)
    fresh.serves(server("tiny"))
    assert client.answer.status == 200
    assert client.received.endswith(b"\r\n\r\n")


def test_template_without_tools(fresh: Wire) -> None:
    """A template that cannot call tools says so in the capabilities; what can see and hear says that too."""
    told = props(chat_template_caps={"supports_tools": False}, modalities={"vision": True, "audio": True})
    (model,) = got(fresh, {**server("tiny"), "/props": told}).answer.json["models"]
    assert model["capabilities"] == ["completion", "vision", "audio", "planAndExecute"]
    assert model["toolCalling"] is False
    assert model["vision"] is True


def test_no_model(fresh: Wire) -> None:
    """No model is an empty list, and not an error."""
    for path, key in (("/api/tags", "models"), ("/v1/models", "data")):
        answer = got(fresh, {"/v1/models": {"object": "list", "data": []}}, path).answer
        assert answer.status == 200
        assert answer.json[key] == []


def test_path_becomes_a_name(fresh: Wire) -> None:
    """A model named by its path is shown by the file's stem, in every listing."""
    path = "/models/Qwen3-8B-Q4_K_M.gguf"
    documents = server(path)
    (model,) = got(fresh, documents).answer.json["models"]
    assert model["name"] == model["model"] == "Qwen3-8B-Q4_K_M"
    (data,) = got(fresh, documents, "/v1/models").answer.json["data"]
    assert data["id"] == "Qwen3-8B-Q4_K_M"
    shown = got(fresh, documents, "/api/show", {"model": "Qwen3-8B-Q4_K_M:latest"}).answer.json
    assert shown["model_info"]["general.basename"] == "Qwen3-8B-Q4_K_M"


def test_older_upstream(fresh: Wire) -> None:
    """What an upstream tells on /api/tags and /api/show of its own is kept, and completed where empty."""
    own = {**row("tiny"), "digest": "sha256:abc", "modified_at": "2026-04-01T00:00:00Z", "own": 7}
    empty = {"family": "", "families": [""], "parameter_size": "", "quantization_level": ""}
    documents = {
        **server("tiny"),
        "/api/tags": {"models": [own]},
        "/api/show": {
            "template": "its own",
            "modelfile": "",
            "details": empty,
            "model_info": {"llama.context_length": 4096, "general.architecture": "qwen3"},
            "capabilities": ["completion", "insert"],
        },
    }
    (model,) = got(fresh, documents).answer.json["models"]
    assert model["modified_at"] == "2026-04-01T00:00:00Z"
    assert model["own"] == 7
    assert model["context_length"] == 32768
    assert model["details"]["quantization_level"] == "all F32"
    shown = got(fresh, documents, "/api/show", {"model": "tiny"}).answer.json
    assert shown["template"] == "its own"
    assert shown["model_info"]["qwen3.context_length"] == 32768
    assert shown["details"]["family"] == "llama"
    (asked,) = (peer for peer in fresh.connections if peer.request.target == b"/api/show")
    assert asked.request.json == {"model": "tiny"}


def test_upstream_with_ollamas_api_alone(fresh: Wire) -> None:
    """An upstream without /v1/models is listed by its /api/tags, in OpenAI's shape too."""
    documents = {"/api/tags": {"models": [{"name": "tiny:latest", "model": "tiny:latest", "size": 5}]}}
    (model,) = got(fresh, documents).answer.json["models"]
    assert model["name"] == "tiny:latest"
    assert model["size"] == 5
    assert "context_length" not in model, "a context that nobody tells is not made up"
    answer = got(fresh, documents, "/v1/models").answer
    assert [data["id"] for data in answer.json["data"]] == ["tiny:latest"]


def test_router(fresh: Wire) -> None:
    """A router is asked for /props of loaded models only, and told not to load any for it."""
    listed = [
        {"id": "big/one:Q4", "status": {"value": "loaded"}, "meta": {"n_ctx": 1}},
        {
            "id": "two",
            "status": {"value": "unloaded"},
            "architecture": {"input_modalities": ["text", "image"]},
        },
        {"id": "three", "status": {"value": "loading"}},
    ]
    asked_for = "/props?model=big%2Fone%3AQ4&autoload=false"
    client = fresh.client()
    client.gets("/api/tags")
    seen = fresh.serves({"/v1/models": {"data": listed}, asked_for: props(n_ctx=16384)})
    assert [target for target in seen if target.startswith("/props")] == [asked_for]
    loaded, unloaded, _ = client.answer.json["models"]
    assert loaded["context_length"] == 16384
    assert unloaded["name"] == "two"
    assert unloaded["vision"] is True
    assert "context_length" not in unloaded


def test_props_that_fail(fresh: Wire) -> None:
    """Without /props a model is still listed, with what /v1/models tells."""
    (model,) = got(fresh, {"/v1/models": models("tiny")}).answer.json["models"]
    assert model["context_length"] == 32768


@pytest.mark.parametrize(("path", "shape"), [("/api/tags", str), ("/v1/models", dict)])
def test_loading(fresh: Wire, path: str, shape: type) -> None:
    """While the model loads there is no listing at all, rather than one without a context."""
    client = fresh.client()
    client.gets(path)
    fresh.asked[0].tells(LOADING, 503)
    assert client.answer.status == 503
    assert isinstance(client.answer.json["error"], shape)
    assert got(fresh, server("tiny")).answer.json["models"][0]["context_length"] == 32768


@pytest.mark.parametrize("status", [401, 403])
def test_refused_key(fresh: Wire, status: int) -> None:
    """Where upstream wants a key, the answer names the option that gives it one."""
    client = fresh.client()
    client.gets("/api/tags")
    fresh.asked[0].tells({"error": {"message": "Invalid API Key"}}, status)
    assert client.answer.status == 502
    assert "--upstream-key-file" in client.answer.json["error"]


# ---------------------------------------------------------------- what runs


def test_ps_while_a_chat_is_pending(wire: Wire) -> None:
    """A5: /api/ps, which the extension polls during a chat, is answered at once from what is known."""
    chatting, _ = wire.chat()
    for _ in range(3):
        client = wire.client()
        client.gets("/api/ps")
        (model,) = client.answer.json["models"]
        assert (model["name"], model["context_length"]) == ("tiny", 32768)
    assert len(wire.connections) == 1, "upstream has the chat and nothing else to do"
    assert chatting.received == b""


def test_ps_of_a_router(fresh: Wire) -> None:
    """A5: of a router's models, those in memory are running, with the context that they have there."""
    data = [entry("a", status={"value": "loaded"}), entry("b", status={"value": "unloaded"}, meta=None)]
    documents = {
        "/v1/models": {"object": "list", "data": data},
        "/props?model=a&autoload=false": props(n_ctx=8192),
    }
    answer = got(fresh, documents, "/api/ps").answer
    assert [(m["name"], m["context_length"]) for m in answer.json["models"]] == [("a", 8192)]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_recommendations(fresh: Wire, method: str) -> None:
    """A6: Ollama's recommendations are none, and nobody is asked for them."""
    client = fresh.client()
    client.asks(method, "/api/experimental/model-recommendations")
    assert client.answer.status == 200
    assert method == "HEAD" or client.answer.json == {"recommendations": []}
    assert fresh.connections == []


def test_headroom(open_wire: OpenWire) -> None:
    """A4: `--context-headroom` lowers the context in every listing alike."""
    wire = open_wire(context_headroom="10")
    told = []
    for target in ("/api/tags", "/api/ps"):
        client = wire.client()
        client.gets(target)
        told.append(client.answer.json["models"][0]["context_length"])
    client = wire.client()
    client.gets("/v1/models")
    told.append(client.answer.json["data"][0]["context_length"])
    client = wire.client()
    client.posts("/api/show", {"model": "tiny"})
    wire.serves({})
    told.append(client.answer.json["model_info"]["llama.context_length"])
    assert told == [29491] * 4


def test_one_model_by_its_path(fresh: Wire) -> None:
    """A model's entry is found by any spelling of its name; another model is not there."""
    client = got(fresh, server("/models/qwen3.gguf"), "/v1/models/qwen3")
    entry = client.answer.json
    assert (entry["id"], entry["context_length"]) == ("qwen3", 32768)
    for path in ("Qwen3:latest", "library%2Fqwen3"):
        assert got(fresh, {}, f"/v1/models/{path}").answer.json == entry
    absent = got(fresh, {}, "/v1/models/absent").answer
    assert (absent.status, absent.json["error"]["code"]) == (404, "model_not_found")
