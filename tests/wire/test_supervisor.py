"""The embedded server's supervisor, with a child process and a clock that the test moves."""

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.interfaces import IProcessProtocol, IProcessTransport, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.logger import LogLevel, capturedLogs
from twisted.python.failure import Failure
from zope.interface import implementer
from zope.interface.verify import verifyObject

from copilot_proxy.embedded.endpoint import EmbeddedEndpoint
from copilot_proxy.embedded.supervisor import LONGEST_LINE, EmbeddedFailed, EmbeddedServer

BROKEN = b"""\
0.00.000.365 I srv          init: initializing ...
0.00.005.985 E gguf_init_from_reader: failed to read key-value pairs
0.00.013.277 E llama_model_load: error loading model: broken.gguf
0.00.013.325 E srv    load_model: failed to load model, 'broken.gguf'
cannot serve broken.gguf: llama.cpp could not start, as it says above
"""


@implementer(IProcessTransport)
class FakeProcess:
    """A child that does what the test says, and remembers the signals that it got."""

    pid = 1

    def __init__(self, protocol: Any, command: Sequence[str]) -> None:
        self.protocol = protocol
        self.command = command
        self.signals: list[str | int] = []
        self.reaped = False

    def signalProcess(self, signalID: str | int) -> None:
        if self.reaped:
            raise ProcessExitedAlready()
        self.signals.append(signalID)

    def listens(self, port: int) -> None:
        self.protocol.childDataReceived(1, b"listening on http://127.0.0.1:%d\n" % port)

    def logs(self, data: bytes) -> None:
        self.protocol.childDataReceived(2, data)

    def ends(self, status: int | None = 1, signal: int | None = None) -> None:
        ended = ProcessDone(0) if status == 0 else ProcessTerminated(status, signal)
        self.protocol.processEnded(Failure(ended))

    def closeStdin(self) -> None: ...
    def closeStdout(self) -> None: ...
    def closeStderr(self) -> None: ...
    def closeChildFD(self, descriptor: int) -> None: ...
    def writeToChild(self, childFD: int, data: bytes) -> None: ...
    def write(self, data: bytes) -> None: ...
    def writeSequence(self, data: Any) -> None: ...
    def loseConnection(self) -> None: ...
    def getPeer(self) -> Any: ...
    def getHost(self) -> Any: ...


class ProcessReactor(MemoryReactorClock):
    """A reactor with a clock, whose children are FakeProcesses."""

    def __init__(self) -> None:
        super().__init__()
        self.children: list[FakeProcess] = []
        self.refusal: OSError | None = None

    @property
    def child(self) -> FakeProcess:
        return self.children[-1]

    def spawnProcess(
        self,
        processProtocol: IProcessProtocol,
        executable: str,
        args: Sequence[str],
        env: Mapping[str, str] | None,
    ) -> IProcessTransport:
        if self.refusal is not None:
            raise self.refusal
        assert executable == args[0]
        assert env is None, "None passes the environment on"
        self.children.append(FakeProcess(processProtocol, args))
        return self.child


@pytest.fixture
def reactor() -> ProcessReactor:
    return ProcessReactor()


@pytest.fixture
def server(reactor: ProcessReactor) -> EmbeddedServer:
    server = EmbeddedServer(reactor, ["model.gguf", "--alias=m"])
    server.startService()
    return server


def outcome(waiting: Deferred[Any]) -> list[Any]:
    """Collect a Deferred's result, or its failure's exception, when it comes."""
    results: list[Any] = []
    waiting.addCallbacks(results.append, lambda failure: results.append(failure.value))
    return results


def delay_to_next_start(reactor: ProcessReactor) -> float:
    (call,) = reactor.getDelayedCalls()
    return float(call.getTime() - reactor.seconds())


def test_child_is_started_with_the_service(reactor: ProcessReactor, server: EmbeddedServer) -> None:
    """Starting the service starts one child, which runs serve with the arguments and ends with its parent."""
    (child,) = reactor.children
    assert child.command == [
        sys.executable,
        "-m",
        "copilot_proxy.embedded.serve",
        "model.gguf",
        "--alias=m",
        "--die-with-parent",
    ]


