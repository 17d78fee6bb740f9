"""What systemd relies on: sockets that it passes, and what the proxy tells it of itself."""

import os
import re
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from copilot_proxy.embedded.tiny.vocabulary import FIRST_SENTENCE
from tests.real.client import ask, chat, chunks, text_of
from tests.real.conftest import StartProxy
from tests.real.processes import DEADLINE, ROOT, TWIST, Process, Server, listens, proxy, until

UNITS = ROOT / "deploy" / "systemd"
NOBODY = "http://127.0.0.1:1"  # an upstream that is not there
VERSION = b"GET /api/version HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
LISTENS = r"listens on (http://\S+)\n"
WAITING = 5  # connections that come while nobody answers

# What systemd does for a unit with sockets, sd_listen_fds(3): they begin at 3, for the process that is named.
PASSING = """
import os, sys
passed = int(sys.argv[1])
if passed != 3:
    os.dup2(passed, 3)
    os.close(passed)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="http")
os.execv(sys.argv[2], sys.argv[2:])
"""


def command(domain: str = "INET", upstream: str = NOBODY) -> tuple[str, ...]:
    return (*TWIST, "copilot-proxy", "--port", f"systemd:domain={domain}:index=0", "--upstream", upstream)


@contextmanager
def on(passed: socket.socket, domain: str = "INET", upstream: str = NOBODY) -> Iterator[Server]:
    """A proxy that is started with this socket, as systemd would start it."""
    fd = passed.fileno()
    words = (sys.executable, "-c", PASSING, str(fd), *command(domain, upstream))
    server = Server(LISTENS, *words, pass_fds=(fd,))
    try:
        yield server
    finally:
        server.end()
    server.assert_clean_log()


@contextmanager
def listening(port: int = 0, *, reuse: bool = False) -> Iterator[socket.socket]:
    """A socket as a .socket unit makes it; `reuse` is its ReusePort=."""
    with socket.create_server(("127.0.0.1", port), backlog=4096, reuse_port=reuse) as made:
        yield made


def answer(client: socket.socket) -> bytes:
    """The status line of what comes."""
    with client.makefile("rb") as reader:
        return reader.readline()


# ---------------------------------------------------------------- sockets


def test_the_first_connection_starts_it(unused_port: int) -> None:
    """systemd listens; the proxy starts when somebody connects, answers, and tells the port as its own."""
    passed_on = [f"--setenv={name}" for name in ("PYTHONPATH", "HOME") if name in os.environ]
    address = f"127.0.0.1:{unused_port}"
    activate = ("systemd-socket-activate", f"--listen={address}", "--fdname=http", *passed_on)
    server = Server(rf"Listening on ({address}) as 3", *activate, *command())
    server.url = f"http://{address}"
    try:
        assert "copilot-proxy" not in server.log
        assert ask(server, "GET", "/api/version").status == 200
        assert server.expect(LISTENS)[1] == server.url
        assert server.expect(r"VS Code: .* is (http://\S+)\n")[1] == server.url
        server.signal(signal.SIGTERM)
        assert server.wait() == -signal.SIGTERM
    finally:
        server.end()
    server.assert_clean_log()
    assert not listens(unused_port)


def test_socket_of_ipv6() -> None:
    """domain=INET6 is for a socket of both IP versions, as ListenStream=11434 makes it."""
    if not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    made = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    with made, on(made, "INET6") as server:
        port = made.getsockname()[1]
        assert server.url == f"http://[::]:{port}"
        server.expect(rf"VS Code: .* is http://127\.0\.0\.1:{port}\n")
        server.url = f"http://127.0.0.1:{port}"
        assert ask(server, "GET", "/api/version").status == 200


def test_without_a_socket() -> None:
    """Started by hand, the proxy of a .socket unit says in one line what it lacks."""
    process = Process(*command())
    try:
        assert process.wait() == 64
        assert re.fullmatch(r"copilot-proxy: --port: .* by a \.socket unit\n", process.log), process.log
    finally:
        process.end()


def test_no_connection_is_refused_during_a_restart() -> None:
    """Who connects while no proxy runs waits, and the next one answers."""
    with listening() as passed:
        with on(passed) as server:
            assert ask(server, "GET", "/api/version").status == 200
            server.signal(signal.SIGTERM)
            server.wait()
        early = [socket.create_connection(passed.getsockname(), DEADLINE) for _ in range(WAITING)]
        for client in early:
            client.sendall(VERSION)
        with on(passed):
            for client in early:
                with client:
                    assert answer(client) == b"HTTP/1.1 200 OK\r\n"


def test_two_share_a_port() -> None:
    """Two sockets with ReusePort= have one port, and both of their proxies get connections."""
    with (
        listening(reuse=True) as first,
        listening(first.getsockname()[1], reuse=True) as second,
        on(first) as one,
        on(second) as other,
    ):
        assert one.url == other.url
        both = (one, other)

        def asked_both() -> bool:
            assert ask(one, "GET", "/api/version").status == 200
            return all("GET /api/version 200" in server.log for server in both)

        until(asked_both, "each of them has answered")


