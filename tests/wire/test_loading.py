"""Does a chat wait for llama-server to load its model, and is it sent again when that is done?"""

from __future__ import annotations

import pytest

from copilot_proxy.stream.heartbeat import COMMENT
from tests.unit.stream_writer import DONE, FIRST
from tests.wire.attended import (
    COPILOTS,
    JSON,
    LAST_CHUNK,
    LOOK,
    VS_CODE,
    WHOLE,
    begun,
    comments,
    loaded,
    loads,
    refusal,
    sends_whole,
    still,
    told,
)
from tests.wire.llama import LOADING
from tests.wire.message import EVENTS_HEAD, chunk
from tests.wire.pair import OpenWire, Wire


@pytest.mark.parametrize("field", COPILOTS)
def test_copilot_waits_with_heartbeats(wire: Wire, field: str) -> None:
    """D4, C2: while the model is loaded, comments come at 3 s and each 15 s; then the chat goes again."""
    client, asked = loads(wire, field)
    still(wire, 2)
    assert client.received == b""
    still(wire, 38)
    assert client.answer.body == COMMENT * 3
    loaded(wire)
    (upstream,) = wire.asked
    assert upstream.request == asked
    sends_whole(upstream)
    assert client.answer.body == COMMENT * 3 + WHOLE
    assert client.answer.whole
    assert [line for line in wire.lines if "still loading" in line] == [
        "llama-server is still loading its model; a chat waits for it"
    ]


def test_quickly_loaded(wire: Wire) -> None:
    """D4, C3: where the model is loaded within 3 s, the client gets upstream's bytes and no comment."""
    client, _ = loads(wire, VS_CODE)
    still(wire, 1)
    loaded(wire)
    sends_whole(wire.asked[-1])
    assert client.answer.body == WHOLE


@pytest.mark.parametrize("path", ["/api/chat", "/v1/chat/completions", "/chat/completions"])
def test_others_wait_plainly(wire: Wire, path: str) -> None:
    """D4: any other client's chat waits as well, without a byte, and is answered in upstream's own bytes."""
    client = wire.client()
    client.posts(path, {"model": "tiny", "messages": [], "stream": True})
    asked = wire.asked[0].request
    wire.asked[0].tells(LOADING, 503)
    still(wire, 100)
    loaded(wire)
    assert client.received == b""
    (upstream,) = wire.asked
    assert upstream.request == asked
    odd = b"event: x\r\ndata: {}\r\n\r\n"
    upstream.sends(EVENTS_HEAD + chunk(odd + DONE) + LAST_CHUNK)
    assert client.answer.body == odd + DONE
    assert comments(client) == 0


def test_no_stream_waits_too(wire: Wire) -> None:
    """D4: a chat of Copilot's without a stream waits plainly: JSON cannot be kept alive."""
    client, _ = loads(wire, VS_CODE, stream=False)
    still(wire, 20)
    loaded(wire)
    wire.asked[-1].tells({"choices": []})
    assert client.answer.json == {"choices": []}


def test_limit_after_the_early_200(open_wire: OpenWire) -> None:
    """D4, C11: after --load-timeout the client is told so inside its stream, and nothing waits any more."""
    wire = open_wire(load_timeout="30")
    client, _ = loads(wire, VS_CODE)
    still(wire, 30)
    error = told(client)
    assert error["code"] == "upstream_loading"
    assert "still loading its model after 30 s; --load-timeout sets" in error["message"]
    client.leaves()
    assert wire.clock.getDelayedCalls() == []
    assert wire.asked == []


@pytest.mark.parametrize(
    ("fields", "limit", "status"), [([VS_CODE], 2, 400), ([COPILOTS[3]], 2, 503), ([], 2, 503), ([], 40, 503)]
)
def test_limit_as_a_status(open_wire: OpenWire, fields: list[str], limit: int, status: int) -> None:
    """D1, D2, D4: who has no head yet gets a status: VS Code the 400 that it shows, others 503."""
    wire = open_wire(load_timeout=str(limit))
    client, _ = loads(wire, *fields)
    still(wire, limit)
    assert client.answer.status == status
    error = client.answer.json["error"]
    assert error["code"] == "upstream_loading"
    assert f"after {limit} s" in error["message"]


def test_limit_of_300_s(wire: Wire) -> None:
    """D4: without --load-timeout a chat waits for 300 s."""
    client, _ = loads(wire, VS_CODE)
    still(wire, 299)
    assert comments(client) == 20
    still(wire, 1)
    assert "after 300 s" in told(client)["message"]


def test_the_limit_is_one_for_the_whole_wait(open_wire: OpenWire) -> None:
    """D4: llama-server that is ready and then loads again does not start the time anew."""
    wire = open_wire(load_timeout="10")
    client, _ = loads(wire, VS_CODE)
    still(wire, 5)
    loaded(wire)
    wire.asked[-1].tells(LOADING, 503)
    still(wire, 4)
    assert "after 10 s" in told(client)["message"]


