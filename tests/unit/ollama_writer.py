"""How is an answer made for a client of Ollama's in a test, and held against what such clients need of it?"""

import itertools
import json
from datetime import UTC, datetime
from typing import Any, TypeVar

from copilot_proxy.stream.ollama.line import Shape
from copilot_proxy.stream.ollama.lines import Lines
from copilot_proxy.stream.ollama.whole import Whole
from tests.unit.stream_writer import RECORDED, sse

MODEL = "Tiny:latest"
NOW = datetime(2026, 10, 1, 12, 30, 15, 250, tzinfo=UTC)
STAMP = "2026-10-01T12:30:15.000250Z"
SIX = (
    "total_duration",
    "load_duration",
    "prompt_eval_count",
    "prompt_eval_duration",
    "eval_count",
    "eval_duration",
)
_BREAKS = "\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        return self.time


def options(shape: Shape = Shape.CHAT, **more: Any) -> dict[str, Any]:
    numbers = itertools.count()
    return {
        "shape": shape,
        "model": MODEL,
        "started": 100.0,
        "loaded": 100.0,
        "seconds": Clock(),
        "now": lambda: NOW,
        "unique": lambda: str(next(numbers)),
        **more,
    }


def lines(shape: Shape = Shape.CHAT, **more: Any) -> Lines:
    return _split(Lines, shape, **more)


def whole(shape: Shape = Shape.CHAT, **more: Any) -> Whole:
    return _split(Whole, shape, **more)


_Reading = TypeVar("_Reading", Lines, Whole)


def _split(
    kind: type[_Reading], shape: Shape, *, splits_tags: bool = False, opened: bool = False, **more: Any
) -> _Reading:
    reading = kind(**options(shape, **more))
    if splits_tags:
        reading.split_tags(opened=opened)
    return reading


def completion(content: str, **more: Any) -> bytes:
    """An event of /completion as llama.cpp b11549 writes it."""
    return sse({"index": 0, "content": content, "tokens": [len(content)], "stop": False, **more})


def stopped(kind: str = "eos", **more: Any) -> bytes:
    return sse({"index": 0, "content": "", "tokens": [], "stop": True, "stop_type": kind, **more})


def recorded(name: str) -> list[bytes]:
    """The events of a recorded stream."""
    events = (RECORDED / f"{name}.sse").read_bytes().split(b"\n\n")
    return [event + b"\n\n" for event in events if event]


def written(
    *events: bytes, by: Lines | None = None, context: list[int] | None = None
) -> list[dict[str, Any]]:
    """The lines of a whole body that ended in the regular way, each read as a client would."""
    by = by or lines()
    return read(b"".join(map(by.feed, events)) + by.end(context))


def read(stream: bytes) -> list[dict[str, Any]]:
    """The lines of a whole stream, which keeps the rules that hold for all of them."""
    assert stream.endswith(b"\n")
    assert not any(mark in stream.decode() for mark in _BREAKS), "httpx would end a line there"
    documents: list[dict[str, Any]] = [json.loads(line) for line in stream.splitlines()]
    assert b"".join(stream.splitlines(keepends=True)) == stream
    *before, last = documents
    assert not any("error" in document or document["done"] for document in before), "a second terminal"
    assert last.keys() == {"error"} or last["done"] is True
    for document in documents:
        if "error" not in document:
            keeps_the_shape(document)
    return documents


def keeps_the_shape(document: dict[str, Any]) -> None:
    """What every client needs of a line (Zed, ollama-rs, ollama-python)."""
    assert document["model"] == MODEL
    assert document["created_at"] == STAMP
    assert "type" not in document, "Continue takes it for n8n"
    if "message" in document:
        assert document["message"]["role"] == "assistant"
        assert isinstance(document["message"]["content"], str)
    else:
        assert isinstance(document["response"], str)
    said = document.get("message", document)
    assert said.get("thinking", "none") != ""
    assert said.get("tool_calls", "none") != []
    for number, call in enumerate(said.get("tool_calls", ())):
        assert call.keys() == {"id", "function"}
        assert call["function"].keys() == {"index", "name", "arguments"}
        assert call["function"]["index"] == number
        assert isinstance(call["function"]["arguments"], dict)
        assert call["id"]
    kinds = [said.get("content") or said.get("response"), said.get("thinking"), said.get("tool_calls")]
    assert sum(map(bool, kinds)) <= 1 or document["done"]
    assert ("done_reason" in document) == document["done"]
    assert all(type(document[key]) is int and document[key] > 0 for key in SIX if key in document)
    assert document["done"] or not document.keys() & {*SIX, "context"}


def content(documents: list[dict[str, Any]]) -> str:
    return "".join(one.get("message", one).get("content", one.get("response", "")) for one in documents)


def thinking(documents: list[dict[str, Any]]) -> str:
    return "".join(one.get("message", one).get("thinking", "") for one in documents)


def calls(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [call for one in documents for call in one.get("message", one).get("tool_calls", ())]


def probabilities(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [token for one in documents for token in one.get("logprobs", ())]
