"""The embedded upstream with the real llama.cpp: serve as a process, and the supervisor around it."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, cast
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import pytest
import pytest_twisted
from treq.client import HTTPClient
from twisted.internet import reactor as installed_reactor
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.logger import capturedLogs
from twisted.web.client import URI, Agent
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

from copilot_proxy.embedded.address import parse
from copilot_proxy.embedded.endpoint import EmbeddedEndpoint
from copilot_proxy.embedded.supervisor import EmbeddedFailed, EmbeddedServer
from copilot_proxy.embedded.tiny.vocabulary import FIRST_SENTENCE
from copilot_proxy.embedded.tiny.writer import write

Decorated = TypeVar("Decorated", bound=Callable[..., object])

reactor = cast(Any, installed_reactor)
in_reactor: Callable[[Decorated], Decorated] = pytest_twisted.ensureDeferred
reactor_fixture: Callable[[Decorated], Decorated] = pytest_twisted.async_yield_fixture

DEADLINE = 30.0  # seconds after which a test gives up; none comes near it
SERVE = [sys.executable, "-m", "copilot_proxy.embedded.serve"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "tiny.gguf"
    write(path)
    return path


@pytest.fixture
def loading(tmp_path: Path) -> Path:
    """Give a model that loads for ever: llama.cpp waits for the other end of a named pipe."""
    path = tmp_path / "endless.gguf"
    os.mkfifo(path)
    return path


@contextmanager
def running(*command: str | Path) -> Iterator[subprocess.Popen[str]]:
    """Run a command with pipes for stdin, stdout and stderr; it is killed at the end, or at the deadline."""
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        watchdog = threading.Timer(DEADLINE, process.kill)
        watchdog.start()
        try:
            yield process
        finally:
            watchdog.cancel()
            process.kill()


def listening(process: subprocess.Popen[str]) -> str:
    """Wait until a serve is up, and give its URL."""
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("listening on http://127.0.0.1:"), line
    return line.split()[-1]


def wait_for_load(process: subprocess.Popen[str]) -> None:
    assert process.stderr is not None
    assert any("loading model '" in line for line in process.stderr)


def get(url: str, **headers: str) -> tuple[int, Any]:
    try:
        with urlopen(Request(url, headers=headers), timeout=DEADLINE) as answer:  # noqa: S310
            body = answer.read()
            return answer.status, json.loads(body) if body[:1] == b"{" else body
    except HTTPError as error:
        with error:
            return error.code, error.read()


def chat_request(text: str, **more: object) -> bytes:
    messages = [{"role": "user", "content": text}]
    return json.dumps({"messages": messages, "stream": True, "temperature": 0, **more}).encode()


def test_options_reach_llama_cpp(model: Path, tmp_path: Path) -> None:
    """Context, slots, alias, keys, template and the switches are what the running server says they are."""
    template = tmp_path / "template.jinja"
    template.write_text("{{ messages[0].content }}")
    options = "-c 4096 -np 2 --alias first,second --api-key a,b --metrics --no-slots --temp 0.25"
    with running(*SERVE, model, *options.split(), "--chat-template-file", template) as process:
        url = listening(process)
        assert urlsplit(url).hostname == "127.0.0.1"
        assert get(f"{url}/health")[0] == 200
        assert get(f"{url}/props")[0] == 401
        status, props = get(f"{url}/props", Authorization="Bearer b")
        assert status == 200
        assert props["total_slots"] == 2
        assert props["default_generation_settings"]["n_ctx"] == 2048
        assert props["default_generation_settings"]["params"]["temperature"] == 0.25
        assert props["chat_template"] == "{{ messages[0].content }}"
        models = get(f"{url}/v1/models", Authorization="Bearer a")[1]
        assert sorted(models["data"][0]["aliases"]) == ["first", "second"]
        assert get(f"{url}/metrics", Authorization="Bearer a")[0] == 200
        assert get(f"{url}/slots", Authorization="Bearer a")[0] == 501


def test_embeddings(model: Path) -> None:
    """With --embeddings the server gives vectors."""
    with running(*SERVE, model, "--embeddings") as process:
        body = json.dumps({"input": "hello"}).encode()
        with urlopen(f"{listening(process)}/v1/embeddings", body, timeout=DEADLINE) as answer:  # noqa: S310
            assert len(json.load(answer)["data"][0]["embedding"]) == 128


def test_private_arguments_keep_web_sites_out(model: Path) -> None:
    """Started as the proxy starts it, the server allows no web site to read its answers."""
    with running(*SERVE, *parse(f"llama:{model}?threads=1&ctx=1024")) as process:
        request = Request(f"{listening(process)}/health", headers={"Origin": "http://example.com"})  # noqa: S310
        with urlopen(request, timeout=DEADLINE) as answer:  # noqa: S310
            assert answer.headers["Access-Control-Allow-Origin"] not in ("*", "http://example.com")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_it_at_once(model: Path, number: signal.Signals) -> None:
    """SIGTERM and SIGINT end the server while it streams an answer that would not end."""
    with running(*SERVE, model) as process:
        body = chat_request("TALK_LONG")
        with urlopen(f"{listening(process)}/v1/chat/completions", body, timeout=DEADLINE) as answer:  # noqa: S310
            assert answer.readline().startswith(b"data: ")
            process.send_signal(number)
            assert process.wait(DEADLINE) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_it_while_it_loads(loading: Path, number: signal.Signals) -> None:
    """SIGTERM and SIGINT end the process while a model loads, when no Python code can run."""
    with running(*SERVE, loading) as process:
        wait_for_load(process)
        process.send_signal(number)
        assert process.wait(DEADLINE) == -number


def test_ends_with_stdin(model: Path) -> None:
    """With --die-with-parent the end of stdin ends the server, and a terminal's Ctrl-C does not."""
    with running(*SERVE, model, "--die-with-parent") as process:
        url = listening(process)
        process.send_signal(signal.SIGINT)
        body = chat_request("TALK_LONG", max_tokens=500)
        with urlopen(f"{url}/v1/chat/completions", body, timeout=DEADLINE) as answer:  # noqa: S310
            assert answer.read().endswith(b"data: [DONE]\n\n")
        assert process.stdin is not None
        process.stdin.write("what a parent writes means nothing")
        process.stdin.close()
        assert process.wait(DEADLINE) == 0


