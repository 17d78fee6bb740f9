"""nginx, HAProxy and Caddy as deploy/ configures them, with TLS, before the proxy and a real llama.cpp."""

import json
import re
import signal
import socket
import ssl
from contextlib import ExitStack, closing, suppress
from http.client import HTTPConnection
from typing import Any

import pytest

from bench.fronts import NAME
from copilot_proxy.embedded.tiny.vocabulary import FIRST_SENTENCE
from tests.deploy.conftest import Front, StartFront
from tests.real.client import (
    JSON,
    ask,
    asking,
    busy_slots,
    chat,
    chunks,
    connection_to,
    first_event,
    pieces,
    text_of,
    told_alike,
    until_free,
)
from tests.real.conftest import StartProxy
from tests.real.processes import DEADLINE, Server

CHAT = "/v1/chat/completions"
ENDLESS = chat("TALK_LONG")
LONG = chat("TALK_LONG", max_tokens=8000)  # some seconds of tokens, and then an end
MEGABYTE = 1 << 20
NOBODY = "http://127.0.0.1:1"  # an upstream that is not there


def test_the_listing_is_the_proxys_own(front: Front, running: Server) -> None:
    """What /api/tags tells through TLS is what it tells directly."""
    assert ask(front, "GET", "/api/tags").json == ask(running, "GET", "/api/tags").json


@pytest.mark.parametrize("path", [CHAT, "/api/chat"])
def test_a_stream_is_the_proxys_own(path: str, front: Front, running: Server) -> None:
    """The very bytes come that the proxy streams when it is asked directly."""
    through, straight = (ask(server, "POST", path, chat("Who are you?")) for server in (front, running))
    assert through.status == straight.status == 200
    assert through.headers["Content-Type"] == "text/event-stream"
    assert told_alike(through.body) == told_alike(straight.body)
    assert text_of(chunks(through.body)) == FIRST_SENTENCE


def test_tokens_come_while_the_model_talks(front: Front, llama: Server) -> None:
    """Events of an answer without an end are read one by one, and a client that hangs up frees the slot."""
    until_free(llama)
    with asking(front, "POST", CHAT, ENDLESS) as response:
        said = [first_event(response) for _ in range(20)]
        assert all(event.startswith(b"data: {") for event in said)
        assert busy_slots(llama) == 1
    until_free(llama)


