"""Is the service manager told how the proxy is, in the words of sd_notify(3)?"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from twisted.internet.testing import MemoryReactorClock

from copilot_proxy.notify import Manager

ANOTHER = str(os.getpid() + 1)  # a process; 1 would be this one in a container


class Ear:
    """The manager's end of the socket."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address)
        self._socket.setblocking(False)

    def heard(self) -> list[str]:
        """The messages that came since the last call."""
        messages = []
        try:
            while True:
                messages.append(self._socket.recv(4096).decode())
        except BlockingIOError:
            return messages

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "notify")


@pytest.fixture
def ear(path: str) -> Iterator[Ear]:
    ear = Ear(path)
    yield ear
    ear.close()


def running(reactor: MemoryReactorClock) -> None:
    """Do what waits for the reactor to run."""
    for call, args, named in reactor.whenRunningHooks:
        call(*args, **named)


def test_from_start_to_stop(path: str, ear: Ear) -> None:
    """READY comes when the reactor runs and not before; then the news, on one line; and STOPPING."""
    reactor = MemoryReactorClock()
    manager = Manager(reactor, {"NOTIFY_SOCKET": path})
    manager.ready("listens on http://127.0.0.1:1")
    assert ear.heard() == []
    running(reactor)
    assert ear.heard() == ["READY=1\nSTATUS=listens on http://127.0.0.1:1"]
    manager.news("upstream: has\na model")
    assert ear.heard() == ["STATUS=listens on http://127.0.0.1:1; upstream: has a model"]
    manager.stopping()
    assert ear.heard() == ["STOPPING=1\nSTATUS=ends what still runs"]
    assert reactor.getDelayedCalls() == []


def test_abstract_address() -> None:
    """An address that begins with '@' is one of Linux's abstract ones."""
    ear = Ear(f"\0copilot-proxy-test-{os.getpid()}")
    try:
        Manager(MemoryReactorClock(), {"NOTIFY_SOCKET": f"@copilot-proxy-test-{os.getpid()}"}).stopping()
        assert len(ear.heard()) == 1
    finally:
        ear.close()


@pytest.mark.parametrize("process", [None, str(os.getpid())])
def test_watchdog(path: str, ear: Ear, process: str | None) -> None:
    """With WATCHDOG_USEC a sign of life goes out twice in that time, from READY on."""
    reactor = MemoryReactorClock()
    environ = {"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "30000000"}
    Manager(reactor, environ | ({"WATCHDOG_PID": process} if process else {})).ready("here")
    running(reactor)
    assert ear.heard()[1:] == ["WATCHDOG=1"]
    reactor.advance(14.9)
    assert ear.heard() == []
    reactor.advance(0.2)
    assert ear.heard() == ["WATCHDOG=1"]


@pytest.mark.parametrize(
    "watchdog",
    [{"WATCHDOG_USEC": "1000", "WATCHDOG_PID": ANOTHER}, {"WATCHDOG_USEC": "x"}, {"WATCHDOG_USEC": "0"}],
)
def test_no_watchdog(path: str, ear: Ear, watchdog: dict[str, str]) -> None:
    """A watchdog of another process, or none, hears nothing."""
    reactor = MemoryReactorClock()
    Manager(reactor, {"NOTIFY_SOCKET": path, **watchdog}).ready("here")
    running(reactor)
    assert ear.heard() == ["READY=1\nSTATUS=here"]
    assert reactor.getDelayedCalls() == []


def test_variables_are_taken() -> None:
    """No child process gets the manager's variables; others stay."""
    environ = {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "1", "WATCHDOG_PID": "1", "PATH": "/bin"}
    Manager(MemoryReactorClock(), environ)
    assert environ == {"PATH": "/bin"}


def test_no_manager() -> None:
    """Where there is no manager nobody is told, and no watchdog runs."""
    reactor = MemoryReactorClock()
    manager = Manager(reactor, {"WATCHDOG_USEC": "1000"})
    manager.ready("here")
    running(reactor)
    manager.stopping()
    assert reactor.getDelayedCalls() == []


def test_manager_that_is_gone(path: str) -> None:
    """A manager that cannot be reached is a line in the log, and no error."""
    Manager(MemoryReactorClock(), {"NOTIFY_SOCKET": path}).stopping()
