"""What did the model think before it called a tool? Kept for clients that never send it back.

Ollama's clients return a tool's result without the thoughts that led to the call, and a model of the Qwen
family that does not see them again starts anew or breaks off (ggml-org/llama.cpp#25887).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

# Tool calls, and characters of reasoning in all: whichever is reached first. An agent's turn has some 50
# calls with some hundred to some thousand characters each.
CALLS: Final = 4096
CHARACTERS: Final = 16 * 1024 * 1024


class Memory:
    """The reasoning before each of the last tool calls, by the call's id."""

    def __init__(self, calls: int = CALLS, characters: int = CHARACTERS) -> None:
        self._calls = calls
        self._room = characters
        self._known: OrderedDict[str, str] = OrderedDict()

    def remember(self, ids: Iterable[str], reasoning: str) -> None:
        """Keep this reasoning for these calls; the calls that were asked for longest ago are forgotten."""
        for identity in ids:
            self._room += len(self._known.pop(identity, ""))
            self._known[identity] = reasoning
            self._room -= len(reasoning)
        while self._known and (self._room < 0 or len(self._known) > self._calls):
            _, forgotten = self._known.popitem(last=False)
            self._room += len(forgotten)

    def recall(self, identity: str) -> str | None:
        """The reasoning before the call with this id, None where it is not known."""
        reasoning = self._known.get(identity)
        if reasoning is not None:
            self._known.move_to_end(identity)
        return reasoning
