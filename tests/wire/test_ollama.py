"""What do Ollama's other routes answer over a llama-server that changes no models?"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.wire.message import Message, answer
from tests.wire.pair import OpenWire, Wire
from tests.wire.peers import Client

CHANGES = ["/api/pull", "/api/push", "/api/create", "/api/copy"]
WITH_A_BODY = [
    ("POST", path) for path in ("/api/show", "/api/embed", "/api/embeddings", *CHANGES)
] + [("DELETE", "/api/delete")]  # fmt: skip
BELONGS = "models belong to llama-server, which has tiny: start it with the model that you want"


def asks(wire: Wire, method: str, path: str, document: Any = None) -> Message:
    client = wire.client()
    body = b"" if document is None else json.dumps(document).encode()
    client.asks(method, path, body=body)
    return client.answer


def lines(message: Message) -> list[Any]:
    """The steps of a stream, each on a line of its own."""
    assert message.status == 200
    assert message.field(b"content-type") == b"application/x-ndjson"
    assert message.body.endswith(b"\n")
    return [json.loads(line) for line in message.body.splitlines()]


# ---------------------------------------------------------------- which there are


@pytest.mark.parametrize("path", ["/api/nothing", "/api/tags/x", "/api/blobs", "/api/v1/models", "/api/me/x"])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
def test_no_such_path(wire: Wire, method: str, path: str) -> None:
    """What Ollama does not have below /api/ is a 404 as Ollama says it, and does not go upstream."""
    found = asks(wire, method, path)
    assert (found.status, found.body) == (404, b"404 page not found")
    assert found.field(b"content-type") == b"text/plain"
    assert wire.asked == []


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("POST", "/api/tags", b"HEAD, GET"),
        ("POST", "/api/version", b"HEAD, GET"),
        ("HEAD", "/api/ps", b"GET"),
        ("POST", "/api/ps", b"GET"),
        ("POST", "/api/status", b"GET"),
        ("GET", "/api/show", b"POST"),
        ("GET", "/api/chat", b"POST"),
        ("DELETE", "/api/generate", b"POST"),
        ("PUT", "/api/embed", b"POST"),
        ("POST", "/api/delete", b"DELETE"),
        ("GET", "/api/blobs/sha256:aa", b"HEAD, POST"),
        ("GET", "/api/user/keys/x", b"DELETE"),
        ("GET", "/api/me", b"POST"),
        ("OPTIONS", "/api/show", b"POST"),
    ],
)
def test_wrong_method(wire: Wire, method: str, path: str, allow: bytes) -> None:
    """A method that a path does not have is a 405 that tells those it has, in Ollama's order."""
    found = asks(wire, method, path)
    assert found.status == 405
    assert method == "HEAD" or found.body == b"405 method not allowed"
    assert found.field(b"content-type") == b"text/plain"
    assert found.field(b"allow") == allow
    assert wire.asked == []


@pytest.mark.parametrize("path", ["/v1/nothing", "/slots", "/api-docs"])
def test_all_else_goes_upstream(wire: Wire, path: str) -> None:
    """What is not below /api/ is llama-server's."""
    wire.client().gets(path)
    assert wire.asked[0].request.target == path.encode()


# ---------------------------------------------------------------- of the cloud


def test_status(wire: Wire) -> None:
    """Clients are told not to offer models of ollama.com."""
    assert asks(wire, "GET", "/api/status").json == {"cloud": {"disabled": True, "source": "config"}}


@pytest.mark.parametrize(
    ("method", "path", "status", "text"),
    [
        ("POST", "/api/me", 401, "unauthorized"),
        ("POST", "/api/signout", 401, "you are not currently signed in"),
        ("DELETE", "/api/user/keys/c3NoLWVk", 401, "you are not currently signed in"),
        (
            "POST",
            "/api/experimental/web_search",
            403,
            "ollama cloud is disabled: web search is unavailable",
        ),
        ("POST", "/api/experimental/web_fetch", 403, "ollama cloud is disabled: web fetch is unavailable"),
    ],
)
def test_cloud(wire: Wire, method: str, path: str, status: int, text: str) -> None:
    """Nobody is signed in at ollama.com, nobody is sent there, and nothing is asked there."""
    found = asks(wire, method, path)
    assert found.status == status
    assert found.json == {"error": text}
    assert wire.asked == []


# ---------------------------------------------------------------- errors in the request


