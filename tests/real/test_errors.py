"""What can fail between a client and llama.cpp, and what the client is told."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from copilot_proxy.embedded.tiny.vocabulary import FIRST_SENTENCE
from tests.real.client import JSON, ask, asking, chat, chunks, events, first_event, text_of, until_the_cut
from tests.real.conftest import StartLlama, StartProxy
from tests.real.processes import Server

CHAT = "/v1/chat/completions"
VS_CODE = {"User-Agent": "GitHubCopilotChat/0.67.0"}
QUESTION = chat("Who are you?")
TOO_LONG = chat("machine " * 33_000)


@pytest.mark.parametrize(("headers", "status"), [({}, 502), (VS_CODE, 400)])
@pytest.mark.parametrize("path", [CHAT, "/api/chat"])
def test_llama_server_is_not_there(
    path: str, headers: dict[str, str], status: int, start_proxy: StartProxy, unused_port: int
) -> None:
    """Nobody at upstream's address: a 502, or for VS Code the 400 of which it shows the text."""
    upstream = f"http://127.0.0.1:{unused_port}"
    answer = ask(start_proxy(upstream), "POST", path, QUESTION, headers)
    assert answer.status == status
    error = answer.json["error"]
    assert error["code"] == "upstream_refused"
    assert upstream in error["message"]
    assert "is it running" in error["message"]


def test_listings_without_llama_server(start_proxy: StartProxy, unused_port: int) -> None:
    """Without upstream there is no listing, since an empty one would be remembered; the version is told."""
    server = start_proxy(f"http://127.0.0.1:{unused_port}")
    answer = ask(server, "GET", "/api/tags")
    assert answer.status == 502
    assert "is it running" in answer.json["error"]
    assert ask(server, "GET", "/api/version").status == 200
    assert ask(server, "HEAD", "/").status == 200


@pytest.mark.parametrize("path", [CHAT, "/api/chat"])
def test_llama_server_is_killed_in_mid_stream(
    path: str, start_llama: StartLlama, start_proxy: StartProxy
) -> None:
    """A cut stream ends with an event that tells the error, and without the end of a whole answer.

    A llama-server that is started again on the same port is used at once.
    """
    llama = start_llama()
    server = start_proxy(llama.url)
    body = b""
    with asking(server, "POST", path, chat("TALK_LONG")) as response:
        body += first_event(response) + b"\n"
        llama.signal(signal.SIGKILL)
        body += until_the_cut(response)
    *_, last = events(body)
    assert json.loads(last)["error"]["code"] == "upstream_lost"
    assert b"[DONE]" not in body

    assert ask(server, "POST", path, QUESTION).status == 502
    start_llama("--port", str(llama.port))
    assert text_of(chunks(ask(server, "POST", path, QUESTION).body)) == FIRST_SENTENCE
    assert [model["name"] for model in ask(server, "GET", "/api/tags").json["models"]] == ["tiny"]


def test_llama_server_comes_later(start_llama: StartLlama, start_proxy: StartProxy, unused_port: int) -> None:
    """A proxy that was started first works as soon as llama-server is there."""
    server = start_proxy(f"http://127.0.0.1:{unused_port}")
    server.expect(r"is it running\?")
    start_llama("--port", str(unused_port))
    assert ask(server, "GET", "/v1/models").json["data"][0]["id"] == "tiny"
    server.expect("has tiny")
    assert chunks(ask(server, "POST", CHAT, QUESTION).body)


@pytest.mark.parametrize(
    ("path", "body", "headers", "where"),
    [
        (CHAT, b'{"messages": [}', {}, "line 1, column 15"),
        (CHAT, b'{\n "messages": [],\n}', {}, "line 3, column 1"),
        ("/api/chat", b"hello", {}, "line 1, column 1"),
        ("/v1/embeddings", b"{", JSON, "line 1"),
    ],
)
def test_a_body_that_is_no_json(
    path: str, body: bytes, headers: dict[str, str], where: str, running: Server
) -> None:
    """What is no JSON is a 400 that says where, and llama.cpp does not see it."""
    answer = ask(running, "POST", path, body, headers)
    assert answer.status == 400
    assert answer.json["error"]["code"] == "invalid_json"
    assert where in answer.json["error"]["message"]


def test_no_json_in_ollamas_words(running: Server) -> None:
    """For an Ollama path the error is a text, as Ollama's clients read it."""
    answer = ask(running, "POST", "/api/show", b"{", JSON)
    assert answer.status == 400
    assert isinstance(answer.json["error"], str)


@pytest.mark.parametrize(
    ("body", "error_type"),
    [
        (TOO_LONG, "exceed_context_size_error"),
        ({**TOO_LONG, "stream": False}, "exceed_context_size_error"),
        ({**QUESTION, "max_tokens": "5"}, "invalid_request_error"),
    ],
    ids=["too long", "too long, not streamed", "a wrong type"],
)
@pytest.mark.parametrize("headers", [{}, VS_CODE], ids=["any client", "VS Code"])
def test_llama_cpps_own_refusal(
    headers: dict[str, str], body: Any, error_type: str, running: Server, llama: Server
) -> None:
    """What llama.cpp refuses passes through with its status and its very bytes."""
    through = ask(running, "POST", CHAT, body, headers)
    straight = ask(llama, "POST", CHAT, body)
    assert (through.status, through.body) == (straight.status, straight.body)
    assert through.status == 400
    assert through.headers["Content-Type"] == straight.headers["Content-Type"]
    assert through.json["error"]["type"] == error_type


def test_a_path_that_llama_cpp_does_not_know(running: Server) -> None:
    """llama.cpp's 404 passes through."""
    answer = ask(running, "GET", "/no/such/thing")
    assert answer.status == 404
    assert answer.json["error"]["type"] == "not_found_error"


@pytest.fixture(scope="module")
def key_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("key") / "key"
    file.write_text("right\n")
    return file


def test_the_key_of_the_proxy(start_llama: StartLlama, start_proxy: StartProxy, key_file: Path) -> None:
    """With --upstream-key-file clients need no key, and a wrong one of theirs does no harm."""
    server = start_proxy(start_llama("--api-key", "right").url, "--upstream-key-file", str(key_file))
    for headers in (
        {},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer wrong"},
        {"X-Api-Key": "wrong"},
    ):
        assert text_of(chunks(ask(server, "POST", CHAT, QUESTION, headers).body)) == FIRST_SENTENCE
    assert [model["name"] for model in ask(server, "GET", "/api/tags").json["models"]] == ["tiny"]


def test_the_key_of_the_client(start_llama: StartLlama, start_proxy: StartProxy) -> None:
    """Without --upstream-key-file the client's key counts, and a wrong one is told so."""
    server = start_proxy(start_llama("--api-key", "right").url)
    right = ask(server, "POST", CHAT, QUESTION, {"Authorization": "Bearer right"})
    assert text_of(chunks(right.body)) == FIRST_SENTENCE
    for headers, status in (({}, 401), ({"Authorization": "Bearer wrong"}, 401), (VS_CODE, 400)):
        wrong = ask(server, "POST", CHAT, QUESTION, headers)
        assert wrong.status == status
        assert wrong.json["error"]["message"] == "Invalid API Key"
    listing = ask(server, "GET", "/api/tags")
    assert listing.status == 502
    assert "--upstream-key-file" in listing.json["error"]