# ---------------------------------------------------------------- sd_notify


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """The service manager's end of NOTIFY_SOCKET."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.bind(str(tmp_path / "notify"))
        made.settimeout(DEADLINE)
        yield made


def told(manager: socket.socket, wanted: str) -> str:
    """The first message that comes with these words in it."""
    while wanted not in (message := manager.recv(4096).decode()):
        pass
    return message


def test_ready_when_it_answers(manager: socket.socket, start_proxy: StartProxy, llama: Server) -> None:
    """READY=1 is the first that systemd hears; who connects then is answered. Then come news and the stop."""
    server = start_proxy(llama.url, env={"NOTIFY_SOCKET": manager.getsockname()})
    assert manager.recv(4096).decode() == f"READY=1\nSTATUS=listens on {server.url}"
    assert ask(server, "GET", "/api/version").status == 200
    assert told(manager, "upstream") == (
        f"STATUS=listens on {server.url}; upstream {llama.url}: has tiny (32768 tokens of context, tools)"
    )
    server.signal(signal.SIGTERM)
    assert told(manager, "STOPPING=1")
    server.wait()


def test_not_ready_without_a_port(manager: socket.socket) -> None:
    """A proxy whose port is taken never says that it is ready."""
    with listening() as taken:
        port = f"tcp:{taken.getsockname()[1]}:interface=127.0.0.1"
        env = {"NOTIFY_SOCKET": manager.getsockname()}
        process = Process(*TWIST, "copilot-proxy", "--port", port, env=env)
        try:
            assert process.wait() == 1
        finally:
            process.end()
    manager.setblocking(False)
    with pytest.raises(BlockingIOError):
        manager.recv(4096)


def test_signs_of_life(manager: socket.socket, start_proxy: StartProxy) -> None:
    """A watchdog hears of the proxy again and again, and no more when its process stands still."""
    env = {"NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": "200000"}
    server = start_proxy(NOBODY, env=env)
    for _ in range(3):
        assert told(manager, "WATCHDOG=1")
    server.signal(signal.SIGSTOP)
    try:
        manager.settimeout(0.5)
        with pytest.raises(TimeoutError):
            told(manager, "these words never come")
    finally:
        server.signal(signal.SIGCONT)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells of processes in /proc")
def test_the_embedded_llama_cpp_inherits_nothing(manager: socket.socket) -> None:
    """The proxy's own llama.cpp has neither the way to systemd nor the socket that it passed."""
    with proxy("demo:", env={"NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": "30000000"}) as server:
        assert told(manager, "READY=1")
        (child,) = children(server)
        assert b"copilot_proxy.embedded.serve" in (child / "cmdline").read_bytes()
        assert not {b"NOTIFY_SOCKET", b"WATCHDOG_USEC"} & names(child)
    with listening() as passed, on(passed, upstream="demo:") as server:
        (child,) = children(server)
        server.expect("llama.cpp serves")
        shared = f"socket:[{os.fstat(passed.fileno()).st_ino}]"
        assert shared in held(Path(f"/proc/{server.pid}"))
        assert shared not in held(child)
        assert not {b"LISTEN_PID", b"LISTEN_FDS"} & names(child)


def children(server: Server) -> list[Path]:
    """The folders in /proc of the processes that a server has started."""
    ids = Path(f"/proc/{server.pid}/task/{server.pid}/children")
    until(lambda: ids.read_text() != "", "it has a child")
    found = [Path(f"/proc/{number}") for number in ids.read_text().split()]
    until(lambda: all(b"serve" in (child / "cmdline").read_bytes() for child in found), "they are themselves")
    return found


def names(process: Path) -> set[bytes]:
    """The names of a process's environment."""
    return {entry.partition(b"=")[0] for entry in (process / "environ").read_bytes().split(b"\0")}


def held(process: Path) -> set[str]:
    """What a process has open."""
    return {os.readlink(descriptor) for descriptor in (process / "fd").iterdir()}


# ---------------------------------------------------------------- what the units take away


@pytest.mark.parametrize("unit", ["copilot-proxy.service", "copilot-proxy-twistd.service"])
def test_in_the_system_calls_that_are_left(unit: str, llama: Server) -> None:
    """Within its SystemCallFilter= and MemoryDenyWriteExecute=, a unit's command serves a chat and ends."""
    text = (UNITS / unit).read_text()
    (started,) = re.findall(r"^ExecStart=/opt/copilot-proxy/bin/(.*)$", text, re.MULTILINE)
    program, *words = started.split()
    server = Server(
        LISTENS,
        *(sys.executable, ROOT / "tests" / "real" / "confined.py", UNITS / unit),
        *(Path(sys.executable).parent / program, *words, "--port", "tcp:0:interface=127.0.0.1"),
        *("--upstream", llama.url.replace("127.0.0.1", "localhost")),  # a name, to be looked up in a thread
    )
    try:
        state = Path(f"/proc/{server.pid}/status").read_text()
        assert "Seccomp:\t2\n" in state, "it has a filter"
        said = ask(server, "POST", "/v1/chat/completions", chat("Who are you?"))
        assert text_of(chunks(said.body)) == FIRST_SENTENCE
        server.signal(signal.SIGTERM)
        assert server.wait() == -signal.SIGTERM
    finally:
        server.end()
    server.assert_clean_log()