def test_no_child_before_the_service(reactor: ProcessReactor) -> None:
    """A server that has not been started runs nothing, and who asks it waits."""
    server = EmbeddedServer(reactor, ["model.gguf"])
    early = outcome(server.whenListening())
    assert not reactor.children
    server.startService()
    reactor.child.listens(8080)
    assert early == [("127.0.0.1", 8080)]


def test_callers_wait_for_the_model(reactor: ProcessReactor, server: EmbeddedServer) -> None:
    """Callers wait while the model loads, get the address when it has, and later ones get it at once."""
    waiting = [outcome(server.whenListening()) for _ in range(2)]
    assert waiting == [[], []]
    reactor.child.listens(8080)
    assert waiting == [[("127.0.0.1", 8080)]] * 2
    assert outcome(server.whenListening()) == [("127.0.0.1", 8080)]


@pytest.mark.parametrize("size", [1, 7, 100])
def test_address_in_pieces(size: int, reactor: ProcessReactor, server: EmbeddedServer) -> None:
    """The line with the address is read however it is cut, and other lines on stdout mean nothing."""
    waiting = outcome(server.whenListening())
    said = b"hello\nlistening on nothing\nlistening on http://127.0.0.1:8080\n"
    for start in range(0, len(said), size):
        assert not waiting
        reactor.child.protocol.childDataReceived(1, said[start : start + size])
    assert waiting == [("127.0.0.1", 8080)]


def test_a_caller_who_leaves_harms_no_other(reactor: ProcessReactor, server: EmbeddedServer) -> None:
    """Cancelling one caller's wait ends that one alone."""
    leaving, staying = server.whenListening(), server.whenListening()
    left, stayed = outcome(leaving), outcome(staying)
    leaving.cancel()
    assert isinstance(left[0], CancelledError)
    assert stayed == []
    reactor.child.listens(8080)
    assert stayed == [("127.0.0.1", 8080)]


def test_a_caller_may_cancel_another_when_it_is_up(reactor: ProcessReactor, server: EmbeddedServer) -> None:
    """The first caller's callback may cancel the second, who is not called twice."""
    first, second = server.whenListening(), server.whenListening()
    first.addCallback(lambda address: second.cancel())
    cancelled = outcome(second)
    reactor.child.listens(8080)
    assert [type(result) for result in cancelled] == [CancelledError]


def test_backoff_doubles_to_its_limit(reactor: ProcessReactor, server: EmbeddedServer) -> None:
    """Deaths in a row are answered after 0.5, 1, 2, 4, 8, 16, 30 and 30 seconds."""
    delays = []
    for _ in range(8):
        reactor.child.ends()
        delays.append(delay_to_next_start(reactor))
        started = len(reactor.children)
        reactor.advance(delays[-1] / 2)
        assert len(reactor.children) == started
        reactor.advance(delays[-1] / 2)
        assert len(reactor.children) == started + 1
    assert delays == [0.5, 1, 2, 4, 8, 16, 30, 30]


@pytest.mark.parametrize(("up", "delay"), [(59.9, 4.0), (60.0, 0.5)])
def test_backoff_starts_over_after_a_minute(
    up: float, delay: float, reactor: ProcessReactor, server: EmbeddedServer
) -> None:
    """A child that was up for 60 s makes the next delay 0.5 s again; loading does not count as up."""
    for _ in range(3):
        reactor.child.ends()
        reactor.advance(delay_to_next_start(reactor))
    reactor.advance(600)
    reactor.child.listens(8080)
    reactor.advance(up)
    reactor.child.ends()
    assert delay_to_next_start(reactor) == delay


def test_callers_wait_while_it_starts_again(reactor: ProcessReactor, server: EmbeddedServer) -> None:
    """After the death of a child that was up, callers wait for the next one and get its address."""
    reactor.child.listens(8080)
    reactor.child.ends(None, 9)
    waiting = outcome(server.whenListening())
    reactor.advance(0.5)
    assert waiting == []
    reactor.child.listens(8081)
    assert waiting == [("127.0.0.1", 8081)]
    assert outcome(server.whenListening()) == [("127.0.0.1", 8081)]


