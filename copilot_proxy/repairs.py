"""What is done when llama-server refuses a chat that it could answer if it were written otherwise?

It is sent once more with a cure, and where that helps, the cure is used at once for later chats with the same
model: a chat template or a grammar converter does not change its mind. Each row of the table is a complaint,
as llama.cpp words it, and its cure.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Final

from attrs import frozen

from .dialects import cures

# Models whose cures are remembered; a server with one model takes any name, so clients could name more.
_MODELS: Final = 64


@frozen
class Repair:
    """A complaint, which is looked for in the body of a 400 or a 500, and what helps against it."""

    complaint: re.Pattern[bytes]
    cure: cures.Cure
    done: str
    """What the cure does, as the log says it."""


_GRAMMAR: Final = re.compile(rb"failed to parse grammar|error parsing grammar|JSON schema conversion failed")

# In the order in which they are tried. The number of a build or an issue is where the words were seen.
REPAIRS: Final = (
    # b11549: "JSON schema conversion failed:\nInvalid pattern ^(a$: unbalanced parentheses"; earlier builds:
    # "... Pattern must start with '^' and end with '$'" (json-schema-to-grammar.cpp) and, for a look-ahead or
    # in an array, "Failed to initialize samplers: failed to parse grammar" (ggml-org/llama.cpp#22314, #25895)
    Repair(_GRAMMAR, cures.slim_schemas, "tool schemas lost pattern, format and $schema"),
    # the same words for a maxLength of 2000 or more (#25746, #27087), or for many of them (#26596)
    Repair(
        _GRAMMAR, cures.unbounded_schemas, "tool schemas lost the bounds for lengths of strings and arrays"
    ),
    # Qwen 3.5 and later (#20733), word for word on b11549 with such a template
    Repair(
        re.compile(rb"System message must be at the beginning"),
        cures.merge_system_messages,
        "system messages were merged into the first",
    ),
    # Devstral and Gemma 3; VS Code sends two user messages in a row in every chat
    Repair(
        re.compile(rb"roles must alternate"), cures.merge_user_messages, "user messages in a row were merged"
    ),
    # b6301: "key 'description' not found" where there is none; b11549: "Failed to parse tools:
    # [json.exception.type_error.302] type must be string, but is null" where it is null
    Repair(
        re.compile(rb"key 'description' not found|Failed to parse tools: [^;]*must be string, but is null"),
        cures.describe_tools,
        "tools without a description got an empty one",
    ),
    # b11549, for "" as well
    Repair(
        re.compile(rb"Failed to parse tool call arguments as JSON"),
        cures.valid_arguments,
        "arguments of earlier tool calls that are no JSON became {}",
    ),
)


@frozen
class Cured:
    """A better body, the row of the table that made it, and the words that led there."""

    body: bytes
    repair: Repair
    complaint: str


class Repairs:
    """Which repairs have helped which model; nothing is kept of the requests themselves."""

    def __init__(self) -> None:
        self._helped: dict[str, set[Repair]] = {}

    def apply_known(self, model: str, body: bytes) -> tuple[bytes, tuple[str, ...]]:
        """The body with everything done that has helped this model, and a sentence for each change."""
        done = []
        helped = self._helped.get(model, ())
        for repair in REPAIRS:
            better = repair.cure(body) if repair in helped else None
            if better is not None:
                body = better
                done.append(repair.done)
        return body, tuple(done)

    def cure(self, status: int, answer: bytes, body: bytes, tried: Collection[Repair]) -> Cured | None:
        """The body with the next repair for this answer; None where none is left, or none would change it."""
        if status not in (400, 500):
            return None
        for repair in REPAIRS:
            words = None if repair in tried else repair.complaint.search(answer)
            better = None if words is None else repair.cure(body)
            if words is not None and better is not None:
                return Cured(better, repair, words[0].decode("utf-8", "replace"))
        return None

    def worked(self, model: str, repairs: Sequence[Repair]) -> None:
        """Remember what was answered with a 200. The model that got a new cure longest ago is forgotten."""
        if repairs:
            self._helped[model] = self._helped.pop(model, set()) | set(repairs)
            while len(self._helped) > _MODELS:
                del self._helped[next(iter(self._helped))]