@pytest.mark.parametrize(("fields", "shown"), [([VS_CODE], 400), ([COPILOTS[3]], 503), ([], 503)])
def test_another_503_is_no_loading(wire: Wire, fields: list[str], shown: int) -> None:
    """D2: a 503 that does not say "Loading model" is upstream's answer, and passes with its body."""
    client = wire.client()
    client.chats(*fields)
    body = refusal("no slot is free", 503)
    wire.asked[0].answers(503, body, JSON, "Connection: close")
    assert (client.answer.status, client.answer.body) == (shown, body)
    assert client.answer.field(b"content-type") == b"application/json; charset=utf-8"
    wire.passes(20)
    assert wire.asked == []


def test_refused_when_loaded(wire: Wire) -> None:
    """C11: what upstream refuses when it has loaded is told in the stream that was begun meanwhile."""
    client, _ = loads(wire, VS_CODE)
    still(wire, 5)
    loaded(wire)
    wire.asked[-1].answers(400, refusal("the request exceeds the context"), JSON)
    assert told(client)["message"] == "the request exceeds the context"


def test_upstream_goes_away_while_it_loads(wire: Wire) -> None:
    """C11: a llama-server that ends over its loading, as one does without memory, is told as not there."""
    client, _ = loads(wire, VS_CODE)
    still(wire, 5)
    wire.passes(LOOK)
    wire.asked[-1].leaves()
    assert "closed the connection without an answer" in told(client)["message"]


def test_upstream_is_silent_while_it_loads(open_wire: OpenWire) -> None:
    """D4: a look that gets no answer in 10 s says that it loads; --load-timeout stays the limit."""
    wire = open_wire(load_timeout="20")
    client, _ = loads(wire, VS_CODE)
    wire.passes(LOOK + 10)
    assert wire.connections[-1].closed
    wire.passes(LOOK)
    assert wire.asked[0].request.target == b"/health"
    wire.passes(10)
    error = told(client)
    assert error["code"] == "upstream_loading"
    assert comments(client) == 2


@pytest.mark.parametrize("fields", [[VS_CODE], []])
@pytest.mark.parametrize("seconds", [0, 0.5, 1, 5.5])
def test_client_leaves_while_it_waits(wire: Wire, seconds: float, fields: list[str]) -> None:
    """C12: with the client the waiting ends: no timer is left, and llama-server is asked nothing more."""
    client, _ = loads(wire, *fields)
    still(wire, int(seconds))
    wire.passes(seconds % 1)
    client.leaves()
    assert wire.clock.getDelayedCalls() == []
    wire.passes(20)
    assert wire.asked == []
    (line,) = [line for line in wire.lines if "POST /v1/chat/completions" in line]
    assert "the client left" in line


def test_client_leaves_while_the_proxy_looks(wire: Wire) -> None:
    """C12: a look that is under way is given up with the client that it was for."""
    client, _ = loads(wire, VS_CODE)
    wire.passes(LOOK)
    (looked,) = wire.asked
    client.leaves()
    assert looked.closed
    assert wire.clock.getDelayedCalls() == []


def test_many_wait(wire: Wire) -> None:
    """D4: chats that wait at the same time are each sent again, and each is answered."""
    clients = [loads(wire, VS_CODE)[0] for _ in range(3)]
    wire.passes(LOOK)
    for looked in wire.asked:
        looked.tells({"status": "ok"})
    for upstream in wire.asked:
        upstream.sends(EVENTS_HEAD + chunk(FIRST))
    assert [client.answer.body for client in clients] == [FIRST] * 3


def test_the_first_chat_after_the_start(open_wire: OpenWire) -> None:
    """D4: where the proxy knows no model yet since llama-server loads, the chat waits like any other."""
    wire = open_wire(models=None)
    client, upstream = begun(wire)
    assert upstream.request.target == b"/v1/models"
    upstream.tells(LOADING, 503)
    wire.asked[-1].tells(LOADING, 503)
    still(wire, 5)
    loaded(wire)
    sends_whole(wire.asked[-1])
    assert client.answer.body == COMMENT + WHOLE


def test_silent_at_the_first_chat_after_the_start(open_wire: OpenWire) -> None:
    """C2: a llama-server that does not tell its models delays the first comment by no more than 1 s."""
    wire = open_wire(models=None)
    client, _ = begun(wire)
    wire.passes(1)
    assert wire.asked[-1].request.target == b"/v1/chat/completions"
    wire.passes(3)
    assert client.answer.body == COMMENT
    sends_whole(wire.asked[-1])
    assert client.answer.body == COMMENT + WHOLE
