"""The plugin as people start it: three ways, with right values and wrong ones, until it is told to end."""

import re
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingMixIn, UnixStreamServer

import pytest

from copilot_proxy import __version__
from copilot_proxy.embedded.tiny.vocabulary import FIRST_SENTENCE
from copilot_proxy.settings import OPTIONS
from tests.real.client import ask, asking, chat, chunks, first_event, text_of
from tests.real.conftest import StartProxy
from tests.real.processes import TWIST, Process, Server, listens, proxy, until

SCRIPTS = Path(sys.executable).parent
WAYS = {
    "twist": (SCRIPTS / "twist", "--log-format=text"),
    "twistd": (SCRIPTS / "twistd", "--nodaemon", "--pidfile="),
    "python -m twisted": TWIST,
}
ANY_PORT = "tcp:0:interface=127.0.0.1"
CHAT = "/v1/chat/completions"


def printed(
    *command: str | Path, env: dict[str, str] | None = None, cwd: Path | None = None
) -> tuple[int, str]:
    """The exit status of a command that ends by itself, and all that it printed."""
    process = Process(*command, env=env, cwd=cwd)
    try:
        return process.wait(), process.log
    finally:
        process.end()


@pytest.mark.parametrize("way", WAYS)
def test_three_ways_to_start(way: str, llama: Server, tmp_path: Path) -> None:
    """Each way, from any folder, starts a proxy that serves until SIGTERM ends it."""
    command = (*WAYS[way], "copilot-proxy", "--port", ANY_PORT, "--upstream", llama.url)
    server = Server(r"listens on (http://127\.0\.0\.1:\d+)\n", *command, cwd=tmp_path)
    try:
        assert ask(server, "GET", "/api/tags").json["models"][0]["name"] == "tiny"
        server.signal(signal.SIGTERM)
        assert server.wait() == -signal.SIGTERM, "Twisted ends by the very signal that it was sent"
    finally:
        server.end()
    server.assert_clean_log()


@pytest.mark.parametrize("way", WAYS)
def test_version(way: str, tmp_path: Path) -> None:
    """--version is ours, not Twisted's."""
    version = (0, f"copilot-proxy {__version__}\n")
    assert printed(*WAYS[way], "copilot-proxy", "--version", cwd=tmp_path) == version


def test_help() -> None:
    """--help tells each option with its environment variable."""
    status, text = printed(*TWIST, "copilot-proxy", "--help")
    assert status == 0
    for option in OPTIONS:
        assert re.search(rf"--{option.name}\b", text), option.name
        assert re.search(rf"\[{option.environment}\b", text), option.environment


# one of each option; what else is wrong is in tests/unit/test_settings.py
WRONG = [
    (["--port", "11434"], {}, "--port", "tcp:11434"),
    (["--port", "tcp:http"], {}, "--port", "tcp:http"),
    (["--port", "tcp:99999"], {}, "--port", "99999"),
    ([], {"LISTEN_PORT": "http"}, "LISTEN_PORT", "http"),
    (["--upstream", "localhost"], {}, "--upstream", "http://HOST:PORT"),
    (["--upstream", "llama:/no/such/model.gguf"], {}, "--upstream", "/no/such/model.gguf"),
    ([], {"UPSTREAM": "ftp://127.0.0.1"}, "UPSTREAM", "ftp"),
    (["--api-dialect", "esperanto"], {}, "--api-dialect", "esperanto"),
    (["--upstream-key-file", "/no/such/key"], {}, "--upstream-key-file", "/no/such/key"),
    (["--connect-timeout", "soon"], {}, "--connect-timeout", "soon"),
    (["--body-limit", "lots"], {}, "--body-limit", "lots"),
    (["--cors-origin", "example.com"], {}, "--cors-origin", "example.com"),
    ([], {"VERBOSE": "maybe"}, "VERBOSE", "maybe"),
    (["--bogus"], {}, "--bogus", "--help"),
    (["extra"], {}, "extra", "--help"),
]


@pytest.mark.parametrize(
    ("options", "env", "where", "what"), WRONG, ids=[" ".join([*row[0], *row[1]]) for row in WRONG]
)
def test_a_wrong_value(options: list[str], env: dict[str, str], where: str, what: str) -> None:
    """A wrong value ends the start with status 64 and one line that says where it is and what is wrong."""
    status, text = printed(*TWIST, "copilot-proxy", *options, env=env)
    assert text.startswith("copilot-proxy: "), text
    assert text.count("\n") == 1, text
    assert where in text
    assert what in text
    assert status == 64


@pytest.mark.parametrize("way", ["twist", "twistd"])
def test_a_wrong_value_each_way(way: str) -> None:
    """It is the same line and the same status, however the plugin is started."""
    status, text = printed(*WAYS[way], "copilot-proxy", "--upstream", "localhost")
    assert status == 64
    assert text.startswith("copilot-proxy: --upstream: 'localhost' ")
    assert text.count("\n") == 1


