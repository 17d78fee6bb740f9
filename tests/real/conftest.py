"""The servers that the tests share, and their logs where a test fails."""

import socket
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack

import pytest

from tests.real.processes import Process, Server, llama_server, proxy

_SHOWN_LINES = 40  # of each log, under a failed test


@pytest.fixture(scope="session")
def llama() -> Iterator[Server]:
    """The llama.cpp server of all tests that do no harm to it."""
    with llama_server() as server:
        yield server


@pytest.fixture(scope="session")
def running(llama: Server) -> Iterator[Server]:
    """The proxy of all tests that need no options, in front of `llama`."""
    with proxy(llama.url) as server:
        yield server


StartProxy = Callable[..., Server]
StartLlama = Callable[..., Server]


@pytest.fixture
def start_proxy() -> Iterator[StartProxy]:
    """Start proxies with options and an environment of the test's own."""
    with ExitStack() as started:

        def start(upstream: str, *options: str, env: Mapping[str, str] | None = None) -> Server:
            return started.enter_context(proxy(upstream, *options, env=env))

        yield start


@pytest.fixture
def start_llama() -> Iterator[StartLlama]:
    """Start llama.cpp servers with options of the test's own, which the test may kill."""
    with ExitStack() as started:
        yield lambda *options: started.enter_context(llama_server(*options))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Put the logs of all processes that still run under the report of a failure."""
    report = yield
    if report.failed:
        for process in Process.running:
            tail = "".join(process.lines[-_SHOWN_LINES:])
            report.sections.append((f"log of {process.name}", tail))
    return report


@pytest.fixture
def unused_port() -> int:
    """A port of 127.0.0.1 where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port
