"""Which ways lead from a client to llama-server, and how are their processes started, watched and ended?"""

import math
import os
import select
import signal
import socket
import string
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import fronts, measure

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
    return [fronts.find("nginx") or "nginx", "-e", "stderr", "-p", str(folder), "-c", str(written)]


def _aiohttp(port: int, upstream: int, folder: Path) -> list[str]:
    return [sys.executable, "-m", "bench.aiohttp_proxy", str(port), f"http://127.0.0.1:{upstream}"]


PROXY, DIRECT, NGINX, AIOHTTP = "proxy", "direct", "nginx", "aiohttp"

Step = Callable[[int, int, Path], list[str]]
"""The command of a process for its port, the port behind it and a folder of its own."""


def _shipped(name: str) -> Step:
    """The reverse proxy as deploy/ configures it, without TLS: what is compared is one more hop."""

    def command(port: int, proxy: int, folder: Path) -> list[str]:
        proxies = (proxy, proxy) if name == "haproxy" else (proxy,)  # the shipped file has two
        return fronts.FRONTS[name](port, proxies, folder, None)

    return command


BEHIND = {f"{name}+proxy": name for name in fronts.FRONTS}
"""The ways through the proxy behind a reverse proxy, and which one; run only when they are named."""

WAYS: dict[str, tuple[Step, ...]] = {
    PROXY: (_twist,),
    DIRECT: (),  # nothing stands between; the others' delay is counted from this one's
    NGINX: (_nginx,),
    AIOHTTP: (_aiohttp,),
    **{way: (_twist, _shipped(name)) for way, name in BEHIND.items()},
}
"""Each way's processes, the one nearest to upstream first."""

NEEDS = {NGINX: "nginx", **BEHIND}
"""The program that a way needs and that may be missing."""


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

    def __init__(self, name: str, port: int, steps: list[tuple[subprocess.Popen[bytes], Path]]) -> None:
        self.name = name
        self.port = port
        self._steps = steps

    def cpu(self) -> float:
        """Seconds of CPU so far, of the processes and their children; NaN for the direct way."""
        return self._sum(measure.cpu_seconds)

    def resident(self) -> float:
        """Their largest resident memory so far in MB; pages that they share are counted for each."""
        return self._sum(measure.peak_resident)

    def _sum(self, figure: Callable[[int], float]) -> float:
        """Over the processes and their children; raises NotUp when one has ended."""
        if not self._steps:
            return math.nan
        for child, log in self._steps:
            if child.poll() is not None:
                raise NotUp(f"{self.name} ended with {child.returncode}:\n{_last_lines(log)}")
        return sum(figure(pid) for child, _ in self._steps for pid in measure.family(child.pid))


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
    port = upstream_port
    started: list[tuple[subprocess.Popen[bytes], Path]] = []
    with ExitStack() as stack:
        for make_command in WAYS[name]:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
            log = folder / "log"
            behind, port = port, _free_port()
            command = make_command(port, behind, folder)
            child = stack.enter_context(process(command, cores.tested, stdout=subprocess.STDOUT, log=log))
            started.append((child, log))
            deadline = time.monotonic() + STARTING
            while not _accepts(port):
                if child.poll() is not None or time.monotonic() > deadline:
                    ended = child.returncode is not None
                    state = f"ended with {child.returncode}" if ended else "does not listen"
                    raise NotUp(f"{name} {state}: {' '.join(command)}\n{_last_lines(log)}")
                time.sleep(0.05)
        yield Running(name, port, started)


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