@pytest.mark.parametrize("way", WAYS)
def test_a_port_that_is_busy(way: str) -> None:
    """A port that another program has ends the process with status 1, and a line that says which one."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, text = printed(*WAYS[way], "copilot-proxy", "--port", f"tcp:{port}:interface=127.0.0.1")
    assert status == 1
    assert len(re.findall(f"cannot listen on tcp:{port}:.*already in use", text)) == 1
    assert "Traceback" not in text


def test_a_socket_that_cannot_be_made(tmp_path: Path) -> None:
    """A unix socket in a folder that is not there is a wrong value, too."""
    status, text = printed(*TWIST, "copilot-proxy", "--port", f"unix:{tmp_path}/nowhere/socket")
    assert status == 64
    assert "nowhere/socket" in text
    assert "Traceback" not in text


def test_environment_variables(llama: Server, unused_port: int) -> None:
    """LISTEN_PORT, UPSTREAM and VERBOSE set what their options would."""
    env = {"LISTEN_PORT": str(unused_port), "UPSTREAM": llama.url, "VERBOSE": "1"}
    server = Server(r"listens on (http://127\.0\.0\.1:\d+)\n", *TWIST, "copilot-proxy", env=env)
    try:
        assert server.port == unused_port
        headers = {"Authorization": "Bearer a-secret-that-nobody-may-read"}
        said = chunks(ask(server, "POST", CHAT, chat("Who are you?"), headers).body)
        assert text_of(said) == FIRST_SENTENCE
        server.expect("Who are you\\?")
        server.expect("tokens=")
        assert "a-secret" not in server.log
    finally:
        server.end()
    server.assert_clean_log()


def test_options_win_over_the_environment(start_proxy: StartProxy, llama: Server) -> None:
    """What is given as an option is not taken from the environment."""
    env = {"LISTEN_PORT": "1", "UPSTREAM": "http://127.0.0.1:1", "API_DIALECT": "ollama"}
    server = start_proxy(llama.url, "--api-dialect", "openai", env=env)
    assert ask(server, "POST", "/api/chat", chat("Who are you?")).status == 200


def test_bodies_are_not_logged_unasked(start_proxy: StartProxy, llama: Server) -> None:
    """Without VERBOSE neither the question nor the answer reaches the log."""
    server = start_proxy(llama.url)
    assert ask(server, "POST", CHAT, chat("Who are you?")).status == 200
    server.expect("tokens=")
    assert "Who are you" not in server.log
    assert "tiny language" not in server.log


class Relay(ThreadingMixIn, UnixStreamServer):
    """A unix socket in front of a TCP server: llama.cpp out of the wheel listens on no unix socket itself."""

    daemon_threads = True

    def __init__(self, path: Path, server: Server) -> None:
        self.target = ("127.0.0.1", server.port)
        super().__init__(str(path), _Joined)


class _Joined(BaseRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, Relay)
        with socket.create_connection(self.server.target) as other:
            back = threading.Thread(target=_copy, args=(other, self.request), daemon=True)
            back.start()
            _copy(self.request, other)
            back.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
    except OSError:
        pass  # the other direction has ended
    for end in (source, target):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


@pytest.fixture
def unix_llama(llama: Server, tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "llama.sock"
    with Relay(path, llama) as relay:
        thread = threading.Thread(target=relay.serve_forever)
        thread.start()
        yield path
        relay.shutdown()
        thread.join()


def test_upstream_on_a_unix_socket(unix_llama: Path, start_proxy: StartProxy) -> None:
    """unix:/PATH reaches llama.cpp through a socket in the file system."""
    server = start_proxy(f"unix:{unix_llama}")
    assert ask(server, "GET", "/api/tags").json["models"][0]["context_length"] == 32768
    assert text_of(chunks(ask(server, "POST", CHAT, chat("Who are you?")).body)) == FIRST_SENTENCE


def test_listening_on_a_unix_socket(llama: Server, tmp_path: Path) -> None:
    """--port unix:/PATH listens there, and the socket is gone when the proxy has ended."""
    path = tmp_path / "proxy.sock"
    with proxy(llama.url, port=f"unix:{path}"), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(b"GET /api/version HTTP/1.1\r\nHost: proxy\r\nConnection: close\r\n\r\n")
        with client.makefile("rb") as answer:
            assert answer.readline() == b"HTTP/1.1 200 OK\r\n"
    assert not path.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_embedded_llama_cpp_ends_with_the_proxy(number: signal.Signals) -> None:
    """SIGTERM and SIGINT end the proxy while it streams from demo:, and no process is left."""
    with proxy("demo:", "--drain", "0") as server:
        child = server.expect(r"llama\.cpp serves demo: on (127\.0\.0\.1:\d+)")[1]
        with asking(server, "POST", CHAT, chat("TALK_LONG")) as response:
            first_event(response)
            server.signal(number)
            assert server.wait() == -number
    assert not listens(int(child.rpartition(":")[2]))


def test_the_embedded_llama_cpp_ends_with_a_killed_proxy() -> None:
    """Even kill -9 of the proxy leaves no llama.cpp behind."""
    with proxy("demo:") as server:
        port = int(server.expect(r"llama\.cpp serves demo: on 127\.0\.0\.1:(\d+)")[1])
        assert ask(server, "GET", "/props").status == 200
        server.signal(signal.SIGKILL)
        until(lambda: not listens(port), "the embedded llama.cpp has ended")
