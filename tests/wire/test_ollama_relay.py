"""Does an answer for a client of Ollama's reach it, in lines or whole, by the relay that serves Copilot's?"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone, ResponseFailed
from twisted.web.http import PotentialDataLoss
from twisted.web.iweb import IResponse
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from copilot_proxy.errors import BrokenAnswer, ProxyError, UpstreamError, UpstreamLost
from copilot_proxy.exchange import Exchange
from copilot_proxy.stream.attended import Answered, attend, collect
from copilot_proxy.stream.ollama.line import Shape
from copilot_proxy.stream.ollama.lines import Lines
from copilot_proxy.stream.ollama.whole import Whole
from copilot_proxy.stream.relay import MAX_EVENT
from copilot_proxy.stream.usage import Tokens, tokens
from tests.unit.ollama_writer import completion, content, lines, read, stopped, whole
from tests.unit.stream_writer import DONE, FIRST, STOP, chunk, text
from tests.wire.peers import Client, Transport

TIMED = chunk({}, "stop", timings={"cache_n": 3, "prompt_n": 4, "prompt_ms": 1, "predicted_n": 2})
SILENT = b'"message":{"role":"assistant","content":""},"done":false}\n'


class Upstream:
    """Upstream's response, and the transport that its body comes by."""

    code = 200

    def __init__(self) -> None:
        self.body: Any = None
        self.transport = Transport(IPv4Address("TCP", "127.0.0.1", 11433))

    def deliverBody(self, protocol: Any) -> None:
        self.body = protocol
        protocol.makeConnection(self.transport)

    def sends(self, *events: bytes) -> None:
        for event in events:
            self.body.dataReceived(event)

    def ends(self, reason: Exception | None = None) -> None:
        self.body.connectionLost(Failure(reason or ResponseDone()))


Serve = Callable[["Stage", Request], Awaitable[None]]


class Stage(Resource):
    """One client at a web server that serves it from upstream, in memory."""

    isLeaf = True

    def __init__(self, serve: Serve) -> None:
        super().__init__()
        self._serve = serve
        self.clock = MemoryReactorClock()
        self.upstream = Upstream()
        self.answered: Deferred[Answered] = Deferred()
        self.exchange = Exchange(started=0.0)
        self.raised: list[Failure] = []
        transport = Transport(IPv4Address("TCP", "127.0.0.1", 50000))
        transport.protocol = Site(self, reactor=self.clock).buildProtocol(None)
        self.client = Client(self, transport)
        transport.protocol.makeConnection(transport)
        self.client.asks("POST", "/api/chat")

    def turn(self) -> None:
        self.client.transport.delivers()

    def render_POST(self, request: Request) -> int:
        serving = ensureDeferred(self._serves(request))
        serving.addErrback(self.raised.append)
        request.notifyFinish().addErrback(lambda _: serving.cancel())
        return NOT_DONE_YET

    async def _serves(self, request: Request) -> None:
        await self._serve(self, request)
        request.finish()

    def answers(self, *events: bytes) -> None:
        """Upstream sends its head, and these events."""
        self.answered.callback(Answered(cast(IResponse, self.upstream)))
        self.upstream.sends(*events)

    @property
    def body(self) -> bytes:
        return self.client.answer.body

    def closes(self) -> None:
        """The test is over: nothing may be left that waits."""
        self.client.leaves()
        assert self.clock.getDelayedCalls() == []


def lost() -> ProxyError:
    return UpstreamLost("the connection broke")


async def never(_: Answered) -> ProxyError:
    raise AssertionError


def streams(machine: Lines, last: Callable[[], Awaitable[bytes]] | None = None) -> Stage:
    """A stage on which the machine's lines are streamed."""

    async def serve(stage: Stage, request: Request) -> None:
        await attend(stage.answered, request, stage.exchange, stage.clock, lost, never, machine, last)

    return Stage(serve)


def collects(machine: Whole) -> Stage:
    """A stage on which the machine collects the answer."""

    async def serve(stage: Stage, request: Request) -> None:
        response = (await stage.answered).response
        try:
            await collect(response, request, stage.exchange, stage.clock.seconds, lost, machine)
            request.write(machine.document())
        except ProxyError as e:
            request.setResponseCode(e.status)
            request.write(e.message.encode())

    return Stage(serve)


def test_lines_reach_the_client() -> None:
    """The head says what comes, each line leaves with its event, and `done` when upstream has ended."""
    stage = streams(lines())
    assert stage.client.received == b""
    stage.answers(FIRST)
    assert stage.client.answer.status == 200
    assert stage.client.answer.field(b"content-type") == b"application/x-ndjson"
    assert stage.client.answer.field(b"cache-control") == b"no-cache"
    assert stage.body == b""
    stage.upstream.sends(text("I"))
    assert content([json.loads(stage.body)]) == "I"
    assert stage.exchange.first_byte == 0
    stage.upstream.sends(TIMED + DONE)
    assert stage.body.count(b"\n") == 1
    stage.upstream.ends()
    assert stage.client.answer.whole
    assert [line["done"] for line in read(stage.body)] == [False, True]
    assert tokens(b"".join(stage.exchange.tail)) == Tokens(7, 2)
    stage.closes()


def test_cut_events() -> None:
    """An event that comes in pieces makes its line once it is whole, or once upstream has ended."""
    stage = streams(lines())
    event = text("I")
    stage.answers(event[:40])
    assert stage.body == b""
    stage.upstream.sends(event[40:], STOP[:-2])
    assert content([json.loads(stage.body)]) == "I"
    stage.upstream.ends()
    assert read(stage.body)[-1]["done"]
    stage.closes()


