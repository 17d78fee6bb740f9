"""Large requests: a long prompt, a body in chunks, and one that is over the limit."""

import json
import socket
from collections.abc import Iterator

import pytest

from copilot_proxy.embedded.tiny.vocabulary import FIRST_SENTENCE, SENTENCES
from tests.real.client import JSON, ask, chat, chunks, text_of
from tests.real.conftest import StartProxy
from tests.real.processes import DEADLINE, Server

KIBIBYTE = 1024
# what llama.cpp reads as one word each, or the prompt would be longer than the context
PROMPT = " ".join(SENTENCES) * (65 * KIBIBYTE // len(" ".join(SENTENCES)) + 1)


def in_pieces(body: bytes, size: int) -> Iterator[bytes]:
    yield from (body[at : at + size] for at in range(0, len(body), size))


def test_a_long_prompt(running: Server) -> None:
    """A prompt of more than 64 KiB is read whole: llama.cpp counts its tokens, and answers."""
    assert len(PROMPT) > 64 * KIBIBYTE
    body = chat(PROMPT, stream_options={"include_usage": True}, cache_prompt=True)
    *said, usage = chunks(ask(running, "POST", "/v1/chat/completions", body).body)
    assert text_of(said) == FIRST_SENTENCE
    assert usage["usage"]["prompt_tokens"] > 13000


@pytest.mark.parametrize("size", [1000, 70_000])
def test_a_large_body_in_chunks(size: int, running: Server) -> None:
    """A body of 130 KB without Content-Length, padded with whitespace, is minified and answered."""
    blank = "\n" + " " * 8000
    body = json.dumps(chat("Who are you?"), separators=("," + blank, ":" + blank)).encode()
    assert len(body) > 100_000
    answer = ask(running, "POST", "/v1/chat/completions", in_pieces(body, size), JSON)
    assert answer.status == 200
    assert text_of(chunks(answer.body)).endswith("machine.")


def test_a_large_upload_reaches_llama_cpp_whole(running: Server) -> None:
    """Five megabytes pass through to a path that the proxy knows nothing of, and come back whole."""
    text = "".join(f"{number} machines\n" for number in range(320_000))
    assert len(text) > 5_000_000
    messages = [{"role": "user", "content": text}]
    assert text in ask(running, "POST", "/apply-template", {"messages": messages}).json["prompt"]


def refused(answer: bytes, limit: int) -> None:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 413 ")
    error = json.loads(body)["error"]
    assert error["code"] == "body_too_large"
    assert str(limit) in error["message"]
    assert "--body-limit" in error["message"]


def test_a_body_over_the_limit(start_proxy: StartProxy, llama: Server) -> None:
    """With --body-limit a larger body is a 413 that says so, in chunks too, and the proxy serves on."""
    server = start_proxy(llama.url, "--body-limit", "64K")
    limit = 64 * KIBIBYTE
    body = b'{"messages":"' + b"x" * 20 * limit + b'"}'
    framed = {
        b"Content-Length: %d" % len(body): body,
        b"Transfer-Encoding: chunked": b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body),
    }
    for field, sent in framed.items():
        with socket.create_connection(("127.0.0.1", server.port), DEADLINE) as client:
            client.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n")
            client.sendall(field + b"\r\n\r\n" + sent)
            with client.makefile("rb") as answer:
                refused(answer.read(), limit)
    small = ask(server, "POST", "/v1/chat/completions", chat("Who are you?"))
    assert text_of(chunks(small.body)) == FIRST_SENTENCE


def test_a_body_at_the_limit(start_proxy: StartProxy, llama: Server) -> None:
    """A body of exactly the limit is served."""
    body = json.dumps(chat("Who are you?")).encode()
    server = start_proxy(llama.url, "--body-limit", str(len(body)))
    assert ask(server, "POST", "/v1/chat/completions", body, JSON).status == 200
    assert ask(server, "POST", "/v1/chat/completions", body + b" ", JSON).status == 413
