"""A client looks for models: VS Code's own order of requests, and its rules for what it reads."""

from typing import Any

import pytest

from tests.real.client import JSON, ask
from tests.real.processes import Server

# What VS Code 1.139 sends (baseFetchFetcher.ts)
VS_CODE = {
    "User-Agent": "GitHubCopilotChat/0.67.0",
    "X-VSCode-User-Agent-Library-Version": "electron-fetch",
    "Accept-Encoding": "gzip, deflate",
}
# What the extension Ollama.ollama sends (ollama-js, utils.ts)
EXTENSION = {
    **JSON,
    "Accept": "application/json",
    "User-Agent": "ollama-js/0.6.3 (x64 linux Node.js/v22.18.0)",
}


def parsed_version(text: str) -> list[int]:
    """As VS Code reads it: parseInt of each part; anything that is no number fails the check."""
    return [int(part) for part in text.split(".")]


def real_context(llama: Server) -> int:
    context: int = ask(llama, "GET", "/props").json["default_generation_settings"]["n_ctx"]
    return context


def test_vs_code_discovers_a_model(running: Server, llama: Server) -> None:
    """VS Code's three requests, in its order, end with a model that its agent mode offers."""
    version = ask(running, "GET", "/api/version", headers=VS_CODE).json["version"]
    assert parsed_version(version) >= [0, 6, 4]

    models = ask(running, "GET", "/api/tags", headers=VS_CODE).json["models"]
    assert [model["model"] for model in models] == ["tiny"]

    show = ask(running, "POST", "/api/show", {"model": models[0]["model"]}, VS_CODE).json
    assert "tools" in show["capabilities"]
    assert "vision" not in show["capabilities"], "the tiny model sees nothing"
    info = show["model_info"]
    assert info[f"{info['general.architecture']}.context_length"] == real_context(llama) == 32768
    assert info["general.basename"] == "tiny"
    assert "remote_model" not in show


def test_the_extension_discovers_a_model(running: Server, llama: Server) -> None:
    """The extension Ollama.ollama finds one local model with tools and the context that a slot really has."""
    assert parsed_version(ask(running, "GET", "/api/version", headers=EXTENSION).json["version"]) >= [
        0,
        17,
        6,
    ]
    answer = ask(running, "GET", "/api/tags", headers=EXTENSION)
    assert answer.status == 200
    (model,) = answer.json["models"]
    assert model["name"] == model["model"] == "tiny"
    assert "remote_host" not in model
    assert model["context_length"] == real_context(llama)
    assert len(model["digest"]) == 64

    show = ask(running, "POST", "/api/show", {"model": "tiny", "verbose": False}, EXTENSION).json
    assert {"completion", "tools"} <= set(show["capabilities"])
    assert "num_ctx" not in show["parameters"], "it would override everything else"
    assert show["details"]["family"]
    props = ask(llama, "GET", "/props").json
    assert show["template"] == props["chat_template"]


def test_an_optional_question_does_no_harm(running: Server) -> None:
    """The extension's question for recommendations is answered with a status that it ignores."""
    answer = ask(running, "GET", "/api/experimental/model-recommendations", headers=EXTENSION)
    assert answer.status in (200, 404)


def test_an_old_vs_code_finds_the_model_in_the_listing(running: Server) -> None:
    """Copilot Chat 0.37 reads limits and abilities from the entries of /api/tags themselves."""
    (model,) = ask(running, "GET", "/api/tags").json["models"]
    assert model["toolCalling"] is True
    assert model["vision"] is False
    assert model["maxInputTokens"] + model["maxOutputTokens"] == 32768


def test_two_looks_tell_the_same(running: Server) -> None:
    """What clients keep by its digest does not change while the model does not."""
    first, second = (ask(running, "GET", "/api/tags").body for _ in range(2))
    assert first == second


@pytest.mark.parametrize("path", ["/v1/models", "/models", "/api/models"])
def test_openai_listings(path: str, running: Server, llama: Server) -> None:
    """Each path of OpenAI's listing has the model under its name, with the context of a slot."""
    answer = ask(running, "GET", path)
    assert answer.status == 200
    assert answer.json["object"] == "list"
    (model,) = answer.json["data"]
    assert model["id"] == "tiny"
    assert model["context_length"] == real_context(llama)
    assert model["meta"] == ask(llama, "GET", "/v1/models").json["data"][0]["meta"]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "//api/version", None),
        ("GET", "//api/tags", None),
        ("POST", "//api/show", {"model": "tiny"}),
        ("GET", "//v1//models", None),
        ("GET", "/api/tags/", None),
    ],
)
def test_slashes_of_a_configured_url(method: str, path: str, body: Any, running: Server) -> None:
    """A URL that was configured with a slash at its end leads to the same answers."""
    answer = ask(running, method, path, body, VS_CODE)
    assert answer.status == 200
    tidy = "/" + "/".join(filter(None, path.split("/")))
    assert answer.json.keys() == ask(running, method, tidy, body, VS_CODE).json.keys()


@pytest.mark.parametrize("path", ["/", "/api/version", "/api/tags", "/v1/models"])
def test_head_is_get_without_its_body(path: str, running: Server) -> None:
    """HEAD gives the status and the headers of GET."""
    head, get = ask(running, "HEAD", path), ask(running, "GET", path)
    assert (head.status, head.body) == (200, b"")
    for name in ("Content-Type", "Content-Length"):
        assert head.headers[name] == get.headers[name]


def test_the_root_says_what_ollama_says(running: Server) -> None:
    """GET / is how people, and some clients, look whether Ollama is there."""
    assert ask(running, "GET", "/").body == b"Ollama is running"


@pytest.mark.parametrize("name", ["tiny", "tiny:latest"])
def test_a_model_is_found_by_its_names(name: str, running: Server) -> None:
    """Ollama's default tag says nothing: a model is found with it and without."""
    assert ask(running, "POST", "/api/show", {"model": name}).status == 200


def test_an_unknown_model(running: Server) -> None:
    """A model that is not there is a 404 in Ollama's words, and the others stay."""
    answer = ask(running, "POST", "/api/show", {"model": "nope"})
    assert answer.status == 404
    assert answer.json == {"error": "model 'nope:latest' not found"}
    assert ask(running, "POST", "/api/show", {"model": "tiny"}).status == 200
