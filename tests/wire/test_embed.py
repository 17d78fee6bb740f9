"""What becomes of a request for embeddings on its way to llama-server and back?"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.wire.attended import loaded, still
from tests.wire.llama import LOADING
from tests.wire.message import answer
from tests.wire.pair import OpenWire, Wire
from tests.wire.peers import Client

ROWS = (
    b'{"data":[{"index":1,"embedding":[0.0,1.50]},{"index":0,"embedding":[3e0,4]}],'
    b'"usage":{"prompt_tokens":7}}'
)
BATCH = "input (40 tokens) is too large to process. increase the physical batch size (current batch size: 12)"


def embeds(wire: Wire, path: str = "/api/embed", **members: Any) -> Client:
    client = wire.client()
    client.posts(path, {"model": "tiny", **members})
    return client


def refuses(wire: Wire, status: int, message: str, **more: Any) -> None:
    """Upstream answers with an error."""
    wire.asked[0].tells({"error": {"code": status, "message": message, **more}}, status)


def test_embed(open_wire: OpenWire) -> None:
    """All texts go up in one request, spelled as they are, and their embeddings come back so."""
    wire = open_wire(models=("/models/tiny.gguf",))
    client = embeds(wire, model="Tiny:latest", input=["a", "ä"])
    (upstream,) = wire.asked
    assert upstream.request.target == b"/v1/embeddings"
    assert upstream.request.body == b'{"model":"/models/tiny.gguf","input":["a","\\u00e4"]}'
    wire.passes(2)
    upstream.sends(answer(200, ROWS))
    assert client.answer.status == 200
    assert client.answer.field(b"content-type") == b"application/json"
    assert b'"embeddings":[[3e0,4],[0.0,1.50]]' in client.answer.body
    told = client.answer.json
    assert told["model"] == "Tiny:latest"
    assert told["total_duration"] == 2_000_000_000
    assert told["load_duration"] == 1
    assert told["prompt_eval_count"] == 7
    assert " model=Tiny:latest " in wire.lines[0]


@pytest.mark.parametrize("members", [{}, {"input": ""}, {"input": []}, {"input": None}])
def test_nothing_to_embed(wire: Wire, members: Any) -> None:
    """Without a text there is no embedding, and upstream is not asked."""
    assert embeds(wire, **members).answer.json == {"model": "tiny", "embeddings": []}
    assert wire.asked == []


def test_dimensions(wire: Wire) -> None:
    """With `dimensions` an embedding is cut, and has the length 1."""
    client = embeds(wire, input=["a", "b"], dimensions=1)
    wire.asked[0].sends(answer(200, ROWS))
    assert client.answer.json["embeddings"] == [[1.0], [0.0]]


def test_the_older_route(wire: Wire) -> None:
    """/api/embeddings embeds one text, and answers with nothing but its embedding."""
    client = embeds(wire, "/api/embeddings", prompt="a")
    assert wire.asked[0].request.body == b'{"model":"tiny","input":["a"]}'
    wire.asked[0].sends(answer(200, b'{"data":[{"index":0,"embedding":[1.50]}]}'))
    assert client.answer.body == b'{"embedding":[1.50]}'
    assert embeds(wire, "/api/embeddings", prompt="").answer.json == {"embedding": []}
    assert embeds(wire, "/api/embeddings").answer.json == {"embedding": []}


# ---------------------------------------------------------------- too long


def test_truncation(wire: Wire) -> None:
    """A text of too many tokens is cut to what one batch takes, with the marks that the model wants."""
    long = "x" * 40
    client = embeds(wire, input=["a", long])
    refuses(wire, 500, BATCH)
    asked = []
    for tokens in ([101, 102], [101, *range(40), 102]):
        asked.append(wire.asked[0].request)
        wire.asked[0].tells({"tokens": tokens})
    assert {request.target for request in asked} == {b"/tokenize"}
    assert [request.json["content"] for request in asked] == ["", long]
    assert all(request.json["add_special"] is True for request in asked)
    cut = [101, *range(10), 102]
    assert wire.asked[0].request.json == {"model": "tiny", "input": ["a", cut]}
    wire.asked[0].sends(answer(200, ROWS))
    assert len(client.answer.json["embeddings"]) == 2


def test_truncation_twice(wire: Wire) -> None:
    """Where the context is smaller than a batch, the second complaint tells it, and the third is told."""
    client = embeds(wire, input="x" * 40)
    refuses(wire, 500, BATCH)
    limits = []
    for _ in range(2):
        wire.asked[0].tells({"tokens": []})
        wire.asked[0].tells({"tokens": [*range(40)]})
        limits.append(len(wire.asked[0].request.json["input"][0]))
        refuses(wire, 400, "too long", type="exceed_context_size_error", n_ctx=9)
    assert limits == [12, 8]
    assert client.answer.status == 400
    assert "too long" in client.answer.json["error"]


@pytest.mark.parametrize(
    ("path", "members"),
    [("/api/embed", {"input": "x", "truncate": False}), ("/api/embeddings", {"prompt": "x"})],
)
def test_no_truncation(wire: Wire, path: str, members: Any) -> None:
    """Without truncation too long a text is an error in Ollama's words."""
    client = embeds(wire, path, **members)
    refuses(wire, 500, BATCH)
    assert client.answer.status == 400
    assert client.answer.json == {"error": "the input length exceeds the context length"}
    assert wire.asked == []


