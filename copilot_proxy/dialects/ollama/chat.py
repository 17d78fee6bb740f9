"""How does a chat of Ollama's become the OpenAI chat that llama-server reads? (llm/llama_server.go)"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec import Raw

from ..jsontext import items, joined, members, string
from ..payload import repair_tools
from .formats import response_format
from .messages import Reasoning, converted
from .options import to_llama
from .requests import ChatRequest, Message, Request, thinking

_FUNCTION: Final = Raw(b'"function"')

# The marks of gpt-oss' own format, whose template writes any effort into the prompt: "max" is none there.
_HARMONY: Final = ("<|channel|>", "<|start|>")
_EFFORTS_OF_HARMONY: Final = {"max": "high"}


def body(
    request: ChatRequest,
    *,
    model: str,
    thinks: bool,
    template: str,
    context_length: int | None,
    reasoning: Reasoning,
) -> bytes:
    """The body for /v1/chat/completions; the same request always becomes the same bytes.

    `model` is upstream's name of the model, `template` its chat template, `thinks` whether that knows of
    reasoning, and `context_length` the tokens of a slot (None where unknown); `reasoning` finds what was
    thought before a call. Raises BadRequest and BadOption in Ollama's words.
    """
    return written(
        request,
        request.messages,
        request.tools,
        model=model,
        thinks=thinks,
        template=template,
        context_length=context_length,
        reasoning=reasoning,
    )


def written(
    request: Request,
    messages: Sequence[Message],
    tools: Sequence[Raw] = (),
    *,
    model: str,
    thinks: bool,
    template: str,
    context_length: int | None,
    reasoning: Reasoning,
) -> bytes:
    """The body for these messages and tools, with all else as the request has it."""
    fields: dict[str, Any] = {"model": model, "messages": converted(messages, reasoning)}
    if tools:
        fields["tools"] = repair_tools(joined([_with_type(tool) for tool in tools]))[0]
    if (wanted := response_format(request.format)) is not None:
        fields["response_format"] = wanted
    if (kwargs := _template_kwargs(request.think, thinks, template)) is not None:
        fields["chat_template_kwargs"] = kwargs
    fields |= to_llama(request.options, context_length=context_length)
    if request.logprobs and not tools:  # b11549: 400 "logprobs is not supported with tools + stream"
        # llama-server has no list to choose from where it is asked for none
        fields |= {"logprobs": True, "top_logprobs": max(request.top_logprobs, 1)}
    fields |= {"stream": True, "stream_options": {"include_usage": True}, "cache_prompt": True}
    return msgspec.json.encode(fields)


def _with_type(tool: Raw) -> Raw:
    """The tool with the type that Ollama does not ask for; llama.cpp b11549 answers 500 without it."""
    fields = members(tool)
    if fields is None or bytes(fields.get("type", b"null")) not in (b"null", b'""'):
        return tool
    return joined({**fields, "type": _FUNCTION})


def _template_kwargs(think: Raw | None, thinks: bool, template: str) -> dict[str, Any] | None:
    said = thinking(think)
    if said is None:
        return {"enable_thinking": True} if thinks else None
    if isinstance(said, str):
        if all(mark in template for mark in _HARMONY):
            said = _EFFORTS_OF_HARMONY.get(said, said)
        return {"enable_thinking": True, "reasoning_effort": said}
    return {"enable_thinking": said}


def shorten(body: bytes, keep: float) -> bytes | None:
    """The OpenAI body without its oldest messages; None where none can go.

    `keep` says how much of the messages' bytes may stay, 0 to 1. System messages stay, and so does the last
    message; the results of tools go and stay with their calls. What stays keeps its bytes.
    """
    fields = members(body) or {}
    messages = items(fields.get("messages", b"[]")) or []
    left = sum(map(_size, messages))
    limit = keep * left
    gone: set[int] = set()
    for turn in _turns(messages)[:-1]:
        if left <= limit:
            break
        gone.update(turn)
        left -= sum(_size(messages[index]) for index in turn)
    if not gone:
        return None
    fields["messages"] = joined([message for index, message in enumerate(messages) if index not in gone])
    return bytes(joined(fields))


def _size(message: Raw) -> int:
    return len(memoryview(message))


def _turns(messages: Sequence[Raw]) -> list[list[int]]:
    """The places of the messages that go together, oldest first; those of the system are in none."""
    turns: list[list[int]] = []
    for index, message in enumerate(messages):
        role = string((members(message) or {}).get("role", b"null"))
        if role == "tool" and turns:
            turns[-1].append(index)
        elif role != "system":
            turns.append([index])
    return turns
