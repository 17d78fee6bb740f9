"""How is a stream written for a test, put through a guard, and held against the checklist for SSE answers?"""

import itertools
import json
from pathlib import Path
from typing import Any

from copilot_proxy.stream.guard import Guard
from copilot_proxy.stream.reasoning import Reasoning

RECORDED = Path(__file__).parent / "streams"
CREATED = 1795363754
DONE = b"data: [DONE]\n\n"
REASONING_KEYS = {"reasoning_content", "reasoning_text", "cot_id"}
NEVER_IN_A_DELTA = {"reasoning", "thinking", "cot_summary", "reasoning_opaque", "signature", "function_call"}


def compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def sse(value: object) -> bytes:
    return b"data: " + compact(value) + b"\n\n"


def chunk(delta: object, finish: str | None = None, **more: object) -> bytes:
    """A chunk with its keys as llama.cpp b11549 writes them."""
    return sse(
        {
            "choices": [{"finish_reason": finish, "index": 0, "delta": delta}],
            "created": CREATED,
            "id": "chatcmpl-4DYc",
            "model": "tiny",
            "system_fingerprint": "b0-unknown",
            "object": "chat.completion.chunk",
            **more,
        }
    )


def text(content: str) -> bytes:
    return chunk({"content": content})


def call(**item: object) -> bytes:
    return chunk({"tool_calls": [item]})


FIRST = chunk({"role": "assistant", "content": None})
STOP = chunk({}, "stop")
CALLED = chunk({}, "tool_calls")


def guard(reasoning: Reasoning = Reasoning.COPILOT, **more: Any) -> Guard:
    """A guard whose ids count up: 0 is the response's, 1 that of its reasoning, then those of calls."""
    numbers = itertools.count()
    return Guard(created=CREATED, unique=lambda: str(next(numbers)), reasoning=reasoning, **more)


def guarded(*events: bytes, by: Guard | None = None) -> bytes:
    """What the client gets of a whole body that ended in the regular way."""
    by = by or guard()
    out = b"".join(by.feed(event) for event in events) + by.end()
    assert by.finished
    keeps_the_checklist(out)
    return out


def documents(stream: bytes) -> list[dict[str, Any]]:
    return [
        json.loads(line[6:]) for line in stream.split(b"\n") if line[:6] == b"data: " and line[6:7] == b"{"
    ]


def deltas(stream: bytes) -> list[dict[str, Any]]:
    return [choice["delta"] for value in documents(stream) for choice in value.get("choices", ())]


def finishes(stream: bytes) -> list[str]:
    found = (choice.get("finish_reason") for one in documents(stream) for choice in one.get("choices", ()))
    return [finish for finish in found if finish is not None]


def errors(stream: bytes) -> list[dict[str, Any]]:
    return [value["error"] for value in documents(stream) if value.get("error")]


def said(stream: bytes) -> str:
    return "".join(delta.get("content") or "" for delta in deltas(stream))


def items(stream: bytes) -> list[dict[str, Any]]:
    """Every item of `tool_calls`, in the order in which they leave."""
    return [item for delta in deltas(stream) for item in delta.get("tool_calls", ())]


def keeps_the_checklist(stream: bytes) -> None:
    """C1, C4 to C9 and C11 of the contract, for a stream that has ended."""
    assert stream.endswith(DONE)
    assert stream.count(DONE) == 1  # an error may quote the word
    assert b"\r" not in stream
    blocks = stream.removesuffix(b"\n\n").split(b"\n\n")
    assert all(block.startswith(b":") or (block[:6] == b"data: " and b"\n" not in block) for block in blocks)
    values = documents(stream)
    assert len({value["id"] for value in values if "choices" in value}) <= 1
    seen_finish = seen_error = False
    ids: list[str] = []
    cot_ids: set[str] = set()
    roles = 0
    for value in values:
        assert not seen_error, "something after the error"
        if value.get("error"):
            assert isinstance(value["error"]["message"], str)
            assert {"code", "type"} <= value["error"].keys()
            seen_error = True
            continue
        assert isinstance(value["id"], str)
        assert value["id"]
        assert type(value["created"]) is int
        assert value["object"] == "chat.completion.chunk"
        assert isinstance(value.get("model", ""), str)
        if value.get("usage") is not None:
            counts = [value["usage"][key] for key in ("prompt_tokens", "completion_tokens", "total_tokens")]
            assert all(type(count) is int for count in counts)
        assert len(value["choices"]) <= 1
        for choice in value["choices"]:
            assert not seen_finish, "a choice after the finish"
            assert type(choice["index"]) is int
            assert "message" not in choice
            delta, finish = choice["delta"], choice.get("finish_reason")
            assert isinstance(delta, dict)
            assert not NEVER_IN_A_DELTA & delta.keys()
            kinds = [bool(REASONING_KEYS & delta.keys()), bool(delta.get("content")), "tool_calls" in delta]
            assert sum((*kinds, finish is not None)) <= 1, "two kinds of thing in one chunk"
            roles += "role" in delta
            if kinds[0]:
                assert delta.keys() >= REASONING_KEYS
                assert delta["reasoning_content"] == delta["reasoning_text"]
                assert delta["reasoning_text"]
                cot_ids.add(delta["cot_id"])
            for item in delta.get("tool_calls", ()):
                _keeps_the_rules_of_calls(item, ids)
            assert delta.get("tool_calls", "none") != []
            assert finish in (None, "stop", "tool_calls", "length", "content_filter", "error")
            assert finish is None or (finish == "tool_calls") == bool(ids) or finish == "error"
            seen_finish = finish is not None
    assert roles <= 1
    assert len(cot_ids) <= 1
    assert len(set(ids)) == len(ids)
    all_finishes = finishes(stream)
    if errors(stream):
        assert all_finishes == (["error"] if deltas(stream) else [])
    else:
        assert len(all_finishes) == 1
        assert all_finishes != ["error"]


def _keeps_the_rules_of_calls(item: dict[str, Any], ids: list[str]) -> None:
    """C6: an item opens the next call, or goes on with the last one."""
    assert type(item["index"]) is int
    assert isinstance(item["function"]["arguments"], str)
    if item["index"] == len(ids):
        assert item["type"] == "function"
        assert isinstance(item["id"], str)
        assert item["id"]
        assert item["function"]["name"]
        ids.append(item["id"])
    else:
        assert item["index"] == len(ids) - 1, "a piece of another call than the last"
        assert "id" not in item
        assert "name" not in item["function"]
