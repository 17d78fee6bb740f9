"""What has the model said so far, in which chunks does it leave, and how does it end?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ..errors import BrokenAnswer
from .calls import Calls, Piece, piece
from .deltas import take_apart
from .failures import NAMELESS_CALL, UNEXPLAINED
from .reasoning import Quote, Reasoning, Tail, calls_at_end


class Step(NamedTuple):
    """What one chunk of the client's says."""

    delta: dict[str, Any]
    finish: str | None = None


class Taken(NamedTuple):
    """What a delta became. Where there is a fault, the answer ends with it after these steps."""

    steps: list[Step]
    fault: BrokenAnswer | None


# to an answer without text and tool calls VS Code says "Sorry, no response was returned" (extChatEndpoint.ts)
_THOUGHT_ONLY = "The model ended its answer after its reasoning and said nothing more."
_THOUGHT_TOO_LONG = (
    "The model reached its limit of tokens while it was reasoning: raise the context or max_tokens."
)

_CUT_CALL = "the model's call of tool {name} was cut off or is no JSON"
_LONG_CALL = (
    "the answer reached its limit of tokens inside a call of tool {name}: raise the context or max_tokens"
)


class Answer:
    """One answer. `note` takes a sentence for the log, none of which quotes the answer."""

    def __init__(self, unique: Callable[[], str], reasoning: Reasoning, note: Callable[[str], None]) -> None:
        self._calls = Calls(unique)
        self._reasoning = reasoning
        self._cot_id = f"cot_{unique()}"
        self._note = note
        self._quote = Quote()
        self._tail = Tail()
        self._has_role = False
        self.has_text = False
        """Text that is more than blanks has come."""

    @property
    def in_quote(self) -> bool:
        """The next text must close a quote first."""
        return self._quote.is_open

    def take(self, delta: Mapping[str, Any], finish: str | None) -> Taken:
        """The steps that a delta becomes, each with one kind of thing in it; the role rides with the first.

        `finish` is the finish reason that stands beside the delta, "error" among them.
        """
        parts = take_apart(delta)
        if "role" in parts.rest and (self._has_role or parts.rest["role"] != "assistant"):
            del parts.rest["role"]
        steps: list[Step] = []
        if parts.reasoning:
            steps += self._think(parts.reasoning)
        if parts.content:
            steps += self._say(parts.content)
        for item in parts.calls:
            steps += self._call(item)
        fault = None
        if finish is not None:
            fault = self._fault(finish)
            steps += self._finish(finish) if fault is None else []
        elif not steps and not parts.reasoning and not parts.calls:
            # an empty delta: the first of llama-server's, with the role and `"content":null`
            steps = [Step({"content": delta["content"]} if delta.get("content", 0) in (None, "") else {})]
        if parts.rest:
            first = steps[0] if steps else Step({})
            steps[:1] = [Step(parts.rest | first.delta, first.finish)]
            self._has_role = self._has_role or "role" in parts.rest
        return Taken(steps, fault)

    def _fault(self, finish: str) -> BrokenAnswer | None:
        """Why an answer that ends with this word is none that a client could use."""
        if finish == "error":
            return BrokenAnswer(UNEXPLAINED)
        call = self._calls.broken()
        if call is None:
            return None
        text = _LONG_CALL if finish == "length" else _CUT_CALL if call.name else NAMELESS_CALL
        return BrokenAnswer(
            text.format(name=f'"{call.name}"' if call.name else "without a name"),
            logged="a call of a tool has no name, was cut off or is no JSON",
        )

    def _say(self, text: str) -> list[Step]:
        if not self.has_text and not text.isspace():
            self.has_text = True
            self._tail.clear()
        return [Step({"content": self._quote.close() + text})]

    def _think(self, text: str) -> list[Step]:
        if not self.has_text and not self._calls:
            self._tail.add(text)
        if self._reasoning is Reasoning.COPILOT:
            return [Step({"reasoning_content": text, "reasoning_text": text, "cot_id": self._cot_id})]
        if self._reasoning is Reasoning.OFF:
            return []
        shown = self._quote.add(text, after_text=self.has_text)
        return [Step({"content": shown})] if shown else []

    def _call(self, item: object) -> list[Step]:
        more = piece(item)
        if more is None:
            self._note("a tool call that is no object was dropped")
            return []
        ready = self._calls.take(more)
        return [Step({"tool_calls": [ready]})] if ready is not None else []

    def _finish(self, finish: str) -> list[Step]:
        steps = [Step({"tool_calls": [item]}) for item in self._calls.held()]
        if self._tail and not self._calls and not self.has_text:
            steps += self._rescue(finish)
        return [*steps, Step({}, "tool_calls" if self._calls else finish)]

    def _rescue(self, finish: str) -> list[Step]:
        """What a client gets after reasoning alone: the tool calls at its end, or else a sentence."""
        found = calls_at_end(self._tail.text())
        if found:
            self._note("tool calls were taken out of the reasoning (ggml-org/llama.cpp#22684)")
            ready = [self._calls.take(Piece(None, "", call.name, call.arguments)) for call in found]
            items = [item for item in ready if item is not None] + self._calls.held()
            return [Step({"tool_calls": [item]}) for item in items]
        sentence = _THOUGHT_TOO_LONG if finish == "length" else _THOUGHT_ONLY
        return [Step({"content": self._quote.close() + sentence})]