def test_failed_start_fails_at_once(reactor: ProcessReactor, server: EmbeddedServer) -> None:
    """A child that ends before it is up fails those who wait, and those who ask before the next start."""
    waiting = outcome(server.whenListening())
    reactor.child.logs(BROKEN)
    reactor.child.ends(1)
    later = outcome(server.whenListening())
    for (failed,) in (waiting, later):
        assert isinstance(failed, EmbeddedFailed)
        assert failed.status == 502
        assert str(failed) == (
            "llama.cpp could not start (exit status 1): "
            "gguf_init_from_reader: failed to read key-value pairs; "
            "llama_model_load: error loading model: broken.gguf"
        )
    assert waiting[0] is not later[0]
    reactor.advance(0.5)
    hopeful = outcome(server.whenListening())
    assert hopeful == []
    reactor.child.listens(8080)
    assert hopeful == [("127.0.0.1", 8080)]


@pytest.mark.parametrize(
    ("log", "why"),
    [
        (b"", "it said nothing"),
        (b"\n \n", "it said nothing"),
        (b"serve: error: unknown   option\n", "serve: error: unknown option"),
        (b"no end of line", "no end of line"),
        (b"bad \xff byte\n", "bad \ufffd byte"),
        (b"0.01 I loading\n0.02 E cannot\nlast\n", "cannot"),
        (b"0.02 E too old\n" + b"line\n" * 20, "line"),
    ],
)
def test_why_it_failed(log: bytes, why: str, reactor: ProcessReactor, server: EmbeddedServer) -> None:
    """The message tells the first errors that are among the last 20 lines, or else the last line."""
    reactor.child.logs(log)
    reactor.child.ends(None, 11)
    (failed,) = outcome(server.whenListening())
    assert str(failed) == f"llama.cpp could not start (signal 11): {why}"


def test_endless_line_takes_no_memory(reactor: ProcessReactor, server: EmbeddedServer) -> None:
    """Of a line without an end, 4096 bytes are kept."""
    for _ in range(100):
        reactor.child.logs(b"x" * 1000)
    reactor.child.ends()
    (failed,) = outcome(server.whenListening())
    assert str(failed).count("x") == pytest.approx(LONGEST_LINE, abs=1)


def test_no_process_to_be_had(reactor: ProcessReactor, server: EmbeddedServer) -> None:
    """Where the system gives no process, callers are told so, and it is tried again."""
    reactor.child.ends()
    reactor.refusal = OSError(12, "Cannot allocate memory")
    reactor.advance(0.5)
    (failed,) = outcome(server.whenListening())
    assert "Cannot allocate memory" in str(failed)
    reactor.refusal = None
    reactor.advance(1)
    assert len(reactor.children) == 2


def test_stop_ends_the_child(reactor: ProcessReactor, server: EmbeddedServer) -> None:
    """Stopping sends SIGTERM, is done when the child has ended, and starts no other."""
    reactor.child.listens(8080)
    stopped = outcome(server.stopService())
    assert reactor.child.signals == ["TERM"]
    assert stopped == []
    reactor.child.ends(0)
    assert stopped == [None]
    assert reactor.getDelayedCalls() == []
    assert len(reactor.children) == 1


def test_stop_kills_a_child_that_stays(reactor: ProcessReactor, server: EmbeddedServer) -> None:
    """A child that is still there 5 s after SIGTERM gets SIGKILL."""
    stopped = outcome(server.stopService())
    reactor.advance(4.9)
    assert reactor.child.signals == ["TERM"]
    reactor.advance(0.1)
    assert reactor.child.signals == ["TERM", "KILL"]
    assert stopped == []
    reactor.child.ends(None, 9)
    assert stopped == [None]


def test_stop_of_a_child_that_just_ended(reactor: ProcessReactor, server: EmbeddedServer) -> None:
    """A child that is gone already, but whose pipes are not closed yet, is waited for without an error."""
    reactor.child.reaped = True
    stopped = outcome(server.stopService())
    reactor.child.ends(0)
    assert stopped == [None]