PARENT = """
import subprocess, sys
child = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE)
child.wait()
"""


@pytest.mark.parametrize("kind", ["model", "loading"])
def test_ends_with_a_killed_parent(kind: str, request: pytest.FixtureRequest) -> None:
    """A parent that is killed takes the server with it, be it up or (on Linux) still loading."""
    if kind == "loading" and sys.platform != "linux":
        pytest.skip("only Linux ends a process that runs no code")
    path = request.getfixturevalue(kind)
    with running(sys.executable, "-c", PARENT, *SERVE, path, "--die-with-parent") as parent:
        if kind == "model":
            listening(parent)
        else:
            wait_for_load(parent)
        parent.kill()
        assert parent.stdout is not None
        assert parent.stdout.read() == "", "the pipe ends when the last process that holds it has ended"


def broken(model: Path, path: Path) -> Path:
    path.write_bytes(model.read_bytes()[:5000])
    return path


@pytest.mark.parametrize(
    ("name", "options", "status", "complaint"),
    [
        ("broken.gguf", [], 1, "llama.cpp could not start, as it says above"),
        ("missing.gguf", [], 1, "llama.cpp could not start, as it says above"),
        ("broken.gguf", ["--port", "99999999999"], 1, "value too large"),
        ("broken.gguf", ["--chat-template-file", "/nowhere/at/all"], 2, "No such file"),
        ("broken.gguf", ["--bogus"], 2, "--bogus"),
    ],
)
def test_failed_start(
    name: str, options: list[str], status: int, complaint: str, model: Path, tmp_path: Path
) -> None:
    """A start that fails ends with one clear line on stderr, no traceback, and nothing on stdout."""
    broken(model, tmp_path / "broken.gguf")
    with running(*SERVE, tmp_path / name, *options) as process:
        said, logged = process.communicate(timeout=DEADLINE)
    assert process.returncode == status
    assert said == ""
    assert "Traceback" not in logged
    assert complaint in logged.splitlines()[-1]
    if status == 1:
        assert logged.splitlines()[-1].startswith(f"cannot serve {tmp_path / name}: ")


