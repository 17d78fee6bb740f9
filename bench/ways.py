"""Which ways lead from a client to llama-server, and how are their processes started, watched and ended?"""

import math
import os
import select
import shutil
import signal
import socket
import string
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import measure

STARTING = 20.0
"""Seconds that a way may take until it accepts connections."""

ENDING = 5.0
"""Seconds between SIGTERM and SIGKILL."""

_LOG_LINES = 20


class NotUp(Exception):
    """A process does not run as it should; the message holds the last lines of its log."""


def _twist(port: int, upstream: int, folder: Path) -> list[str]:
    return [
        *(sys.executable, "-m", "twisted", "copilot-proxy"),
        *("--port", f"tcp:{port}:interface=127.0.0.1"),
        *("--upstream", f"http://127.0.0.1:{upstream}"),
    ]


def _nginx(port: int, upstream: int, folder: Path) -> list[str]:
    template = string.Template(Path(__file__).with_name("nginx.conf").read_text())
    written = folder / "nginx.conf"
    written.write_text(template.substitute(port=port, upstream=upstream, folder=folder))
    return [find_nginx() or "nginx", "-e", "stderr", "-p", str(folder), "-c", str(written)]


def _aiohttp(port: int, upstream: int, folder: Path) -> list[str]:
    return [sys.executable, "-m", "bench.aiohttp_proxy", str(port), f"http://127.0.0.1:{upstream}"]


PROXY, DIRECT, NGINX, AIOHTTP = "proxy", "direct", "nginx", "aiohttp"

WAYS: dict[str, Callable[[int, int, Path], list[str]] | None] = {
    PROXY: _twist,
    DIRECT: None,  # nothing stands between; the others' delay is counted from this one's
    NGINX: _nginx,
    AIOHTTP: _aiohttp,
}
"""Each way's command for a port, the upstream's port and a folder of its own."""


def find_nginx() -> str | None:
    """Where nginx is; Debian keeps it in /usr/sbin, which a user's PATH lacks."""
    return shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


@dataclass(frozen=True)
class Cores:
    """The way under test has a core of its own where there are two; the ends take no time from it."""

    tested: frozenset[int]
    ends: frozenset[int]

    @classmethod
    def of_this_machine(cls) -> "Cores":
        first, *others = sorted(os.sched_getaffinity(0))
        return cls(frozenset({first}), frozenset(others or {first}))


@contextmanager
def process(
    command: list[str], cores: frozenset[int], *, stdout: int, log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """A child that runs on `cores` and writes its stderr to `log`; ended by its id on leaving.

    It has a session of its own: Ctrl-C reaches us alone, and we end it in our order.
    """
    ours = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        with log.open("wb") as written:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=written if stdout == subprocess.STDOUT else stdout,
                stderr=written,
                start_new_session=True,
            )
    finally:
        os.sched_setaffinity(0, ours)
    try:
        yield child
    finally:
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(ENDING)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        if child.stdout is not None:
            child.stdout.close()


class Running:
    """A way that is up: where it listens, and what it has used. The direct way has no process."""

    def __init__(self, name: str, port: int, child: subprocess.Popen[bytes] | None, log: Path) -> None:
        self.name = name
        self.port = port
        self._child = child
        self._log = log

    def cpu(self) -> float:
        """Seconds of CPU so far, of the process and its children; NaN for the direct way."""
        return self._sum(measure.cpu_seconds)

    def resident(self) -> float:
        """Their largest resident memory so far in MB; pages that they share are counted for each."""
        return self._sum(measure.peak_resident)

    def _sum(self, figure: Callable[[int], float]) -> float:
        """Over the process and its children; raises NotUp when it has ended."""
        if self._child is None:
            return math.nan
        if self._child.poll() is not None:
            raise NotUp(f"{self.name} ended with {self._child.returncode}:\n{_last_lines(self._log)}")
        return sum(map(figure, measure.family(self._child.pid)))


@contextmanager
def upstream(cores: Cores, folder: Path) -> Iterator[int]:
    """The paced upstream's port, while it runs."""
    command = [sys.executable, "-m", "bench.upstream"]
    log = folder / "upstream.log"
    with process(command, cores.ends, stdout=subprocess.PIPE, log=log) as child:
        assert child.stdout is not None
        if not select.select([child.stdout], [], [], STARTING)[0] or not (line := child.stdout.readline()):
            raise NotUp(f"the paced upstream did not come up:\n{_last_lines(log)}")
        yield int(line)


@contextmanager
def running(name: str, upstream_port: int, cores: Cores) -> Iterator[Running]:
    """The way `name`, listening; raises NotUp if it is not within STARTING seconds."""
    make_command = WAYS[name]
    if make_command is None:
        yield Running(name, upstream_port, None, Path(os.devnull))
        return
    with tempfile.TemporaryDirectory(prefix="bench-") as made:
        folder = Path(made)
        log = folder / "log"
        port = _free_port()
        command = make_command(port, upstream_port, folder)
        with process(command, cores.tested, stdout=subprocess.STDOUT, log=log) as child:
            deadline = time.monotonic() + STARTING
            while not _accepts(port):
                if child.poll() is not None or time.monotonic() > deadline:
                    state = (
                        f"ended with {child.returncode}"
                        if child.returncode is not None
                        else "does not listen"
                    )
                    raise NotUp(f"{name} {state}: {' '.join(command)}\n{_last_lines(log)}")
                time.sleep(0.05)
            yield Running(name, port, child, log)


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _last_lines(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-_LOG_LINES:])
