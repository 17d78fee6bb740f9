"""Is a client that reads nothing given up, so that its slot is free?"""

from __future__ import annotations

from tests.wire.message import DONE, EVENTS_HEAD, chunk, event
from tests.wire.pair import OpenWire, Wire
from tests.wire.peers import Client, UpstreamConnection


def stalled(wire: Wire) -> tuple[Client, UpstreamConnection]:
    client, upstream = wire.chat()
    upstream.sends(EVENTS_HEAD + chunk(event("word")))
    client.stalls()
    return client, upstream


def test_a_client_that_reads_nothing(open_wire: OpenWire) -> None:
    """After --stall-timeout the client's connection and upstream's are closed, and the log says why."""
    wire = open_wire(stall_timeout="20")
    client, upstream = stalled(wire)
    wire.passes(19.9)
    assert not client.closed
    assert not upstream.closed
    wire.passes(0.2)
    assert client.transport.aborted
    assert upstream.closed
    (line,) = wire.lines
    assert line.endswith("(the client read nothing for 20 s)")


def test_a_client_that_reads_again(open_wire: OpenWire) -> None:
    """A client that takes what was held for it has all its time again, and costs no timer while it reads."""
    wire = open_wire(stall_timeout="20")
    client, upstream = stalled(wire)
    timers = len(wire.clock.getDelayedCalls())
    wire.passes(19)
    client.reads()
    assert len(wire.clock.getDelayedCalls()) == timers - 1
    wire.passes(19)
    client.stalls()
    wire.passes(19)
    client.reads()
    upstream.sends(chunk(DONE) + chunk(b""))
    assert client.answer.whole
    assert not client.closed


def test_a_stalled_client_leaves(wire: Wire) -> None:
    """A client that leaves before its time is over leaves no timer behind."""
    client, upstream = stalled(wire)
    client.leaves()
    assert upstream.closed
    assert wire.clock.getDelayedCalls() == []


def test_a_cut_answer_that_nobody_reads(wire: Wire) -> None:
    """What upstream broke off is held no longer either, though no producer is there to be resumed."""
    client, upstream = stalled(wire)
    upstream.leaves()
    assert client.closed
    assert wire.clock.getDelayedCalls() == []
