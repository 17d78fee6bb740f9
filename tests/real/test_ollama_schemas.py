"""Is every line and every document that comes over a real llama.cpp as Ollama's schemas want it?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.real.client import ask
from tests.real.processes import Server, llama_server, proxy
from tests.schemas import check

NDJSON = {"Accept": "application/x-ndjson"}
GREEDY = {"temperature": 0, "seed": 1, "num_predict": 200}
TOOL = {
    "type": "function",
    "function": {"name": "f", "parameters": {"type": "object", "properties": {"a": {"type": "string"}}}},
}
SCHEMA = {"type": "object", "properties": {"b": {"type": "string"}}, "required": ["b"]}

# what a chat says, and what its answer has to have
CHATS: list[tuple[str, dict[str, Any], str]] = [
    ("Who are you?", {}, "content"),
    ("Who are you?", {"options": {"num_predict": 2}}, "content"),
    ("Who are you?", {"logprobs": True, "top_logprobs": 2}, "logprobs"),
    ("Who are you?", {"logprobs": True}, "logprobs"),
    ("Who are you?", {"format": SCHEMA}, "content"),
    ("Who are you?", {"format": "json"}, "content"),
    ("Who are you?", {"think": "max"}, "content"),
    ("THINK_FIRST", {}, "thinking"),
    ("THINK_FIRST", {"logprobs": True}, "thinking"),
    ("THINK_FIRST", {"think": False}, "content"),
    ("CALL_TOOL CALL_TOOL", {"tools": [TOOL]}, "tool_calls"),
    ("THINK_FIRST CALL_TOOL", {"tools": [TOOL]}, "tool_calls"),
    ("Who are you?", {"tools": [TOOL]}, "content"),
    ("word " * 30000, {"messages": [{"role": "user", "content": "Who are you?"}]}, "content"),
]

GENERATES: list[tuple[str, dict[str, Any], str]] = [
    ("Who are you?", {}, "response"),
    ("Who are you?", {"system": "Be brief.", "options": {"num_predict": 2}}, "response"),
    ("Who are you?", {"raw": True}, "response"),
    ("Who are you?", {"raw": True, "logprobs": True, "top_logprobs": 3}, "logprobs"),
    ("def f():", {"suffix": "return 1"}, "response"),
    ("Who are you?", {"context": [1, 2, 3]}, "response"),
    ("THINK_FIRST", {"context": [1, 2, 3]}, "thinking"),
    ("THINK_FIRST", {}, "thinking"),
    ("Who are you?", {"format": SCHEMA}, "response"),
    ("Who are you?", {"logprobs": True}, "logprobs"),
]

ERRORS: list[tuple[str, dict[str, Any], int]] = [
    ("/api/chat", {"messages": []}, 400),
    ("/api/chat", {"model": "nobody", "messages": [{"role": "user", "content": "x"}]}, 404),
    ("/api/chat", {"model": "tiny", "messages": [{"role": "user", "content": 7}]}, 400),
    ("/api/chat", {"model": "tiny", "messages": [{"role": "user"}], "options": {"top_k": "x"}}, 500),
    ("/api/chat", {"model": "tiny", "messages": [{"role": "user"}], "think": "hard"}, 400),
    ("/api/chat", {"model": "tiny", "messages": [{"role": "user", "content": "x " * 40000}]}, 400),
    ("/api/generate", {}, 404),
    ("/api/generate", {"model": "tiny", "prompt": "x", "format": "xml"}, 500),
    ("/api/generate", {"model": "tiny", "prompt": "x", "raw": True, "system": "s"}, 400),
    ("/api/generate", {"model": "tiny", "prompt": "x", "images": ["data:image/png;base64,"]}, 400),
    ("/api/show", {"model": "nobody"}, 404),
    ("/api/embed", {"model": "nobody", "input": "x"}, 404),
    ("/api/embed", {"model": "tiny", "input": "x", "keep_alive": "30"}, 400),
    ("/api/embeddings", {"model": "tiny", "prompt": "x"}, 501),
    ("/api/pull", {"model": "other", "stream": False}, 500),
    ("/api/create", {"model": "other"}, 400),
    ("/api/me", {}, 401),
]


def lines(server: Server, path: str, body: dict[str, Any]) -> list[Any]:
    """The lines of a streamed answer, each ended."""
    answer = ask(server, "POST", path, body, NDJSON)
    assert answer.status == 200, answer.body
    assert answer.headers["Content-Type"] == "application/x-ndjson"
    *whole, rest = answer.body.split(b"\n")
    assert rest == b""
    return [json.loads(line) for line in whole]


def document(server: Server, path: str, body: dict[str, Any]) -> Any:
    answer = ask(server, "POST", path, body, NDJSON)
    assert answer.status == 200, answer.body
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    return answer.json


def ends_once(said: list[Any]) -> None:
    """Only the last line is the end."""
    assert [line["done"] for line in said] == [False] * (len(said) - 1) + [True]


def members(text: str, more: dict[str, Any]) -> dict[str, Any]:
    """A chat's body: what is said first, and what else it has."""
    after = more.get("messages", [])
    messages = [{"role": "user", "content": text}, *after]
    return {"model": "tiny", **more, "messages": messages, "options": {**GREEDY, **more.get("options", {})}}


