"""Is /health answered without waiting for upstream?"""

from __future__ import annotations

import pytest
from twisted.internet import error

from tests.wire.pair import OpenWire, Wire


def test_health_does_not_wait(fresh: Wire) -> None:
    """/health answers at once, whatever upstream does, with what was seen of it last."""
    fresh.passes(1.1)
    client = fresh.client()
    client.gets("/health")
    assert client.answer.status == 200
    assert client.answer.json["status"] == "ok"
    assert client.answer.json["upstream"]["reachable"] is False, "as it was at the start"
    (upstream,) = fresh.asked
    assert upstream.request.target == b"/health"
    client.gets("/health")
    assert len(fresh.connections) == 1, "one look at a time"
    upstream.tells({"status": "ok"})
    client.gets("/health")
    assert client.answers[-1].json["upstream"] == {
        "url": "http://127.0.0.1:11433",
        "reachable": True,
        "detail": "ready",
        "seconds_ago": 0.0,
    }


@pytest.mark.parametrize(("status", "detail"), [(503, "still loading its model"), (404, "answers 404")])
def test_health_of_an_upstream_that_is_not_ready(fresh: Wire, status: int, detail: str) -> None:
    """An upstream that is there and not ready is reachable, and is told as what it says."""
    fresh.passes(1.1)
    fresh.client().gets("/health")
    fresh.asked[0].tells({}, status)
    client = fresh.client()
    client.gets("/health")
    assert client.answer.json["upstream"]["reachable"] is True
    assert client.answer.json["upstream"]["detail"] == detail


def test_health_of_an_upstream_that_is_away(fresh: Wire) -> None:
    """An upstream that cannot be reached is told with the reason; it is looked at anew after a second."""
    fresh.refusal = error.ConnectionRefusedError()
    fresh.passes(1.1)
    client = fresh.client()
    client.gets("/health")
    client.gets("/health")
    assert client.answers[-1].json["upstream"]["reachable"] is False
    assert "is it running?" in client.answers[-1].json["upstream"]["detail"]
    assert client.answers[-1].json["status"] == "ok"
    fresh.refusal = None
    client.gets("/health")
    assert fresh.connections == []
    fresh.passes(1.1)
    client.gets("/health")
    assert len(fresh.connections) == 1


def test_health_of_an_upstream_that_says_nothing(fresh: Wire) -> None:
    """A look at upstream is given up after five seconds."""
    fresh.passes(1.1)
    client = fresh.client()
    client.gets("/health")
    (upstream,) = fresh.asked
    fresh.passes(5.1)
    assert upstream.closed
    client.gets("/health")
    assert client.answers[-1].json["upstream"]["reachable"] is False


# ---------------------------------------------------------------- what probes ask


def test_live(fresh: Wire) -> None:
    """/health/live says that the process answers, and asks nobody."""
    fresh.passes(2)
    client = fresh.client()
    client.gets("/health/live")
    assert client.answer.status == 200
    assert client.answer.json == {"status": "ok"}
    assert fresh.connections == []


@pytest.mark.parametrize("status", [200, 404])
def test_ready(fresh: Wire, status: int) -> None:
    """/health/ready looks again, waits for that, and is 200 where upstream answers, whatever it has there."""
    fresh.passes(2)
    client, other = fresh.client(), fresh.client()
    client.gets("/health/ready")
    other.gets("/health/ready")
    (upstream,) = fresh.asked
    assert client.received == b""
    fresh.passes(1)
    upstream.tells({}, status)
    for answered in (client, other):
        assert answered.answer.status == 200
        assert answered.answer.json == {"status": "ok"}
    client.gets("/health/ready")
    assert client.answers[-1].status == 200
    assert len(fresh.connections) == 1, "a look is good for a second"


def test_not_ready_while_loading(wire: Wire) -> None:
    """While llama-server loads its model, the proxy is not ready, and says what to do."""
    wire.passes(2)
    client = wire.client()
    client.gets("/health/ready")
    wire.asked[0].tells({}, 503)
    assert client.answer.status == 503
    assert client.answer.json == {
        "status": "not ready",
        "detail": "llama-server at http://127.0.0.1:11433 is still loading its model: wait for it",
    }


def test_not_ready_without_upstream(wire: Wire) -> None:
    """Where upstream is away the proxy is not ready, and is again as soon as upstream is there."""
    wire.refusal = error.ConnectionRefusedError()
    wire.passes(2)
    client = wire.client()
    client.gets("/health/ready")
    assert client.answer.status == 503
    assert "is it running?" in client.answer.json["detail"]
    wire.refusal = None
    wire.passes(1.1)
    client.gets("/health/ready")
    wire.asked[0].tells({})
    assert client.answers[-1].status == 200


def test_ready_does_not_wait_for_ever(wire: Wire) -> None:
    """An upstream that says nothing makes a probe wait three seconds; it gets what was seen last."""
    wire.passes(2)
    client = wire.client()
    client.gets("/health/ready")
    wire.asked[0].tells({})
    wire.passes(2)
    client.gets("/health/ready")
    wire.passes(2.9)
    assert len(client.answers) == 1
    wire.passes(0.2)
    assert client.answers[-1].status == 200
    wire.passes(2)
    client.gets("/health/ready")
    assert client.answers[-1].status == 503, "five seconds are an answer too"
    assert "did not answer in 5 s" in client.answers[-1].json["detail"]


def test_a_probe_that_leaves(wire: Wire) -> None:
    """A probe that does not wait for its answer leaves nothing behind."""
    wire.passes(2)
    client = wire.client()
    client.gets("/health/ready")
    client.leaves()
    wire.asked[0].tells({})
    assert "the client left" in wire.lines[0]


def test_the_log_of_probes(open_wire: OpenWire) -> None:
    """A check that finds nothing wrong leaves no line, unless everything is to be logged; bad news does."""
    for verbose, lines in (("", 1), ("1", 3)):
        wire = open_wire(verbose=verbose)
        for path in ("/health", "/health/live"):
            wire.client().gets(path)
        wire.serves({"/health": {"status": "ok"}})
        wire.refusal = error.ConnectionRefusedError()
        wire.passes(2)
        wire.client().gets("/health/ready")
        assert len([line for line in wire.lines if line.startswith("127.0.0.1 GET /health")]) == lines
