"""However an upstream breaks its answer, does the user of each client read the answer or what went wrong?"""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from copilot_proxy.stream.heartbeat import COMMENT
from tests.real.client import Answer, asking, pieces
from tests.real.copilots import GENERATIONS
from tests.real.faulty import GOOD, WORDS, Fault, Faulty, Step, error_answer, faulty
from tests.real.generations import Generation, Said
from tests.real.processes import DEADLINE, Server, proxy
from tests.unit.copilot_parser import NO_CHOICES, NO_RESPONSE
from tests.unit.stream_writer import CALLED, DONE, FIRST, STOP, call, sse, text
from tests.wire.message import EVENTS_HEAD, chunk

QUESTION = [{"role": "user", "content": "Who are you?"}]
SAID = "I am"

HEAD = EVENTS_HEAD
BEGUN = HEAD + chunk(FIRST) + chunk(WORDS)
BROKEN = sse({"error": {"code": 500, "message": "Compute error.", "type": "server_error"}})
CALL = call(index=0, id="c1", type="function", function={"name": "read_file", "arguments": '{"path":'})
COMPUTE = {"error": {"code": 500, "message": "Compute error.", "type": "server_error"}}

LOST = "llama-server at http"
BROKE_OFF = "broke off in the middle of its answer"

FAULTS: dict[str, tuple[Fault, str | None]] = {
    "dies before the head": ((), LOST),
    "resets before the head": ((Step.RESET,), LOST),
    "dies in the head": ((HEAD[:40],), LOST),
    "resets in the head": ((HEAD[:40], Step.RESET), LOST),
    "dies after the head": ((HEAD,), BROKE_OFF),
    "dies between events": ((BEGUN,), BROKE_OFF),
    "resets between events": ((BEGUN, Step.RESET), BROKE_OFF),
    "dies inside an event": ((BEGUN, chunk(text(" a")[:50])), BROKE_OFF),
    "dies inside a chunk": ((BEGUN, chunk(text(" a"))[:50]), BROKE_OFF),
    "dies inside a tool call": ((HEAD, chunk(FIRST + CALL)), BROKE_OFF),
    "dies after the finish": ((BEGUN, chunk(STOP)), None),
    "resets after the finish": ((BEGUN, chunk(STOP), Step.RESET), None),
    "dies after [DONE]": ((BEGUN, chunk(STOP + DONE)), None),
    "ends without a finish": ((BEGUN, chunk(b"")), "without saying that it is finished"),
    "ends without a word": ((HEAD, chunk(b"")), "without saying that it is finished"),
    "[DONE] without a finish": ((BEGUN, chunk(DONE), chunk(b"")), None),
    "error as the first event": ((HEAD, chunk(BROKEN), chunk(b"")), "Compute error."),
    "error inside the stream": ((BEGUN, chunk(BROKEN), chunk(b"")), "Compute error."),
    "error inside a tool call": ((HEAD, chunk(FIRST + CALL + BROKEN), chunk(b"")), "Compute error."),
    "error in place of a stream": ((error_answer(500, COMPUTE),), "Compute error."),
    "a tool call cut short": ((HEAD, chunk(FIRST + CALL + CALLED + DONE), chunk(b"")), "read_file"),
    "one byte at a time": ((Step.DRIPS, *GOOD), None),
}
"""What upstream does to each chat, and what the user must read of it; None where it is the whole answer."""

SLOW: dict[str, tuple[Fault, str | None]] = {
    "silent, then good": ((Step.SILENT, *GOOD), None),
    "silent in the head, then good": ((HEAD[:40], Step.SILENT, HEAD[40:], *GOOD[1:]), None),
    "silent, then dies": ((Step.SILENT,), LOST),
    "silent, then refuses": ((Step.SILENT, error_answer(400, COMPUTE)), "Compute error."),
    "silent, then dies in the stream": ((Step.SILENT, BEGUN), BROKE_OFF),
}
"""The same with a silence that ends when every client has got its first comment."""


@pytest.fixture(scope="module")
def upstream() -> Iterator[Faulty]:
    """The server that fails."""
    with faulty() as server:
        yield server


@pytest.fixture(scope="module")
def attending(upstream: Faulty) -> Iterator[Server]:
    """The proxy in front of it."""
    with proxy(upstream.url) as server:
        yield server


def asked(server: Server, client: Generation, heard: threading.Semaphore) -> Said:
    """What this client makes of the answer to its chat; `heard` is released at its first comment."""
    body = client.body("tiny", QUESTION, [])
    with asking(server, "POST", client.path, body, client.headers(False)) as response:
        came = b""
        for piece in pieces(response):
            if COMMENT in piece:
                heard.release()
            came += piece
        return client.read(Answer(response.status, response.headers, came))


def all_ask(server: Server, upstream: Faulty, *, wait: bool) -> list[tuple[Generation, Said]]:
    """Every generation asks at the same time; with `wait` upstream goes on when all have heard a comment."""
    heard = threading.Semaphore(0)
    clients = [generation() for generation in GENERATIONS]
    with ThreadPoolExecutor(len(clients)) as pool:
        asking = [pool.submit(asked, server, client, heard) for client in clients]
        if wait:
            for _ in clients:
                assert heard.acquire(timeout=DEADLINE), "no comment"
            upstream.loading = False
            upstream.go.set()
        return [(client, said.result(DEADLINE)) for client, said in zip(clients, asking, strict=True)]


def judge(client: Generation, said: Said, expected: str | None) -> None:
    """The user reads the whole answer, or else why there is none; and never that there is nothing."""
    if expected is None:
        assert (said.failure, said.reading.text) == (None, SAID), client.name
        return
    assert said.failure is not None, f"{client.name} takes it for whole: {said.body!r}"
    assert said.failure not in (NO_CHOICES, NO_RESPONSE), client.name
    assert said.reading.calls == [], client.name
    assert expected in said.failure + said.reading.text, f"{client.name} reads {said.failure}"


@pytest.mark.parametrize("fault", FAULTS)
def test_every_generation_reads_what_happened(fault: str, upstream: Faulty, attending: Server) -> None:
    """C5, C11, D1: each ends with the whole answer or the failure's text, never with "no choices"."""
    steps, expected = FAULTS[fault]
    upstream.breaks(*steps)
    for client, said in all_ask(attending, upstream, wait=False):
        judge(client, said, expected)
    assert upstream.chats == len(GENERATIONS), "a chat was sent twice"


@pytest.mark.parametrize("fault", SLOW)
def test_every_generation_waits(fault: str, upstream: Faulty, attending: Server) -> None:
    """C2, C11: each is kept alive while upstream is silent, then reads the answer or the failure's text."""
    steps, expected = SLOW[fault]
    upstream.breaks(*steps)
    for client, said in all_ask(attending, upstream, wait=True):
        judge(client, said, expected)
        assert said.body.startswith(COMMENT)


def test_every_generation_waits_for_the_model(upstream: Faulty, attending: Server) -> None:
    """D4: a 503 "Loading model" is waited for by each, and its chat is answered when the model is there."""
    upstream.breaks(*GOOD)
    upstream.loading = True
    for client, said in all_ask(attending, upstream, wait=True):
        judge(client, said, None)
        assert said.body.startswith(COMMENT)
    assert upstream.chats == 2 * len(GENERATIONS)
