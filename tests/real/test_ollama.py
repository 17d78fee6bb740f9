"""Ollama's other routes over a real llama.cpp, and the name by which the proxy is asked."""

import json
from typing import Any

import pytest

from tests.real.client import ask
from tests.real.conftest import StartProxy
from tests.real.processes import Server


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/api/status", None, 200),
        ("POST", "/api/me", None, 401),
        ("POST", "/api/pull", {"model": "tiny", "stream": False}, 200),
        ("POST", "/api/pull", {"model": "other", "stream": False}, 500),
        ("DELETE", "/api/delete", {"model": "tiny"}, 501),
        ("POST", "/api/copy", {"source": "tiny", "destination": "x"}, 501),
        ("POST", "/api/create", {"model": "x", "from": "tiny"}, 501),
        ("HEAD", "/api/blobs/sha256:aa", None, 404),
        ("POST", "/api/tags", {}, 405),
        ("GET", "/api/nothing", None, 404),
    ],
)
def test_status_of_each(running: Server, method: str, path: str, body: Any, status: int) -> None:
    """Each route answers by itself, with Ollama's status."""
    assert ask(running, method, path, body).status == status


def test_pull(running: Server) -> None:
    """A pull streams its steps."""
    answer = ask(running, "POST", "/api/pull", {"name": "Tiny:latest"})
    assert answer.headers["Content-Type"] == "application/x-ndjson"
    assert [json.loads(line) for line in answer.body.splitlines()][-1] == {"status": "success"}


def test_host(start_proxy: StartProxy, llama: Server) -> None:
    """The proxy on 127.0.0.1 is asked under names of this machine, and under those that it is told."""
    server = start_proxy(llama.url, "--allowed-host", "gpu.example")
    for host, status in (
        ("localhost:11434", 200),
        ("gpu.example", 200),
        ("evil.example:11434", 403),
        ("192.168.1.20", 200),
    ):
        assert ask(server, "GET", "/api/version", headers={"Host": host}).status == status
