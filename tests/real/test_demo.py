"""scripts/demo, as somebody runs it who has just cloned the project."""

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from copilot_proxy.embedded.tiny.vocabulary import FIRST_SENTENCE
from tests.real.client import chunks
from tests.real.processes import DEADLINE, ROOT, Process, Server, listens

# The script would make .venv where it is missing, which takes a minute: what it then runs is run without it.
IN_ITS_OWN = Path(sys.prefix) == ROOT / ".venv"
DEMO: tuple[str | Path, ...] = (
    (ROOT / "scripts" / "demo",) if IN_ITS_OWN else (sys.executable, ROOT / "scripts" / "demo.py")
)
ANY_PORT = {"LISTEN_PORT": "0"}


@pytest.fixture
def demo() -> Iterator[Server]:
    server = Server(r"stays up on (http://127\.0\.0\.1:\d+)", *DEMO, env=ANY_PORT)
    try:
        yield server
    finally:
        server.end()


def assert_nothing_left(log: str) -> None:
    """The proxy ended as it should, and neither it nor its llama.cpp listens any more."""
    assert "Main loop terminated" in log
    ports = re.findall(r"(?:listens on http://|serves demo: on )127\.0\.0\.1:(\d+)", log)
    assert len(ports) == 2
    assert not any(listens(int(port)) for port in ports)
    assert "Traceback" not in log


def test_once() -> None:
    """With --once it streams a chat and a tool call through the proxy, and ends with nothing left."""
    process = Process(*DEMO, "--once", env=ANY_PORT)
    try:
        assert process.wait() == 0, process.log
    finally:
        process.end()
    assert f"> Who are you?\n{FIRST_SENTENCE}\n" in process.log
    assert "calls get_weather with {" in process.log
    assert "POST /v1/chat/completions 200 model=demo" in process.log
    assert_nothing_left(process.log)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stays_up_until_a_signal(number: signal.Signals, demo: Server) -> None:
    """Without --once it says how to try it, the curl lines that it prints work, and a signal ends it all."""
    demo.expect("With a model of yours")
    assert "VS Code: " in demo.log
    commands = re.findall(r"^    (curl \S+|curl -N [^']*'[^']*')$", demo.log, re.MULTILINE)
    assert len(commands) == 2
    if shutil.which("curl"):
        tags, chat = map(run_shell, commands)
        assert json.loads(tags)["models"][0]["name"] == "demo"
        assert chunks(chat)
    demo.signal(number)
    assert demo.wait() == 128 + number
    assert_nothing_left(demo.log)


def run_shell(command: str) -> bytes:
    return subprocess.run(
        ["sh", "-c", f"{command} --silent"], stdout=subprocess.PIPE, check=True, timeout=DEADLINE
    ).stdout


def test_a_port_that_is_busy() -> None:
    """Where the port is taken it says so, and how to take another one."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = Process(*DEMO, "--once", env={"LISTEN_PORT": str(port)})
        try:
            assert process.wait() == 1
        finally:
            process.end()
    assert f"cannot listen on tcp:{port}" in process.log
    assert process.log.endswith("To take another port: LISTEN_PORT=11500 scripts/demo\n")
