"""A client hangs up: llama.cpp stops at once, and nothing stays behind."""

import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path

import pytest

from copilot_proxy.upstream.client import IDLE_CONNECTIONS
from tests.real.client import JSON, ask, asking, busy_slots, chat, chunks, first_event, until_free
from tests.real.conftest import StartProxy
from tests.real.processes import Server, until

ESTABLISHED = "01"  # include/net/tcp_states.h
ENDLESS = chat("TALK_LONG")
PATHS = ["/v1/chat/completions", "/api/chat"]


def sockets(pid: int) -> set[str]:
    """The inodes of the sockets that a process holds."""
    held = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = os.readlink(descriptor)
        except FileNotFoundError:
            continue  # closed since it was listed
        if target.startswith("socket:["):
            held.add(target.removeprefix("socket:[").removesuffix("]"))
    return held


def connections(server: Server, port: int) -> int:
    """How many established connections the process has to this port of another."""
    held = sockets(server.pid)
    rows = [row.split() for row in Path(f"/proc/{server.pid}/net/tcp").read_text().splitlines()[1:]]
    # the columns are those of proc_pid_net(5): remote address, state, inode
    return sum(row[2].endswith(f":{port:04X}") and row[3] == ESTABLISHED and row[9] in held for row in rows)


needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells of connections in /proc")


@contextmanager
def every_slot_busy(llama: Server) -> Iterator[None]:
    """Four answers without an end are generated meanwhile, asked for past the proxy."""
    until_free(llama)
    with ExitStack() as answers:
        for _ in ask(llama, "GET", "/slots").json:
            first_event(answers.enter_context(asking(llama, "POST", "/v1/chat/completions", ENDLESS)))
        assert busy_slots(llama) == len(ask(llama, "GET", "/slots").json)
        yield


def waiting_requests(llama: Server) -> int:
    """How many requests llama.cpp has no slot for."""
    metrics = ask(llama, "GET", "/metrics").body.decode()
    count = re.search(r"^llamacpp:requests_deferred (\d+)", metrics, re.MULTILINE)
    assert count is not None, metrics
    return int(count[1])


@pytest.mark.parametrize("path", PATHS)
def test_hanging_up_in_mid_stream(path: str, running: Server, llama: Server) -> None:
    """When a client leaves an answer without an end, its slot is free again."""
    until_free(llama)
    with asking(running, "POST", path, ENDLESS) as response:
        first_event(response)
        assert busy_slots(llama) == 1
    until_free(llama)


@needs_proc
def test_hanging_up_on_an_answer_in_one_piece(start_proxy: StartProxy, llama: Server) -> None:
    """A client that asked for no stream leaves: so does the proxy, and the slot is free again."""
    until_free(llama)
    server = start_proxy(llama.url)
    with closing(HTTPConnection("127.0.0.1", server.port)) as client:
        client.request("POST", PATHS[0], json.dumps({**ENDLESS, "stream": False}), JSON)
        until(lambda: busy_slots(llama) == 1, "llama.cpp generates")
    until(lambda: connections(server, llama.port) == 0, "the proxy left llama.cpp")
    # llama.cpp looks after a second in which it had nothing else to answer, not even about slots (b11549)
    until(lambda: busy_slots(llama) == 0, "the slot is free", every=1.5)


def test_twenty_hang_ups_in_a_row(running: Server, llama: Server) -> None:
    """After twenty clients that left, every slot is free and the next chat is whole."""
    for number in range(20):
        with asking(running, "POST", PATHS[number % 2], ENDLESS) as response:
            first_event(response)
    until_free(llama)
    assert chunks(ask(running, "POST", PATHS[0], chat("Who are you?")).body)


@needs_proc
def test_hang_ups_leak_no_connection(start_proxy: StartProxy, llama: Server) -> None:
    """What is open to llama.cpp after ten hang-ups is what is kept for the next request, and no more."""
    server = start_proxy(llama.url)
    assert ask(server, "GET", "/v1/models").status == 200
    before = len(sockets(server.pid)) - connections(server, llama.port)
    for _ in range(10):
        with asking(server, "POST", PATHS[0], ENDLESS) as response:
            first_event(response)
            assert connections(server, llama.port) > 0
    until(lambda: connections(server, llama.port) <= IDLE_CONNECTIONS, "cut connections are closed")
    until_free(llama)
    until(
        lambda: len(sockets(server.pid)) - connections(server, llama.port) <= before,
        "the connections of clients are closed",
    )


@needs_proc
@pytest.mark.parametrize("path", PATHS)
def test_hanging_up_before_the_head(path: str, start_proxy: StartProxy, llama: Server) -> None:
    """A client leaves while it waits for a slot: llama.cpp is left as well, with all slots still busy."""
    server = start_proxy(llama.url)
    server.expect("upstream .* has tiny")
    with every_slot_busy(llama):
        with closing(HTTPConnection("127.0.0.1", server.port)) as client:
            client.request("POST", path, json.dumps(ENDLESS), JSON)
            until(lambda: waiting_requests(llama) == 1, "llama.cpp has the request, and no slot for it")
            assert connections(server, llama.port) > 0
        until(lambda: connections(server, llama.port) == 0, "the proxy left llama.cpp")
        server.expect(rf"POST {path} .*the client left")
    until_free(llama)
    assert waiting_requests(llama) == 0