def test_last_line_may_wait() -> None:
    """What the last line needs may take its time, with signs of life meanwhile, and nothing comes twice."""
    context: Deferred[list[int]] = Deferred()
    machine = lines(Shape.GENERATE)

    async def last() -> bytes:
        return machine.end(await context)

    stage = streams(machine, last)
    stage.answers(completion("I"), stopped())
    stage.upstream.ends()
    assert not stage.client.answer.whole
    for _ in range(4):
        stage.clock.advance(5)
    assert stage.body.endswith(b'"response":"","done":false}\n')
    context.callback([1, 2])
    assert stage.client.answer.whole
    assert read(stage.body)[-1]["context"] == [1, 2]
    stage.closes()


def test_last_line_may_fail() -> None:
    """Where it cannot be made, the answer that was whole ends all the same."""

    async def last() -> bytes:
        raise UpstreamError("no tokens")

    stage = streams(lines(Shape.GENERATE), last)
    stage.answers(completion("I"), stopped())
    stage.upstream.ends()
    assert read(stage.body)[-1]["done"]
    assert stage.exchange.failure is None
    stage.closes()


def test_client_leaves_before_the_last_line() -> None:
    """What the last line waits for is cancelled when nobody is there to read it."""
    context: Deferred[bytes] = Deferred()

    async def last() -> bytes:
        return await context

    stage = streams(lines(), last)
    stage.answers(text("I"), STOP)
    stage.upstream.ends()
    stage.closes()
    assert context.called
    stage.raised[0].trap(CancelledError)


def test_silence() -> None:
    """A client that waits gets its head after 3 s, and a line that says nothing from time to time."""
    stage = streams(lines())
    stage.clock.advance(2.75)
    assert stage.client.received == b""
    stage.clock.advance(0.25)
    assert stage.client.answer.field(b"content-type") == b"application/x-ndjson"
    assert stage.body.count(b"\n") == 1
    assert stage.body.endswith(SILENT)
    for _ in range(3):
        stage.clock.advance(5)
    assert stage.body.count(SILENT) == 2
    stage.answers(text("I"), STOP)
    stage.upstream.ends()
    assert content(read(stage.body)) == "I"
    stage.closes()


def test_upstream_fails_after_the_head() -> None:
    """Where the client has its 200 already, the failure is a line."""
    stage = streams(lines())
    stage.clock.advance(3)
    stage.answered.errback(Failure(UpstreamError("nobody listens")))
    assert read(stage.body)[-1] == {"error": "nobody listens"}
    assert stage.client.answer.whole
    assert stage.exchange.failure is not None
    stage.closes()


@pytest.mark.parametrize(
    ("reason", "error"),
    [
        (None, "llama-server ended its answer without saying that it is finished"),
        (ResponseFailed([Failure(ConnectionDone())]), "the connection broke"),
        (PotentialDataLoss(), "the connection broke"),
    ],
)
def test_upstream_breaks_off(reason: Exception | None, error: str) -> None:
    """Lines end with an error, cleanly; a whole answer becomes a status, and no byte of it leaves before."""
    stage = streams(lines())
    stage.answers(text("I"))
    stage.upstream.ends(reason)
    assert read(stage.body)[-1] == {"error": error}
    assert stage.client.answer.whole
    assert stage.exchange.failure is not None
    stage.closes()
    stage = collects(whole())
    stage.answers(text("I"))
    assert stage.client.received == b""
    stage.upstream.ends(reason)
    assert (stage.client.answer.status, stage.body) == (502, error.encode())
    stage.closes()


@pytest.mark.parametrize("reason", [None, ResponseFailed([Failure(ConnectionDone())]), PotentialDataLoss()])
def test_whole_answer_whatever_the_end(reason: Exception | None) -> None:
    """Once the model has finished, the answer is whole."""
    stage = streams(lines())
    stage.answers(text("I") + STOP)
    stage.upstream.ends(reason)
    assert read(stage.body)[-1]["done"]
    assert stage.exchange.failure is None
    stage.closes()
    stage = collects(whole())
    stage.answers(text("I") + STOP)
    assert stage.client.received == b""
    stage.upstream.ends(reason)
    assert stage.client.answer.status == 200
    assert content([json.loads(stage.body)]) == "I"
    stage.closes()


def test_event_too_large() -> None:
    """One that is not kept whole cannot be judged: the answer fails, once, and what follows is dropped."""
    stage = streams(lines())
    stage.answers(b"data: " + b"x" * (MAX_EVENT + 1))
    assert len(stage.body.splitlines()) == 1
    assert "1048576 bytes" in read(stage.body)[-1]["error"]
    stage.upstream.sends(b"x" * (MAX_EVENT + 1) + b"\n\n" + text("I") + STOP)
    stage.upstream.ends()
    assert len(stage.body.splitlines()) == 1
    stage.closes()
    machine = whole()
    stage = collects(machine)
    stage.answers(b"data: " + b"x" * (MAX_EVENT + 1))
    stage.upstream.ends()
    assert stage.client.answer.status == 502
    assert isinstance(machine.failure, BrokenAnswer)
    stage.closes()


@pytest.mark.parametrize("begun", [streams, collects])
def test_client_leaves(begun: Any) -> None:
    """Upstream is closed at once, whether anything was sent to the client or not."""
    stage = begun(lines() if begun is streams else whole())
    stage.answers(text("I"))
    assert not stage.upstream.transport.disconnecting
    stage.closes()
    assert stage.upstream.transport.disconnecting
    stage.upstream.ends(ResponseFailed([Failure(ConnectionDone())]))
    stage.raised[0].trap(CancelledError)
