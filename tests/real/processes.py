"""How are the servers of these tests run as processes, and ended whatever happens?"""

import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from copilot_proxy.settings import OPTIONS

ROOT = Path(__file__).parents[2]
DEADLINE = 30.0  # seconds after which a test gives up; none comes near it
POLL = 0.02  # seconds between two looks at what cannot be waited for

TWIST = (sys.executable, "-m", "twisted", "--log-format=text")
LLAMA = (sys.executable, "-m", "copilot_proxy.embedded.serve", "demo:", "--alias", "tiny")

# What a log holds that a test did not mean to cause.
_BAD_LINE = re.compile(r"#(?:error|critical)\]|Traceback|Unhandled")


def until(condition: Callable[[], bool], what: str, every: float = POLL) -> None:
    """Return when the condition holds, looked at each `every` seconds; fails at the deadline."""
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, f"in vain: {what}"
        time.sleep(every)


def listens(port: int) -> bool:
    """Whether anybody listens on this port of 127.0.0.1."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def environment(**more: str) -> dict[str, str]:
    """The environment of this process without the settings of a proxy, and with `more`."""
    ours = {option.environment for option in OPTIONS}
    return {**{name: value for name, value in os.environ.items() if name not in ours}, **more}


class Process:
    """A running command, and all that it prints. Whoever makes one has to call `end`."""

    running: list["Process"] = []

    def __init__(
        self,
        *command: str | Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        pass_fds: tuple[int, ...] = (),
    ) -> None:
        self.name = " ".join(Path(word).name for word in command[:5])
        self._popen = subprocess.Popen(
            list(map(str, command)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=environment(**(env or {})),
            cwd=cwd,
            pass_fds=pass_fds,
        )
        self.pid = self._popen.pid
        self.lines: list[str] = []
        self._news = threading.Condition()
        self._closed = False
        Process.running.append(self)
        self._reader = threading.Thread(target=self._read, daemon=True)
        try:
            self._reader.start()
        except RuntimeError:  # no memory for a thread
            self._popen.kill()
            raise

    def _read(self) -> None:
        assert self._popen.stdout is not None
        for line in self._popen.stdout:
            with self._news:
                self.lines.append(line)
                self._news.notify_all()
        with self._news:
            self._closed = True
            self._news.notify_all()

    @property
    def ended(self) -> bool:
        """It has closed its output."""
        return self._closed

    @property
    def log(self) -> str:
        """What it printed so far."""
        return "".join(self.lines)

    def expect(self, pattern: str) -> re.Match[str]:
        """The match of a line, when one is printed; fails where the output ends without one."""

        def found() -> bool:
            return self._closed or re.search(pattern, self.log) is not None

        with self._news:
            assert self._news.wait_for(found, DEADLINE), f"not printed: {pattern}"
        match = re.search(pattern, self.log)
        assert match is not None, f"{self.name} ended without {pattern!r}:\n{self.log}"
        return match

    def signal(self, number: signal.Signals) -> None:
        self._popen.send_signal(number)

    def wait(self) -> int:
        """The exit status, when it has ended and all its output is read."""
        try:
            status = self._popen.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} did not end by itself:\n{self.log}") from None
        self._reader.join(DEADLINE)
        return status

    def end(self) -> None:
        """End it by its id, gently or else at once; a second call does nothing."""
        if self in Process.running:
            Process.running.remove(self)
        self._popen.terminate()
        try:
            self._popen.wait(DEADLINE)
        finally:
            self._popen.kill()
            self._popen.wait()
            self._reader.join(DEADLINE)
            assert self._popen.stdout is not None
            self._popen.stdout.close()

    def assert_clean_log(self) -> None:
        """No traceback and nothing of level error was logged."""
        bad = [line for line in self.lines if _BAD_LINE.search(line)]
        assert not bad, f"{self.name} logged {bad}\n{self.log}"


class Server(Process):
    """A process that serves HTTP, ready when the constructor returns; `announcement` finds its URL."""

    trust: ssl.SSLContext | None = None
    """By what its certificate is checked, where its URL is an https one."""

    def __init__(
        self,
        announcement: str,
        *command: str | Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        pass_fds: tuple[int, ...] = (),
    ) -> None:
        super().__init__(*command, env=env, cwd=cwd, pass_fds=pass_fds)
        try:
            self.url = self.expect(announcement)[1]
        except BaseException:
            self.end()
            raise
        self.port = urlsplit(self.url).port or 0


@contextmanager
def llama_server(*options: str) -> Iterator[Server]:
    """A real llama.cpp server with the tiny model, up and loaded: one thread, 4 slots of 32768 tokens."""
    # what the options name again counts
    usual = ("--ctx-size", "131072", "--parallel", "4", "--threads", "1", "--port", "0", "--metrics")
    server = Server(r"listening on (http://127\.0\.0\.1:\d+)\n", *LLAMA, *usual, *options)
    try:
        yield server
    finally:
        server.end()


@contextmanager
def proxy(
    upstream: str,
    *options: str,
    port: str = "tcp:0:interface=127.0.0.1",
    env: Mapping[str, str] | None = None,
) -> Iterator[Server]:
    """The proxy in front of `upstream`, listening; its log has to be clean at the end."""
    command = (*TWIST, "copilot-proxy", "--port", port, "--upstream", upstream, *options)
    server = Server(r"listens on ((?:https?://127\.0\.0\.1|unix):\S+)\n", *command, env=env)
    try:
        yield server
    finally:
        server.end()
    server.assert_clean_log()