@pytest.mark.parametrize(("text", "more", "found"), CHATS)
def test_chat(running: Server, text: str, more: dict[str, Any], found: str) -> None:
    """Each line of a chat, and the chat as one document, has the shape, and what was asked for."""
    body = members(text, more)
    said = lines(running, "/api/chat", body)
    for line in said:
        check("chat_line", line)
    ends_once(said)
    whole = document(running, "/api/chat", {**body, "stream": False})
    check("chat_whole", whole)
    for one in (*said, whole):
        assert "<think>" not in one["message"]["content"]
        assert "<tool_call>" not in one["message"]["content"]
    assert any(line.get(found) or line["message"].get(found) for line in said)
    assert whole.get(found) or whole["message"].get(found)
    assert whole["done_reason"] == said[-1]["done_reason"]


@pytest.mark.parametrize(("text", "more", "found"), GENERATES)
def test_generate(running: Server, text: str, more: dict[str, Any], found: str) -> None:
    """Each line of a generate, and the generate as one document, has the shape; both have the context."""
    body = {"model": "tiny", "prompt": text, **more, "options": {**GREEDY, **more.get("options", {})}}
    said = lines(running, "/api/generate", body)
    for line in said:
        check("generate_line", line)
    ends_once(said)
    whole = document(running, "/api/generate", {**body, "stream": False})
    check("generate_whole", whole)
    assert any(line.get(found) for line in said)
    assert whole[found]
    for last in (said[-1], whole):
        assert ("context" in last) is not more.get("raw", False)


@pytest.mark.parametrize("keep_alive", [None, 0, 0.0, "0s", -1, "5m"])
@pytest.mark.parametrize("path", ["chat", "generate"])
def test_load_and_unload(running: Server, path: str, keep_alive: Any) -> None:
    """A request without a word loads the model or unloads it, in one document even as a stream."""
    for stream in (None, True, False):
        body = {"model": "tiny", "keep_alive": keep_alive, "stream": stream}
        answer = document(running, f"/api/{path}", body)
        check(f"{path}_whole", answer)
        assert answer["done_reason"] == ("unload" if keep_alive in (0, "0s") else "load")


@pytest.mark.parametrize(("path", "body", "status"), ERRORS)
def test_errors(running: Server, path: str, body: dict[str, Any], status: int) -> None:
    """Each refusal is a text under `error`, whatever it is about."""
    answer = ask(running, "POST", path, body, NDJSON)
    assert answer.status == status, answer.body
    assert answer.headers["Content-Type"].startswith("application/json")
    check("error", answer.json)


def test_listings(running: Server) -> None:
    """What is told of models and of the server has the shape."""
    for path in ("tags", "ps", "version"):
        check(path, ask(running, "GET", f"/api/{path}").json)
    for body in ({"model": "tiny"}, {"model": "", "name": "TINY:latest", "options": None}):
        check("show", ask(running, "POST", "/api/show", body).json)


def test_pull(running: Server) -> None:
    """A pull tells its progress; one of a model that is not there ends in an error."""
    for line in lines(running, "/api/pull", {"model": "tiny"}):
        check("progress", line)
    check("progress", ask(running, "POST", "/api/pull", {"model": "tiny", "stream": False}).json)
    first, last = lines(running, "/api/pull", {"model": "other"})
    check("progress", first)
    check("error", last)


@pytest.fixture(scope="module")
def embedding() -> Iterator[Server]:
    """The proxy in front of a llama.cpp that embeds."""
    with llama_server("--embeddings") as llama, proxy(llama.url) as server:
        yield server


@pytest.mark.parametrize("given", [None, "", [], "one", ["one", "two"], "long " * 2000])
def test_embed(embedding: Server, given: Any) -> None:
    """Embeddings have the shape, for none, one and several texts, and for one that is cut."""
    answer = ask(embedding, "POST", "/api/embed", {"model": "tiny", "input": given})
    check("embed", answer.json)
    assert len(answer.json["embeddings"]) == (len(given) if isinstance(given, list) else bool(given))


def test_the_older_route(embedding: Server) -> None:
    """So has the one embedding of the older route."""
    for prompt in ("", "one"):
        check(
            "embeddings", ask(embedding, "POST", "/api/embeddings", {"model": "tiny", "prompt": prompt}).json
        )
