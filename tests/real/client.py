"""How do these tests ask over HTTP, and read what comes?

Plain http.client: it shows each chunk as it comes, and whether a body ended as it should.
"""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPMessage, HTTPResponse, HTTPSConnection, IncompleteRead
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from tests.real.processes import DEADLINE, Server, until

JSON = {"Content-Type": "application/json"}


class Answer(NamedTuple):
    """A whole answer."""

    status: int
    headers: HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def connection_to(server: Server) -> HTTPConnection:
    """A connection that is made with its first request; whoever makes one has to close it."""
    address = urlsplit(server.url).netloc
    if server.trust is None:
        return HTTPConnection(address, timeout=DEADLINE)
    return HTTPSConnection(address, timeout=DEADLINE, context=server.trust)


@contextmanager
def asking(
    server: Server, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
) -> Iterator[HTTPResponse]:
    """An answer with its head read and its body not; leaving the block closes the connection.

    `body` is bytes, an iterable of bytes to be sent in chunks, or a dict to be sent as JSON.
    """
    if isinstance(body, dict):
        body, headers = json.dumps(body).encode(), {**JSON, **(headers or {})}
    connection = connection_to(server)
    try:
        connection.request(method, path, body, dict(headers or {}))
        with connection.getresponse() as response:
            yield response
    finally:
        connection.close()


def ask(
    server: Server, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
) -> Answer:
    with asking(server, method, path, body, headers) as response:
        return Answer(response.status, response.headers, response.read())


def pieces(response: HTTPResponse) -> Iterator[bytes]:
    """The body as it comes; raises IncompleteRead where it is cut."""
    while piece := response.read1():
        yield piece
    if response.chunked and not response.isclosed():
        raise IncompleteRead(b"")


def until_the_cut(response: HTTPResponse) -> bytes:
    """What comes of a body before it is cut; fails where it ends as a whole one does."""
    body = b""
    try:
        for piece in pieces(response):
            body += piece
    except IncompleteRead:
        return body
    raise AssertionError(f"it was not cut: {body!r}")


def events(body: bytes) -> list[str]:
    """The data of each SSE event."""
    *whole, rest = body.decode().split("\n\n")
    assert rest == "", "an event without its end"
    assert all(event.startswith("data: ") for event in whole), whole
    return [event.removeprefix("data: ") for event in whole]


def chunks(body: bytes) -> list[dict[str, Any]]:
    """The JSON of each event of a stream that ended well."""
    *data, done = events(body)
    assert done == "[DONE]"
    return [json.loads(event) for event in data]


def first_event(response: HTTPResponse) -> bytes:
    """The first event of a stream, read no further than its end."""
    line = response.readline()
    assert response.readline() == b"\n"
    return line


def text_of(deltas: list[dict[str, Any]], key: str = "content") -> str:
    """What the chunks of a chat say."""
    said = [choice["delta"].get(key) for chunk in deltas for choice in chunk["choices"]]
    return "".join(piece for piece in said if piece)


def told_alike(body: bytes) -> bytes:
    """The body without what differs from one answer to the next: ids, times and how fast it was."""
    for pattern in (rb'"created":\d+', rb'"timings":\{[^}]*\}', rb'"id":"[\w-]+"'):
        body = re.sub(pattern, b"", body)
    return body


def busy_slots(llama: Server) -> int:
    """How many slots of a llama.cpp server generate or read a prompt at this moment."""
    return sum(slot["is_processing"] for slot in ask(llama, "GET", "/slots").json)


def until_free(llama: Server) -> None:
    """Return when every slot is free."""
    until(lambda: busy_slots(llama) == 0, "every slot is free")


def chat(text: str, **more: Any) -> dict[str, Any]:
    """A request that streams, and that is answered in the same words each time."""
    messages = [{"role": "user", "content": text}]
    usual = {"model": "tiny", "stream": True, "temperature": 0, "seed": 1, "cache_prompt": False}
    return {**usual, "messages": messages, **more}