@pytest.mark.parametrize(("status", "body"), [(500, b"{}"), (200, b"{}")])
def test_tokens_that_cannot_be_counted(wire: Wire, status: int, body: bytes) -> None:
    """Where tokens cannot be counted, that is the error."""
    client = embeds(wire, input="x" * 40)
    refuses(wire, 500, BATCH)
    wire.asked[0].sends(answer(status, body))
    assert client.answer.status == 502
    assert "tokens" in client.answer.json["error"]


# ---------------------------------------------------------------- other failures


@pytest.mark.parametrize(
    ("status", "message", "shown", "text"),
    [
        (
            501,
            "This server does not support embeddings",
            501,
            "start llama-server with --embeddings --pooling mean",
        ),
        (400, "Pooling type 'none' is not OAI compatible", 501, "--embeddings --pooling mean"),
        (400, "Input content cannot be empty", 400, "refused to embed (400): Input content cannot be empty"),
        (500, "boom", 502, "refused to embed (500): boom"),
        (500, "", 502, "its log may tell why"),
        (503, "no slot", 503, "cannot embed now: no slot"),
    ],
)
@pytest.mark.parametrize(
    ("path", "members"), [("/api/embed", {"input": "x"}), ("/api/embeddings", {"prompt": "x"})]
)
def test_refusals(
    wire: Wire, path: str, members: Any, status: int, message: str, shown: int, text: str
) -> None:
    """What upstream refuses is told, and where it cannot embed at all, what to do."""
    client = embeds(wire, path, **members)
    refuses(wire, status, message)
    assert client.answer.status == shown
    assert text in client.answer.json["error"]


@pytest.mark.parametrize(
    ("path", "members"), [("/api/embed", {"input": "x"}), ("/api/embeddings", {"prompt": "x"})]
)
def test_while_the_model_loads(wire: Wire, path: str, members: Any) -> None:
    """A request waits until llama-server has read its model, as a chat does."""
    client = embeds(wire, path, **members)
    wire.asked[0].tells(LOADING, 503)
    still(wire, 5)
    assert client.received == b""
    loaded(wire)
    assert wire.asked[-1].request.target == b"/v1/embeddings"
    wire.asked[-1].sends(answer(200, b'{"data":[{"index":0,"embedding":[1.0]}]}'))
    assert client.answer.status == 200


def test_key_of_the_client(wire: Wire) -> None:
    """The client's own key goes up, as with a chat, and its name for the type of the body does not."""
    client = wire.client()
    fields = ("Authorization: Bearer k", "Content-Type: application/x-www-form-urlencoded")
    client.asks("POST", "/api/embed", *fields, body=b'{"model":"tiny","input":"a"}')
    assert wire.asked[0].request.field(b"authorization") == b"Bearer k"
    assert wire.asked[0].request.field(b"content-type") == b"application/json"


def test_answer_that_is_none(wire: Wire) -> None:
    """An answer without an embedding for each text is an error."""
    client = embeds(wire, input=["a", "b", "c"])
    wire.asked[0].sends(answer(200, ROWS))
    assert client.answer.status == 502


def test_long_answer(wire: Wire) -> None:
    """The embeddings of many texts may be longer than any answer about models."""
    client = embeds(wire, input="a")
    row = b"[" + b"0.0123456789012345678," * 1_000_000 + b"1]"
    wire.asked[0].sends(answer(200, b'{"data":[{"index":0,"embedding":' + row + b"}]}"))
    assert client.answer.status == 200
    assert len(client.answer.body) > 20_000_000


@pytest.mark.parametrize("begun", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"])
def test_client_leaves(wire: Wire, begun: bytes) -> None:
    """A client that leaves closes upstream, whose slot is free for others then."""
    client = embeds(wire, input="a")
    (upstream,) = wire.asked
    upstream.sends(begun)
    client.leaves()
    assert upstream.closed
    assert "the client left" in wire.lines[0]


def test_openais_route_passes(wire: Wire) -> None:
    """/v1/embeddings is llama-server's own."""
    client = embeds(wire, "/v1/embeddings", input="a")
    assert json.loads(wire.asked[0].request.body) == {"model": "tiny", "input": "a"}
    wire.asked[0].sends(answer(200, ROWS))
    assert client.answer.body == ROWS
