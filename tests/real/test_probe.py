"""What a container's health check says of a proxy."""

import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tests.real.processes import DEADLINE, Server, environment


def probe(port: str, **more: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "copilot_proxy.status.probe"]
    env = environment(LISTEN_PORT=port, **more)
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=DEADLINE)


def test_a_proxy_that_is_up(running: Server) -> None:
    """It says nothing, with status 0, whatever web proxy the environment names."""
    done = probe(str(running.port), http_proxy="http://127.0.0.1:1")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("interface", "url"), [("127.0.0.2", "http://127.0.0.2"), ("::", "http://[::1]"), ("::1", "http://[::1]")]
)
def test_where_it_asks(interface: str, url: str, unused_port: int) -> None:
    """It asks where LISTEN_INTERFACE has the proxy listen, and this machine where that is everywhere."""
    done = probe(str(unused_port), LISTEN_INTERFACE=interface)
    assert done.stderr.startswith(f"{url}:{unused_port}/health/live: ")


def test_nobody_listens(unused_port: int) -> None:
    """It says why, with status 1."""
    done = probe(str(unused_port))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert f"http://127.0.0.1:{unused_port}/health/live: " in done.stderr


def test_something_else_listens() -> None:
    """A server that answers with another status than 200 is not healthy."""
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        done = probe(str(server.server_port))
        thread.join()
    assert done.returncode == 1
    assert done.stderr.endswith("/health/live: 501\n")