def test_cache_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the demo model cannot be kept, the message names the folder."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with running(*SERVE, "demo:") as process:
        _, logged = process.communicate(timeout=DEADLINE)
    assert logged.startswith("cannot serve demo: ")
    assert str(tmp_path / "file") in logged


@implementer(IAgentEndpointFactory)
class OneServer:
    """Every URL leads to the embedded server."""

    def __init__(self, server: EmbeddedServer) -> None:
        self.server = server

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        return EmbeddedEndpoint(reactor, self.server)


def client(server: EmbeddedServer) -> HTTPClient:
    agent = Agent.usingEndpointFactory(reactor, OneServer(server))
    return HTTPClient(agent)


async def until(condition: Callable[[], bool]) -> None:
    end = reactor.seconds() + DEADLINE
    while not condition():
        assert reactor.seconds() < end, "it did not happen"
        await deferLater(reactor, 0.02)


def pid(server: EmbeddedServer) -> int:
    assert server._process is not None
    return cast(int, server._process.pid)


@reactor_fixture
async def demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[EmbeddedServer]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    server = EmbeddedServer(reactor, parse("demo:?ctx=4096"))
    server.startService()
    yield server
    await server.stopService()


@in_reactor
async def test_demo_streams_a_chat(demo: EmbeddedServer) -> None:
    """The demo server answers the first request as soon as it is up, and streams its sentence to the end."""
    http = client(demo)
    health = await http.get("http://embedded/health")
    assert await health.json() == {"status": "ok"}
    answer = await http.post("http://embedded/v1/chat/completions", data=chat_request("Who are you?"))
    events = [event for event in (await answer.content()).decode().split("\n\n") if event]
    assert events.pop() == "data: [DONE]"
    chunks = [json.loads(event.removeprefix("data: ")) for event in events]
    assert {chunk["model"] for chunk in chunks} == {"demo"}
    choices = [chunk["choices"][0] for chunk in chunks]
    assert "".join(choice["delta"].get("content") or "" for choice in choices) == FIRST_SENTENCE
    assert choices[-1]["finish_reason"] == "stop"


@in_reactor
async def test_killed_child_is_replaced(demo: EmbeddedServer) -> None:
    """After a kill -9 another child is started, and the next request is answered by it."""
    await demo.whenListening()
    first = pid(demo)
    os.kill(first, signal.SIGKILL)
    await until(lambda: demo._process is None)
    health = await client(demo).get("http://embedded/health")
    assert await health.json() == {"status": "ok"}
    assert pid(demo) != first


@in_reactor
async def test_stop_ends_the_child(demo: EmbeddedServer) -> None:
    """When stopService is done the child is gone, and its port is closed."""
    address = await demo.whenListening()
    child = pid(demo)
    await demo.stopService()
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(address, timeout=DEADLINE)
    with pytest.raises(EmbeddedFailed, match="has been stopped"):
        await demo.whenListening()


@in_reactor
async def test_stop_while_it_loads(loading: Path) -> None:
    """A child that loads a model is ended at once, too."""
    server = EmbeddedServer(reactor, [str(loading)])
    server.startService()
    with capturedLogs() as events:
        await until(lambda: any("loading model '" in event.get("line", "") for event in events))
        await server.stopService()
    assert server._process is None


@in_reactor
async def test_broken_model(model: Path, tmp_path: Path) -> None:
    """A broken file fails the waiting request with what llama.cpp complains about."""
    server = EmbeddedServer(reactor, parse(f"llama:{broken(model, tmp_path / 'broken.gguf')}"))
    server.startService()
    try:
        with pytest.raises(EmbeddedFailed, match=r"failed to read key-value pairs.*failed to load model"):
            await EmbeddedEndpoint(reactor, server).connect(Factory.forProtocol(Protocol))
    finally:
        await server.stopService()