def test_stop_between_two_starts(reactor: ProcessReactor, server: EmbeddedServer) -> None:
    """Stopping while the next start is due is done at once, and that start never comes."""
    reactor.child.ends()
    assert outcome(server.stopService()) == [None]
    assert reactor.getDelayedCalls() == []


def test_stop_fails_those_who_wait(reactor: ProcessReactor, server: EmbeddedServer) -> None:
    """Who waits when the service stops, or asks afterwards, is told that it has been stopped."""
    waiting = outcome(server.whenListening())
    server.stopService()
    for (failed,) in (waiting, outcome(server.whenListening())):
        assert isinstance(failed, EmbeddedFailed)
        assert "has been stopped" in str(failed)


def test_started_again_after_a_stop(reactor: ProcessReactor, server: EmbeddedServer) -> None:
    """A service that was stopped can be started again, and then looks after its child as before."""
    server.stopService()
    reactor.child.ends(0)
    server.startService()
    waiting = outcome(server.whenListening())
    reactor.child.listens(8082)
    assert waiting == [("127.0.0.1", 8082)]
    reactor.child.ends(None, 11)
    assert delay_to_next_start(reactor) == 0.5


def test_log(reactor: ProcessReactor, server: EmbeddedServer) -> None:
    """Being up is logged as info, a death as a warning with its delay, and the child's own lines as debug."""
    with capturedLogs() as events:
        reactor.child.logs(b"loading\n")
        reactor.child.listens(8080)
        reactor.child.ends(None, 9)
    debug, info, warning = events
    assert (debug["log_level"], debug["line"]) == (LogLevel.debug, "loading")
    assert (info["log_level"], info["model"], info["port"]) == (LogLevel.info, "model.gguf", 8080)
    assert (warning["log_level"], warning["how"], warning["delay"]) == (LogLevel.warn, "signal 9", 0.5)


def connect(reactor: ProcessReactor, server: EmbeddedServer) -> Deferred[Any]:
    endpoint = EmbeddedEndpoint(reactor, server, connectTimeout=7)
    verifyObject(IStreamClientEndpoint, endpoint)
    factory: Callable[..., Factory] = Factory.forProtocol
    return endpoint.connect(factory(Protocol))


def test_endpoint_connects_when_it_is_up(reactor: ProcessReactor, server: EmbeddedServer) -> None:
    """The endpoint waits for the server, and then gives a connection to its port."""
    connected = outcome(connect(reactor, server))
    assert reactor.tcpClients == []
    reactor.child.listens(8080)
    ((host, port, factory, timeout, _),) = reactor.tcpClients
    assert (host, port, timeout) == ("127.0.0.1", 8080, 7)
    protocol = factory.buildProtocol(IPv4Address("TCP", host, port))
    assert protocol is not None
    protocol.makeConnection(StringTransport())
    (given,) = connected
    assert isinstance(given, Protocol)


def test_endpoint_fails_with_the_server(reactor: ProcessReactor, server: EmbeddedServer) -> None:
    """The endpoint fails as the server does."""
    failed = outcome(connect(reactor, server))
    reactor.child.ends()
    assert isinstance(failed[0], EmbeddedFailed)


def test_endpoint_cancels_the_wait(reactor: ProcessReactor, server: EmbeddedServer) -> None:
    """A connection that is cancelled before the server is up is never tried."""
    connecting = connect(reactor, server)
    cancelled = outcome(connecting)
    connecting.cancel()
    assert isinstance(cancelled[0], CancelledError)
    reactor.child.listens(8080)
    assert reactor.tcpClients == []


def test_endpoint_cancels_the_connection(reactor: ProcessReactor, server: EmbeddedServer) -> None:
    """A connection that is cancelled while TCP connects is given up."""
    reactor.child.listens(8080)
    connecting = connect(reactor, server)
    cancelled = outcome(connecting)
    (connector,) = reactor.connectors
    connecting.cancel()
    assert connector.stoppedConnecting
    assert len(cancelled) == 1