def test_tokens_come_one_by_one(front: Front) -> None:
    """A long answer comes in many pieces, and ends as it should."""
    with asking(front, "POST", CHAT, chat("TALK_LONG", max_tokens=300)) as response:
        received = list(pieces(response))
    assert len(received) > 10
    assert chunks(b"".join(received))[-1]["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize("politely", [True, False], ids=["close_notify", "no close_notify"])
def test_hanging_up_before_the_head(
    politely: bool, kind: str, start_proxy: StartProxy, start_front: StartFront
) -> None:
    """A client that leaves before the first token leaves the proxy, too, whether it ended TLS or not."""
    with socket.create_server(("127.0.0.1", 0)) as mute, ExitStack() as open_:
        mute.settimeout(DEADLINE)
        proxy = start_proxy(f"http://127.0.0.1:{mute.getsockname()[1]}")
        front = start_front(kind, proxy)
        with closing(connection_to(front)) as client:
            client.request("POST", CHAT, json.dumps(ENDLESS), JSON)
            until_asked(mute, open_)
            if politely:
                leave_politely(client)
        proxy.expect(rf"POST {CHAT} .*the client left")


def until_asked(mute: socket.socket, open_: ExitStack) -> None:
    """Return when a chat has come to an upstream without answers; other requests are refused.

    `open_` closes the chat's connection, whatever comes.
    """
    while True:
        connection = open_.enter_context(mute.accept()[0])
        if connection.recv(4096).startswith(b"POST"):
            return
        connection.close()


def leave_politely(client: HTTPConnection) -> None:
    """End TLS as its RFC wants it (RFC 8446 section 6.1)."""
    sock = client.sock
    assert isinstance(sock, ssl.SSLSocket)
    sock.setblocking(False)
    with suppress(ssl.SSLError):  # ours is out; the other end's is not there, but TLS 1.3's tickets may be
        sock.unwrap()


def test_a_tool_call(front: Front) -> None:
    """A tool is called, with whole arguments, and the answer ends with the reason that says so."""
    tool: dict[str, Any] = {"type": "function", "function": {"name": "get_time"}}
    deltas = chunks(ask(front, "POST", CHAT, chat("CALL_TOOL", tools=[tool])).body)
    calls = [call for chunk in deltas for call in chunk["choices"][0]["delta"].get("tool_calls", [])]
    assert calls[0]["function"]["name"] == "get_time"
    assert json.loads("".join(call["function"]["arguments"] for call in calls)) == {}
    assert deltas[-1]["choices"][0]["finish_reason"] == "tool_calls"


@pytest.mark.parametrize("framing", ["whole", "in chunks"])
def test_a_large_body(framing: str, front: Front) -> None:
    """A body of more than 1 MB, with its length told or not, reaches llama.cpp whole."""
    text = "".join(f"{number} machines\n" for number in range(70_000))
    body = json.dumps({"messages": [{"role": "user", "content": text}]}).encode()
    assert len(body) > MEGABYTE
    step = 100_000
    sent = body if framing == "whole" else (body[at : at + step] for at in range(0, len(body), step))
    answer = ask(front, "POST", "/apply-template", sent, JSON)
    assert answer.status == 200
    assert text in answer.json["prompt"]


def test_names_and_addresses_are_passed_on(
    kind: str, start_proxy: StartProxy, start_front: StartFront, llama: Server
) -> None:
    """The proxy is asked under a name that it knows, and told of the client's under X-Forwarded-*."""
    proxy = start_proxy(llama.url, "--verbose")
    front = start_front(kind, proxy)
    name = f"{NAME}:{front.port}"
    assert ask(front, "GET", "/api/version", headers={"Host": name}).status == 200
    head = proxy.expect(r"GET /api/version from the client\n(?:.+\n)+")[0].lower()
    told = dict(re.findall(r"^\s*([\w-]+): (.*)$", head, re.MULTILINE))
    assert told["host"] == "localhost"
    assert told["x-forwarded-host"] == name
    assert told["x-forwarded-proto"] == "https"
    assert told["x-forwarded-for"] == "127.0.0.1"


def test_two_proxies_behind_haproxy(start_proxy: StartProxy, start_front: StartFront, llama: Server) -> None:
    """Two streams at once go to one proxy each; when one of them is killed, every chat is still answered."""
    until_free(llama)
    proxies = start_proxy(llama.url), start_proxy(llama.url)
    front = start_front("haproxy", *proxies)
    with ExitStack() as answers:
        for _ in proxies:
            first_event(answers.enter_context(asking(front, "POST", CHAT, ENDLESS)))
    for proxy in proxies:
        proxy.expect(rf"POST {CHAT} .*the client left")
    until_free(llama)

    killed, _ = proxies
    killed.signal(signal.SIGKILL)
    killed.wait()
    for _ in range(6):
        assert text_of(chunks(ask(front, "POST", CHAT, chat("Who are you?")).body)) == FIRST_SENTENCE


def test_one_of_two_is_being_stopped(start_proxy: StartProxy, start_front: StartFront, llama: Server) -> None:
    """Behind HAProxy a proxy that is being stopped ends its streams, and who comes then gets the other."""
    until_free(llama)
    proxies = start_proxy(llama.url), start_proxy(llama.url)
    front = start_front("haproxy", *proxies)
    with ExitStack() as answers:
        streams = [answers.enter_context(asking(front, "POST", CHAT, LONG)) for _ in proxies]
        bodies = [first_event(stream) + b"\n" for stream in streams]
        stopped, other = proxies
        stopped.signal(signal.SIGTERM)
        stopped.expect("draining: 1 answer under way")
        for _ in range(6):
            assert text_of(chunks(ask(front, "POST", CHAT, chat("Who are you?")).body)) == FIRST_SENTENCE
        assert not stopped.ended, "all of these came while it still had its stream"
        for body, stream in zip(bodies, streams, strict=True):
            assert chunks(body + b"".join(pieces(stream)))[-1]["choices"][0]["finish_reason"] == "length"
    stopped.wait()
    stopped.expect("drained: all have ended")
    assert other.log.count(f"POST {CHAT} 200") == 7


def test_one_of_two_is_not_ready(start_proxy: StartProxy, start_front: StartFront, llama: Server) -> None:
    """Behind HAProxy no chat goes to a proxy without a llama-server, as long as another one has one."""
    front = start_front("haproxy", start_proxy(llama.url), start_proxy(NOBODY))
    front.expect("Server copilot-proxies/second is DOWN")
    for _ in range(6):
        assert text_of(chunks(ask(front, "POST", CHAT, chat("Who are you?")).body)) == FIRST_SENTENCE


def test_none_is_ready(start_proxy: StartProxy, start_front: StartFront) -> None:
    """Then HAProxy asks one all the same, and what is wrong is told by copilot-proxy, in the client's API."""
    front = start_front("haproxy", start_proxy(NOBODY), start_proxy(NOBODY))
    for name in ("first", "second"):
        front.expect(f"Server copilot-proxies/{name} is DOWN")
    answer = ask(front, "POST", CHAT, chat("Who are you?"))
    assert "is it running?" in answer.json["error"]["message"]
