"""What is on a wire, taken apart: HTTP/1.1 messages as raw bytes, and as much of them as has come."""

from __future__ import annotations

import json
from typing import Any

from attrs import frozen


@frozen
class Message:
    """A request or an answer; names of fields are in lower case, in the order in which they were sent."""

    start: bytes
    fields: list[tuple[bytes, bytes]]
    body: bytes
    whole: bool
    """The body has come to the end that its framing gives it."""

    def all(self, name: bytes) -> list[bytes]:
        return [value for field, value in self.fields if field == name]

    def field(self, name: bytes) -> bytes | None:
        """The one value of a field, None where it is not there; a field that is there twice is a defect."""
        values = self.all(name)
        assert len(values) < 2, f"{name!r} is there {len(values)} times"
        return values[0] if values else None

    @property
    def status(self) -> int:
        return int(self.start.split(b" ")[1])

    @property
    def method(self) -> bytes:
        return self.start.split(b" ")[0]

    @property
    def target(self) -> bytes:
        return self.start.split(b" ")[1]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def dechunked(data: bytes) -> tuple[bytes, bytes, bool]:
    """The body, what follows it, and whether the last chunk has come."""
    body = b""
    while True:
        size, line_end, rest = data.partition(b"\r\n")
        if not line_end:
            return body, b"", False
        length = int(size, 16)
        if length == 0:
            return body, rest.removeprefix(b"\r\n"), rest.startswith(b"\r\n")
        body += rest[:length]
        if len(rest) < length + 2:
            return body, b"", False
        assert rest[length : length + 2] == b"\r\n", "a chunk ends with a line end"
        data = rest[length + 2 :]


def first(data: bytes, *, bodiless: bool = False, closed: bool = False) -> tuple[Message | None, bytes]:
    """The first message in `data` and what follows it; None where its head is not whole.

    `bodiless` is an answer to HEAD; `closed` says that the end of a connection may frame the body.
    """
    head, end, rest = data.partition(b"\r\n\r\n")
    if not end:
        return None, data
    start, *lines = head.split(b"\r\n")
    fields = [(name.lower(), value.strip()) for name, _, value in (line.partition(b":") for line in lines)]
    of = dict(fields)
    is_answer = start.startswith(b"HTTP/")
    status = int(start.split(b" ")[1]) if is_answer else 0
    if bodiless or 100 <= status < 200 or status in (204, 304):
        return Message(start, fields, b"", True), rest
    if of.get(b"transfer-encoding") == b"chunked":
        body, rest, whole = dechunked(rest)
    elif b"content-length" in of or not is_answer:
        length = int(of.get(b"content-length", b"0"))
        body, rest, whole = rest[:length], rest[length:], len(rest) >= length
    else:
        body, rest, whole = rest, b"", closed
    return Message(start, fields, body, whole), rest


def messages(data: bytes, *, methods: list[bytes] | None = None, closed: bool = False) -> list[Message]:
    """All messages in `data`; `methods` are those of the requests that were answered."""
    found: list[Message] = []
    asked = [*(methods or [])]
    while data:
        message, data = first(data, bodiless=asked[:1] == [b"HEAD"], closed=closed)
        if message is None:
            break
        found.append(message)
        if message.start.startswith(b"HTTP/") and message.status >= 200:
            asked = asked[1:]
    return found


PROXY = "127.0.0.1:11434"
"""Where the proxy listens, as clients name it."""


def request(
    method: str, target: str, *fields: str, body: bytes = b"", version: str = "1.1", host: str = PROXY
) -> bytes:
    """A request's bytes; a body brings its Content-Length."""
    lines = [f"{method} {target} HTTP/{version}", f"Host: {host}", *fields]
    if body or method in ("POST", "PUT", "PATCH"):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def answer(status: int, body: bytes = b"", *fields: str, phrase: str = "OK") -> bytes:
    """An answer's bytes, with its Content-Length."""
    lines = [f"HTTP/1.1 {status} {phrase}", *fields, f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body; without data it is the last one."""
    return b"%x\r\n%s\r\n" % (len(data), data)


EVENTS_HEAD = (
    b"HTTP/1.1 200 OK\r\n"
    b"Server: llama.cpp\r\n"
    b"Content-Type: text/event-stream\r\n"
    b"Transfer-Encoding: chunked\r\n"
    b"\r\n"
)
"""The head of llama-server's stream (llama.cpp b11549)."""


def event(text: str) -> bytes:
    """One event of a chat completion's stream."""
    delta = json.dumps({"choices": [{"index": 0, "delta": {"content": text}}]}, separators=(",", ":"))
    return f"data: {delta}\n\n".encode()


DONE = b"data: [DONE]\n\n"
