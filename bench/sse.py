"""What does one token look like on the wire, and when had it wholly come?

The shapes are llama-server's (tools/server/server-task.cpp, to_json_oaicompat_chat_stream): one token an
event of about 230 bytes, the last event with finish_reason and timings, then ``data: [DONE]``. Each event's
content is the CLOCK_MONOTONIC time at which it was written, so whoever reads it on the same machine knows
its age.
"""

import re
from collections.abc import Iterable, Iterator

RATE = 50
"""Tokens a second for each stream; a good local model on a good card."""

DONE = b"data: [DONE]\n\n"
_EVENT = (
    b'data: {"choices":[{"finish_reason":%b,"index":0,"delta":%b}],"created":1767225600,'
    b'"id":"chatcmpl-Q1w2E3r4T5y6U7i8O9p0A1s2D3f4G5h6","model":"bench",'
    b'"system_fingerprint":"b11549-bench","object":"chat.completion.chunk"%b}\n\n'
)
_OPENING = _EVENT % (b"null", b'{"role":"assistant","content":null}', b"")
_TOKEN = _EVENT % (b"null", b'{"content":" %d"}', b"")
_SENT = re.compile(rb'"delta":\{"content":" (\d+)"\}')
_PREDICTED = re.compile(rb'"predicted_n":(\d+)')
_CHUNK_SIZE = re.compile(rb"([0-9a-fA-F]+)[^\r\n]*\r\n")


def opening() -> bytes:
    """The event that names the role, sent as soon as the prompt is through."""
    return _OPENING


def token(sent: int) -> bytes:
    """One token that left at `sent` (ns)."""
    return _TOKEN % sent


def ending(tokens: int) -> bytes:
    """The last event, which says how many tokens there were, and ``[DONE]``."""
    timings = b',"timings":{"cache_n":0,"prompt_n":16384,"predicted_n":%d}' % tokens
    return _EVENT % (b'"stop"', b"{}", timings) + DONE


def chunk(data: bytes) -> bytes:
    """`data` as one chunk of RFC 9112 section 7.1."""
    return b"%x\r\n%b\r\n" % (len(data), data)


class BrokenStream(Exception):
    """The answer is not the stream that was asked for; the message says in which way."""


Piece = tuple[int, bytes]
"""When some bytes came (ns), and the bytes."""


def _split_head(pieces: Iterable[Piece]) -> tuple[bytes, Iterator[Piece]]:
    """The head up to its blank line, and the pieces of the body, each with its own time."""
    rest = iter(pieces)
    head = b""
    for came, data in rest:
        head += data
        if b"\r\n\r\n" in head:
            head, _, first = head.partition(b"\r\n\r\n")

            def body(came: int = came, first: bytes = first) -> Iterator[Piece]:
                yield came, first
                yield from rest

            return head, body()
    raise BrokenStream(f"no head of an answer in {len(head)} bytes")


def _unchunk(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """The bodies of the chunks; raises BrokenStream where the last chunk (size 0) does not come."""
    buffer = b""
    for came, data in pieces:
        buffer += data
        while (size := _CHUNK_SIZE.match(buffer)) is not None:
            end = size.end() + int(size[1], 16)
            if len(buffer) < end + 2:
                break
            if end == size.end():
                return
            yield came, buffer[size.end() : end]
            buffer = buffer[end + 2 :]
    raise BrokenStream("cut before the last chunk")


def read(pieces: Iterable[Piece], expected: int) -> Iterator[tuple[int, int]]:
    """Each token of an answer as (sent, came), both in ns.

    Raises BrokenStream unless `expected` tokens were sent, all came, in order, and [DONE] ended them.
    """
    head, body = _split_head(pieces)
    status = head.partition(b"\r\n")[0].decode("latin-1")
    if " 200 " not in status:
        raise BrokenStream(f"answered {status}")
    if re.search(rb"(?im)^transfer-encoding: *chunked", head):
        body = _unchunk(body)
    buffer = b""
    last = 0
    tokens = 0
    predicted = None
    done = False
    for came, data in body:
        *events, buffer = (buffer + data).split(b"\n\n")
        for event in events:
            if done:
                raise BrokenStream("something came after [DONE]")
            if sent := _SENT.search(event):
                if int(sent[1]) <= last:
                    raise BrokenStream("tokens came twice or out of order")
                last = int(sent[1])
                tokens += 1
                yield last, came
            elif counted := _PREDICTED.search(event):
                predicted = int(counted[1])
            done = event + b"\n\n" == DONE
    if not done or buffer:
        raise BrokenStream("ended without [DONE]")
    if not tokens == predicted == expected:
        raise BrokenStream(f"{tokens} tokens came, {predicted} were sent, {expected} were asked for")
