"""SIGTERM in the middle of answers: they end whole, or are told, and nothing is left behind."""

import json
import signal
import socket
import time
from http.client import HTTPConnection

import pytest

from tests.real.client import (
    asking,
    busy_slots,
    chat,
    chunks,
    first_event,
    pieces,
    until_free,
    until_the_cut,
)
from tests.real.conftest import StartProxy
from tests.real.processes import Server, listens

PATH = "/v1/chat/completions"
ENDLESS = chat("TALK_LONG")
TOKENS = 1500
FINITE = chat("TALK_LONG", max_tokens=TOKENS)  # most of a second on a fast machine that does nothing else
COPILOT = {"User-Agent": "GitHubCopilotChat/0.67.0"}


def stop(server: Server) -> None:
    """Send SIGTERM, and return when the port is closed."""
    server.signal(signal.SIGTERM)
    server.expect("draining: ")
    assert not listens(server.port)


def test_a_stream_ends_whole(start_proxy: StartProxy, llama: Server) -> None:
    """A stream that is under way at SIGTERM comes to its end; the port and idle connections close at once."""
    until_free(llama)
    server = start_proxy(llama.url)
    idle = HTTPConnection("127.0.0.1", server.port, timeout=5)
    idle.request("GET", "/api/version")
    idle.getresponse().read()
    with asking(server, "POST", PATH, FINITE) as response:
        begun = first_event(response) + b"\n"
        stop(server)
        assert idle.sock.recv(1) == b""
        body = begun + b"".join(pieces(response))
    idle.close()
    said = chunks(body)
    assert said[-1]["timings"]["predicted_n"] == TOKENS
    assert server.wait() == -signal.SIGTERM
    server.expect(r"draining: 1 answer under way, at most 25 s; a second signal cuts them off\n")
    server.expect(rf"POST /v1/chat/completions 200 .*tokens=\d+\+{TOKENS}\n")
    server.expect(r"drained: all have ended after \d")
    assert busy_slots(llama) == 0


def test_a_stream_that_does_not_end_is_told(start_proxy: StartProxy, llama: Server) -> None:
    """With --drain 1 an endless stream is cut after a second, with an error event, and its slot is free."""
    until_free(llama)
    server = start_proxy(llama.url, "--drain", "1")
    with asking(server, "POST", PATH, ENDLESS) as response:
        first_event(response)
        begun = time.monotonic()
        stop(server)
        assert busy_slots(llama) == 1
        last = until_the_cut(response).removesuffix(b"\n\n").rpartition(b"\n\n")[2]
        assert 0.9 < time.monotonic() - begun < 3
    error = json.loads(last.removeprefix(b"data: "))["error"]
    assert error["code"] == "proxy_stopped"
    assert server.wait() == -signal.SIGTERM
    server.expect("1 answer cut: ")
    until_free(llama)


def test_copilots_stream_is_told(start_proxy: StartProxy, llama: Server) -> None:
    """A stream of Copilot's gets the end that its client reads: a finish reason, the error and `[DONE]`."""
    until_free(llama)
    server = start_proxy(llama.url, env={"DRAIN": "0"})
    with asking(server, "POST", PATH, ENDLESS, COPILOT) as response:
        begun = first_event(response) + b"\n"
        server.signal(signal.SIGTERM)
        *_, finish, told = chunks(begun + b"".join(pieces(response)))
    assert finish["choices"][0]["finish_reason"] == "error"
    assert told["error"]["code"] == "proxy_stopped"
    assert server.wait() == -signal.SIGTERM
    until_free(llama)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal(number: signal.Signals, start_proxy: StartProxy, llama: Server) -> None:
    """A second SIGTERM or Ctrl-C waits no longer: streams are told at once."""
    until_free(llama)
    server = start_proxy(llama.url)
    with asking(server, "POST", PATH, ENDLESS) as response:
        first_event(response)
        stop(server)
        server.signal(number)
        assert b"proxy_stopped" in until_the_cut(response)
    assert server.wait() == -signal.SIGTERM
    until_free(llama)


def test_an_embedded_llama_cpp_is_stopped_last(start_proxy: StartProxy) -> None:
    """The proxy's own llama.cpp answers to the end, and is stopped then."""
    server = start_proxy("demo:")
    with asking(server, "POST", PATH, FINITE) as response:
        begun = first_event(response) + b"\n"
        stop(server)
        said = chunks(begun + b"".join(pieces(response)))
    assert said[-1]["timings"]["predicted_n"] == TOKENS
    assert server.wait() == -signal.SIGTERM
    assert "it starts again" not in server.log


def test_a_client_that_reads_nothing(start_proxy: StartProxy, llama: Server) -> None:
    """A client that does not read an endless stream is given up after --stall-timeout; its slot is free."""
    until_free(llama)
    server = start_proxy(llama.url, "--stall-timeout", "1")
    body = json.dumps({**ENDLESS, "logprobs": True, "top_logprobs": 20}).encode()  # some KiB for each token
    head = f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", server.port))
        client.sendall(head.encode() + body)
        server.expect(r"POST /v1/chat/completions 200 .*\(the client read nothing for 1 s\)\n")
        until_free(llama)