@pytest.mark.parametrize(("method", "path"), WITH_A_BODY)
@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "missing request body"),
        (b"{", "line 1, column 2"),
        (b"[]", "a JSON object is expected, this is an array"),
    ],
)
def test_body_that_cannot_be_read(wire: Wire, method: str, path: str, body: bytes, text: str) -> None:
    """Every route says of a wrong body what is wrong with it."""
    client = wire.client()
    client.asks(method, path, body=body)
    assert client.answer.status == 400
    assert text in client.answer.json["error"]


@pytest.mark.parametrize(("method", "path"), WITH_A_BODY)
def test_zipped_body(wire: Wire, method: str, path: str) -> None:
    """A compressed body is a 415 that says what to send."""
    client = wire.client()
    client.asks(method, path, "Content-Encoding: zstd", body=b"\x28\xb5")
    assert client.answer.status == 415
    assert "Content-Encoding" in client.answer.json["error"]


NEW = {"from": "tiny"}
NO_CLOUD = "ollama cloud is disabled: remote model is unavailable"
ERRORS: list[tuple[str, str, Any, int, str]] = [
    ("POST", "/api/show", {}, 400, "model is required"),
    ("POST", "/api/show", {"model": "a b"}, 400, "invalid model name"),
    ("POST", "/api/show", {"model": "Other"}, 404, "model 'Other:latest' not found"),
    ("POST", "/api/show", {"name": "library/other:7b"}, 404, "model 'other:7b' not found"),
    ("POST", "/api/show", {"model": "x:cloud"}, 403, NO_CLOUD),
    ("DELETE", "/api/delete", {}, 400, "model is required"),
    ("DELETE", "/api/delete", {"name": "x:"}, 400, 'name "x:" is invalid'),
    ("DELETE", "/api/delete", {"model": "other"}, 404, "model 'other' not found"),
    ("DELETE", "/api/delete", {"model": "tiny"}, 501, f"copilot-proxy cannot delete a model: {BELONGS}"),
    ("POST", "/api/copy", {}, 400, 'source "" is invalid'),
    ("POST", "/api/copy", {"source": "a b"}, 400, 'source "a b" is invalid'),
    ("POST", "/api/copy", {"source": "other", "destination": "x"}, 404, 'model "other" not found'),
    ("POST", "/api/copy", {"source": "tiny"}, 400, 'destination "" is invalid'),
    (
        "POST", "/api/copy", {"source": "tiny", "destination": "x"}, 501,
        f"copilot-proxy cannot copy a model: {BELONGS}",
    ),
    ("POST", "/api/pull", {}, 400, "invalid model name"),
    ("POST", "/api/pull", {"name": "a b"}, 400, "invalid model name"),
    ("POST", "/api/pull", {"name": "x:120b-cloud"}, 403, NO_CLOUD),
    (
        "POST", "/api/pull", {"name": "other", "stream": False}, 500,
        f"pull model manifest: file does not exist: {BELONGS}",
    ),
    ("POST", "/api/push", {}, 400, "model is required"),
    ("POST", "/api/push", {"name": "a b"}, 400, "invalid model name"),
    ("POST", "/api/push", {"name": "other", "stream": False}, 404, "model 'other' not found"),
    (
        "POST", "/api/push", {"name": "tiny", "stream": False}, 501,
        f"copilot-proxy cannot push a model: {BELONGS}",
    ),
    ("POST", "/api/create", NEW, 400, "invalid model name"),
    ("POST", "/api/create", {**NEW, "model": "a b"}, 400, "invalid model name"),
    ("POST", "/api/create", {"model": "x"}, 400, "neither 'from' or 'files' was specified"),
    ("POST", "/api/create", {**NEW, "model": "x"}, 501, f"copilot-proxy cannot create a model: {BELONGS}"),
    (
        "POST", "/api/create", {"name": "tiny", "files": {"a": "b"}}, 501,
        f"copilot-proxy cannot create a model: {BELONGS}",
    ),
    ("POST", "/api/embed", {}, 404, "model '' not found"),
    ("POST", "/api/embed", {"model": "a b"}, 400, "invalid model name"),
    ("POST", "/api/embed", {"model": "x"}, 404, 'model "x" not found, try pulling it first'),
    ("POST", "/api/embed", {"model": "tiny", "input": 7}, 400, "invalid input type"),
    ("POST", "/api/embeddings", {}, 400, "model is required"),
    ("POST", "/api/embeddings", {"model": "a b"}, 400, "invalid model name"),
    ("POST", "/api/embeddings", {"model": "x"}, 404, 'model "x" not found, try pulling it first'),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "document", "status", "text"), ERRORS)
