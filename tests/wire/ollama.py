"""What the tests of Ollama's own chat and generate share: who asks, what llama-server says, who reads it."""

from __future__ import annotations

import json
from typing import Any

from tests.unit.stream_writer import DONE, FIRST, chunk, sse
from tests.wire.message import EVENTS_HEAD
from tests.wire.message import chunk as framed
from tests.wire.pair import Wire
from tests.wire.peers import Client, UpstreamConnection

SDK = "User-Agent: ollama-python/0.6.3 (x86_64 linux) Python/3.11.7"
HI = [{"role": "user", "content": "hi"}]
TIMINGS = {"cache_n": 4, "prompt_n": 6, "prompt_ms": 2.5, "predicted_n": 3, "predicted_ms": 1.5}
LAST = framed(b"")


def finish(reason: str = "stop") -> bytes:
    """The end of llama-server's stream: the finish reason, the usage with its timings, and `[DONE]`."""
    usage = {"completion_tokens": 3, "prompt_tokens": 10, "total_tokens": 13}
    return chunk({}, reason) + sse({"choices": [], "usage": usage, "timings": TIMINGS}) + DONE


def knows(wire: Wire, documents: dict[str, Any]) -> None:
    """The proxy learns what upstream has, from these documents."""
    wire.client().gets("/api/tags")
    wire.serves(documents)


def asks(wire: Wire, path: str, **members: Any) -> Client:
    """A client of Ollama's that has sent this request."""
    client = wire.client()
    client.posts(path, {"model": "tiny", **members}, SDK)
    return client


def chats(wire: Wire, **members: Any) -> tuple[Client, UpstreamConnection]:
    """A client whose chat llama-server has got."""
    client = asks(wire, "/api/chat", **{"messages": HI, **members})
    return client, wire.asked[-1]


def streams(upstream: UpstreamConnection, *events: bytes) -> None:
    """llama-server begins its stream with these events."""
    upstream.sends(EVENTS_HEAD + framed(FIRST))
    for event in events:
        upstream.sends(framed(event))


def ends(upstream: UpstreamConnection, reason: str = "stop") -> None:
    """llama-server finishes its stream."""
    upstream.answered += 1
    upstream.sends(framed(finish(reason)) + LAST)


def lines(client: Client) -> list[Any]:
    """The lines that the client has got, each of them whole."""
    *whole, rest = client.answer.body.split(b"\n")
    assert rest == b"", "a line without its end"
    return [json.loads(line) for line in whole]


def said(client: Client, key: str = "content") -> str:
    """What all lines of a chat say."""
    return "".join(line["message"].get(key, "") for line in lines(client) if "message" in line)
