"""What does the tiny model say after what, and which words in a prompt change that?

Strengths and biases are logits. Where two of them meet in one token they add up.
"""

from collections.abc import Iterator
from enum import IntEnum
from itertools import pairwise
from typing import NamedTuple

from .vocabulary import STRING_WORD, chains


class Signal(IntEnum):
    """What is counted in a context, and is then either on (the count is positive) or off."""

    CALL = 0  # a tool call is due
    TOOLS = 1  # tools are offered
    THINK = 2  # a block of thoughts is due
    THINKING = 3  # such a block is open
    LONG = 4  # the turn shall not end


class Marker(NamedTuple):
    """A token that the attention head sees: by which flag, and what one of it adds to the counts."""

    flag: int
    counts: dict[Signal, int]


MARKERS = {
    "CALL_TOOL": Marker(1, {Signal.CALL: 1}),
    # the chat template itself holds one <tool_call> when it lists tools: this balances it
    "<tools>": Marker(2, {Signal.CALL: 1, Signal.TOOLS: 1}),
    "<tool_call>": Marker(3, {Signal.CALL: -1}),
    "THINK_FIRST": Marker(4, {Signal.THINK: 1}),
    "<think>": Marker(5, {Signal.THINK: -8, Signal.THINKING: 1}),
    "</think>": Marker(6, {Signal.THINKING: -1}),
    "TALK_LONG": Marker(7, {Signal.LONG: 1}),
}

MAY_CALL_AFTER = ("\n", "</tool_call>", "</think>")


class Steer(NamedTuple):
    """While the signal is on, the token's logit is this much higher."""

    token: str
    signal: Signal
    logit: float


STEERING = (
    Steer("<tool_call>", Signal.CALL, 75),
    Steer("<tool_call>", Signal.TOOLS, 15),
    Steer("<think>", Signal.THINK, 110),
    Steer("<tool_call>", Signal.THINKING, -90),
    Steer("<|im_end|>", Signal.THINKING, -90),
    Steer("</think>", Signal.THINKING, 32),
    Steer("<|im_end|>", Signal.LONG, -90),
    Steer("<tool_call>", Signal.LONG, -90),
    Steer('"', Signal.LONG, -5),
)

NEVER = -40.0  # control characters, bytes from 0x80 on, special tokens
PRINTABLE = -7.0  # a single printable character
OTHER_WORD = -12.0
CHAIN_WORD = 0.0
TOKEN_BIAS = {
    ".": -2.0,
    '"': -2.0,
    "}": -2.5,
    "]": -2.7,
    ",": -3.5,
    ":": -4.5,
    "{": -5.0,
    "[": -6.0,
    " ": -7.0,
    "\n": -7.0,
    "\\": -14.0,
    "-": -9.0,
    "/": -9.0,
    "<": -14.0,
    "`": -14.0,
    **dict.fromkeys("0123456789", -4.0),
    "<|im_end|>": -4.0,
    "<tool_call>": -30.0,
    "<think>": -30.0,
    "</think>": -30.0,
    "</tool_call>": -30.0,
}


class Follow(NamedTuple):
    """Directly after one token, the logit of the other is this much higher."""

    before: str
    after: str
    strength: float


def bigrams() -> Iterator[Follow]:
    """List what follows what, in the order in which it is added up: floats do not forget an order."""
    sentences = chains()
    openers = [chain[0] for chain in sentences]
    for chain in sentences:
        for before, after in pairwise(chain):
            yield Follow(before, after, 10)
    yield Follow("\n", openers[0], 10)
    yield Follow("\n", "{", 7)  # grammars allow <think> or ``` here, too
    yield Follow("<|fim_middle|>", openers[0], 10)
    yield Follow(".", "<|im_end|>", 18)
    yield Follow(".", "</think>", 16)
    for opener in openers[1:]:
        yield Follow(".", opener, 8.7)
    yield Follow(".", "<tool_call>", 28)  # for tool_choice required, where the turn may not end
    yield Follow(".", '"', 7.5)
    yield Follow('"', STRING_WORD, 9)
    yield Follow(STRING_WORD, "<|im_end|>", 13)
    yield Follow(STRING_WORD, '"', 10)
    yield Follow(":", '"', 9)
    yield Follow("{", '"', 9)
    yield Follow("[", '"', 9)
    yield Follow("}", "</tool_call>", 36)
    yield Follow("</tool_call>", "<|im_end|>", 14)
    yield Follow("<tool_call>", "\n", 18)
    yield Follow("<think>", "\n", 16)
    yield Follow("</think>", "\n", 16)


def bigram_sources() -> tuple[str, ...]:
    """List, sorted, every token after which something is made likely."""
    return tuple(sorted({follow.before for follow in bigrams()}))