def test_errors(wire: Wire, method: str, path: str, document: Any, status: int, text: str) -> None:
    """Each mistake has the status and the words that it has in Ollama, and what cannot be done says why."""
    client = wire.client()
    client.asks(method, path, body=json.dumps(document).encode())
    assert client.answer.status == status
    assert client.answer.json == {"error": text}
    assert client.answer.field(b"content-type") == b"application/json"


# ---------------------------------------------------------------- progress


@pytest.mark.parametrize("document", [{"name": "tiny"}, {"model": "Tiny:latest", "stream": True}])
def test_pull_what_is_there(wire: Wire, document: Any) -> None:
    """To pull a model that is there succeeds, as clients do that make sure of it."""
    steps = lines(asks(wire, "POST", "/api/pull", document))
    assert steps == [{"status": "pulling manifest"}, {"status": "success"}]


def test_pull_without_a_stream(wire: Wire) -> None:
    """Without a stream the last step is the answer."""
    found = asks(wire, "POST", "/api/pull", {"model": "tiny", "stream": False})
    assert found.json == {"status": "success"}
    assert found.field(b"content-type") == b"application/json"


def test_pull_what_is_not_there(wire: Wire) -> None:
    """A model that is not there is an error inside the stream, which tells what there is and what to do."""
    begun, error = lines(asks(wire, "POST", "/api/pull", {"model": "other"}))
    assert begun == {"status": "pulling manifest"}
    assert error == {"error": f"pull model manifest: file does not exist: {BELONGS}"}


def test_pull_where_nothing_is(open_wire: OpenWire) -> None:
    """Where llama-server has no model at all, that is told."""
    wire = open_wire(models=())
    _, error = lines(asks(wire, "POST", "/api/pull", {"model": "other"}))
    assert "which has none" in error["error"]


@pytest.mark.parametrize(
    ("model", "text"), [("tiny", "copilot-proxy cannot push a model"), ("other", "model 'other' not found")]
)
def test_push(wire: Wire, model: str, text: str) -> None:
    """A push fails inside its stream."""
    begun, error = lines(asks(wire, "POST", "/api/push", {"model": model}))
    assert begun == {"status": "retrieving manifest"}
    assert text in error["error"]


# ---------------------------------------------------------------- files


def test_blobs(wire: Wire) -> None:
    """No file is there, and none is taken."""
    found = asks(wire, "HEAD", "/api/blobs/sha256:aa")
    assert (found.status, found.body) == (404, b"")
    client = wire.client()
    client.asks("POST", "/api/blobs/sha256:aa", body=b"GGUF" + b"\0" * 100)
    assert client.answer.status == 501
    assert client.answer.json == {"error": f"copilot-proxy cannot create a model: {BELONGS}"}


def test_large_blob(open_wire: OpenWire) -> None:
    """A file over the limit of bodies is refused for what it is, not for its size, and is not kept."""
    wire = open_wire(body_limit="1k")
    client = wire.client()
    client.asks("POST", "/api/blobs/sha256:aa", body=b"x" * 5000)
    assert client.answer.status == 501
    client = wire.client()
    client.asks("POST", "/api/show", body=b"x" * 5000)
    assert client.answer.status == 413


# ---------------------------------------------------------------- what was there before


def test_show_ignores_what_it_does_not_know(wire: Wire) -> None:
    """The command line's request is read: an empty model, keys in any case, members of no meaning here."""
    written = {"MODEL": "", "Name": "tiny", "system": "", "template": "", "verbose": True, "options": None}
    client = wire.client()
    client.asks("POST", "/api/show", body=json.dumps(written).encode())
    wire.serves({})
    assert client.answer.status == 200
    assert client.answer.json["model_info"]["general.basename"] == "tiny"


def test_model_is_logged(wire: Wire) -> None:
    """The line of the log names the model that was asked for."""
    asks(wire, "POST", "/api/pull", {"model": "other"})
    assert " model=other " in wire.lines[0]


def test_chats_keep_their_routes(wire: Wire) -> None:
    """/api/chat in OpenAI's dialect goes where it went."""
    client: Client = wire.client()
    client.posts("/api/chat", {"model": "tiny", "messages": []})
    wire.asked[0].sends(answer(200, b"{}"))
    assert client.answer.status == 200
