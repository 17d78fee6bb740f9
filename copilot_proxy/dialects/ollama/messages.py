"""How are the messages of an Ollama chat written for llama-server?

Ollama's calls of tools need no ids, and its results need not say whose they are: Home Assistant and LangChain
leave out both the id and the name. Many chat templates want them, so calls and results are paired here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count
from typing import Any

from attrs import frozen

from . import images
from .requests import Message, ToolCall

# From the id of a call, as upstream gave it, to the reasoning that led to it
Reasoning = Callable[[str], str | None]


@frozen
class _Call:
    """A call whose result has not been seen yet; `made` says that its id is ours."""

    id: str
    name: str
    made: bool


def converted(messages: Sequence[Message], reasoning: Reasoning) -> list[dict[str, Any]]:
    """The messages as OpenAI's API has them. Raises BadRequest for what is no base64 in `images`."""
    fresh = _fresh_ids(messages)
    open_calls: list[_Call] = []
    result = []
    for message in messages:
        plain: dict[str, Any] = {"role": message.role, "content": _content(message)}
        call_id, name = message.tool_call_id, message.tool_name
        if message.role == "assistant":
            calls = message.tool_calls or []
            open_calls = [_opened(call, fresh) for call in calls]
            if thoughts := message.thinking or _remembered(calls, reasoning):
                plain["reasoning_content"] = thoughts
            if calls:
                plain["tool_calls"] = list(map(_tool_call, calls, open_calls))
        elif message.role == "tool" and (answered := _answered(message, open_calls)) is not None:
            open_calls.remove(answered)
            call_id, name = answered.id, name or answered.name
        if call_id:
            plain["tool_call_id"] = call_id
        if name:
            plain["name"] = name
        result.append(plain)
    return result


def _fresh_ids(messages: Iterable[Message]) -> Iterator[str]:
    """Ids that the chat does not have; the same ones each time that the chat comes, with whatever after it.

    Nine letters and digits, since Mistral's chat templates refuse all others.
    """
    taken = {call.id for message in messages for call in message.tool_calls or ()}
    return (made for number in count(1) if (made := f"call{number:05d}") not in taken)


def _content(message: Message) -> str | list[dict[str, Any]]:
    text = message.content or ""
    if not message.images:
        return text
    words = [{"type": "text", "text": text}] if text else []
    return [*words, *map(images.part, message.images)]


def _remembered(calls: Iterable[ToolCall], reasoning: Reasoning) -> str | None:
    """The reasoning of the first call that has some; only an id that was upstream's can be known."""
    found = (reasoning(call.id) for call in calls if call.id)
    return next((thoughts for thoughts in found if thoughts), None)


def _opened(call: ToolCall, fresh: Iterator[str]) -> _Call:
    return _Call(call.id or next(fresh), call.function.name or "", made=not call.id)


def _tool_call(call: ToolCall, known: _Call) -> dict[str, Any]:
    arguments = bytes(call.function.arguments).decode()
    return {"id": known.id, "type": "function", "function": {"name": known.name, "arguments": arguments}}


def _answered(result: Message, open_calls: Sequence[_Call]) -> _Call | None:
    """The call whose result this is: by its id, else the first of its name, else the first of all.

    An id that no call has can only be meant for one without an id of the client's: the Python SDK drops the
    ids of calls, and LangChain still gives them to its results.
    """
    by_id = next((call for call in open_calls if call.id == result.tool_call_id), None)
    if by_id is not None:
        return by_id
    left = [call for call in open_calls if call.made or not result.tool_call_id]
    named = (call for call in left if call.name == result.tool_name)
    return next(named, None) or next(iter(left), None)


def nothing_remembered(call_id: str) -> None:
    """The reasoning of a chat without calls."""
