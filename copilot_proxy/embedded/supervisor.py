"""How does the proxy keep one llama.cpp running beside it?"""

import re
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol
from urllib.parse import urlsplit

from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IDelayedCall, IProcessProtocol, IProcessTransport
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..errors import UpstreamError

Address = tuple[str, int]

SERVE = (sys.executable, "-m", "copilot_proxy.embedded.serve")
FIRST_DELAY = 0.5  # seconds from a death to the next start; doubled at each death
LONGEST_DELAY = 30.0  # seconds
STEADY = 60.0  # seconds up after which a death counts as the first again
TERM_GRACE = 5.0  # seconds from SIGTERM to SIGKILL
KEPT_LINES = 20  # of stderr, to say why the child ended
LONGEST_LINE = 4096  # bytes kept of an unfinished line

_LISTENING = "listening on "
_LOGGED_ERROR = re.compile(r"\d+(?:\.\d+)+ E (.*)")  # 0.00.013.325 E srv    load_model: failed to load ...


class EmbeddedFailed(UpstreamError):
    """llama.cpp could not be started, or has been stopped."""

    code = "upstream_not_started"


class SupervisorReactor(Protocol):
    """What the supervisor needs of a reactor: IReactorProcess, and the two methods of IReactorTime."""

    def spawnProcess(
        self,
        processProtocol: IProcessProtocol,
        executable: str,
        args: Sequence[str],
        env: Mapping[str, str] | None,
    ) -> IProcessTransport: ...
    def callLater(self, delay: float, call: Callable[..., Any], /, *args: object) -> IDelayedCall: ...
    def seconds(self) -> float: ...


class EmbeddedServer(Service):
    """While this service runs, llama.cpp runs as a child process, and is started again when it ends.

    `arguments` are what follows `python -m copilot_proxy.embedded.serve`. `stopService` ends the child, and
    its Deferred fires when the child is gone.
    """

    _log = Logger()

    def __init__(self, reactor: SupervisorReactor, arguments: Sequence[str]) -> None:
        self._reactor = reactor
        self._arguments = tuple(arguments)
        self._process: IProcessTransport | None = None
        self._address: Address | None = None
        self._up_since = 0.0
        self._complaint: str | None = None  # why callers get an error rather than wait
        self._waiting: list[Deferred[Address]] = []
        self._delay = FIRST_DELAY
        self._timer: IDelayedCall | None = None  # of the next start or, while stopping, of SIGKILL
        self._stopped: Deferred[None] | None = None

    def whenListening(self) -> Deferred[Address]:
        """Give the host and the port of a llama.cpp that has loaded its model, at once or when it is up.

        Fails with EmbeddedFailed, at once, after a failed start and until the next one begins. A caller who
        waits no more cancels its own Deferred, and no other's.
        """
        if self._complaint is not None:
            return fail(EmbeddedFailed(self._complaint))
        if self._address is not None:
            return succeed(self._address)
        waiting: Deferred[Address] = Deferred(self._waiting.remove)
        self._waiting.append(waiting)
        return waiting

    def startService(self) -> None:
        super().startService()
        self._start()

    def stopService(self) -> Deferred[None]:
        super().stopService()
        self._cancel_timer()
        self._refuse("the embedded llama.cpp has been stopped")
        if self._process is None:
            return succeed(None)
        self._stopped = Deferred()
        _signal(self._process, "TERM")
        self._timer = self._reactor.callLater(TERM_GRACE, _signal, self._process, "KILL")
        return self._stopped

    def _start(self) -> None:
        self._timer = None
        self._complaint = None
        child = _Child(self._listening, self._ended)
        command = [*SERVE, *self._arguments, "--die-with-parent"]
        try:
            self._process = self._reactor.spawnProcess(child, command[0], command, None)
        except OSError as error:  # no memory or no file descriptor for another process
            self._ended(str(error), "it got no process")

    def _listening(self, address: Address) -> None:
        self._address = address
        self._up_since = self._reactor.seconds()
        host, port = address
        self._log.info(
            "llama.cpp serves {model} on {host}:{port}", model=self._arguments[0], host=host, port=port
        )
        for waiting in self._take_waiting():
            waiting.callback(address)

    def _ended(self, how: str, why: str) -> None:
        was_up, self._address, self._process = self._address is not None, None, None
        if self._stopped is not None:
            stopped, self._stopped = self._stopped, None
            self._cancel_timer()
            stopped.callback(None)
            return
        if was_up and self._reactor.seconds() - self._up_since >= STEADY:
            self._delay = FIRST_DELAY
        delay, self._delay = self._delay, min(2 * self._delay, LONGEST_DELAY)
        self._timer = self._reactor.callLater(delay, self._start)
        self._log.warn(
            "llama.cpp ended ({how}): {why}; it starts again in {delay} s", how=how, why=why, delay=delay
        )
        if not was_up:
            self._refuse(f"llama.cpp could not start ({how}): {why}")

    def _refuse(self, complaint: str) -> None:
        self._complaint = complaint
        for waiting in self._take_waiting():
            waiting.errback(EmbeddedFailed(complaint))

    def _take_waiting(self) -> Iterator[Deferred[Address]]:
        """Take one at a time: what one caller does next may cancel another, who is then still in the list."""
        while self._waiting:
            yield self._waiting.pop(0)

    def _cancel_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None


def _signal(process: IProcessTransport, name: str) -> None:
    try:
        process.signalProcess(name)
    except ProcessExitedAlready:  # and its pipes are about to close
        pass


class _Child(ProcessProtocol):
    """Reads what one `copilot_proxy.embedded.serve` says, until it ends."""

    _log = Logger()

    def __init__(self, listening: Callable[[Address], None], ended: Callable[[str, str], None]) -> None:
        self._listening = listening
        self._ended = ended
        self._said = _Lines()
        self._logged = _Lines()
        self._last: deque[str] = deque(maxlen=KEPT_LINES)

    def outReceived(self, data: bytes) -> None:
        for line in self._said.feed(data):
            url = urlsplit(line.removeprefix(_LISTENING))
            if line.startswith(_LISTENING) and url.hostname and url.port:
                self._listening((url.hostname, url.port))

    def errReceived(self, data: bytes) -> None:
        for line in filter(str.strip, self._logged.feed(data)):
            self._last.append(line)
            self._log.debug("llama.cpp: {line}", line=line)

    def processEnded(self, reason: Failure) -> None:
        self.errReceived(b"\n")
        end: Any = reason.value  # ProcessDone or ProcessTerminated
        self._ended(f"signal {end.signal}" if end.signal else f"exit status {end.exitCode}", self._why())

    def _why(self) -> str:
        """Give the first two errors that llama.cpp logged, where the cause stands, or else the last line."""
        lines = [" ".join(line.split()) for line in self._last]
        errors = [error[1] for line in lines if (error := _LOGGED_ERROR.match(line))]
        return "; ".join(errors[:2] or lines[-1:]) or "it said nothing"


class _Lines:
    """Cuts bytes into lines of text, and keeps at most LONGEST_LINE bytes between two feeds."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[str]:
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest[:LONGEST_LINE]
        return [line.decode("utf-8", "replace") for line in lines]
