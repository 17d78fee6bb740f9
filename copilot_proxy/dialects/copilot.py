"""What does Copilot write into a chat that no llama-server can read, and what becomes of it?

Keys that only GitHub's service knows are dropped, and the reasoning that Copilot sends back under its own
names gets llama-server's. Both hold for every client: the keys mean nothing to any server but GitHub's, and
reasoning under these names can only be what some server's answer called so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final, Protocol

from msgspec import Raw

from .jsontext import STRING, items, joined, kind, members, string

# VS Code's Copilot Chat, and the language server of JetBrains, Eclipse and Xcode
_LANGUAGE_SERVER: Final = b"GithubCopilot/"
_AGENTS: Final = (b"GitHubCopilotChat/", _LANGUAGE_SERVER)
# VS Code sends both; the Copilot CLI 1.0.102 calls itself OpenAI/JS and sends the second
_HEADERS: Final = (b"x-github-api-version", b"x-initiator")

# `copilot_cache_control` and `copilot_references` stand in messages (Copilot Chat 0.67), `snippy` at the top.
_PREFIX: Final = "copilot_"
_UNKNOWN: Final = "snippy"

# Reasoning that comes back, in the order in which Copilot itself prefers the names (thinkingUtils.ts); of a
# message that has several, they hold the same text.
_REASONING: Final = ("cot_summary", "reasoning_text", "reasoning")
_OURS: Final = "reasoning_content"
# The id of a piece of reasoning, and its encrypted form: only the server that made them can read them.
_IDS: Final = frozenset({"cot_id", "reasoning_opaque"})

# Whether to look at all is a search for these, which costs microseconds where parsing costs milliseconds. A
# key spelled with escapes is not found; no client writes such.
_MARKS: Final = (
    b'"copilot_',
    b'"snippy"',
    b'"cot_',
    b'"reasoning"',
    b'"reasoning_text"',
    b'"reasoning_opaque"',
)


class Fields(Protocol):
    """Header fields, as the web server keeps them."""

    def getRawHeaders(self, name: bytes) -> Sequence[bytes] | None: ...


def from_copilot(headers: Fields) -> bool:
    """Whether a Copilot client sent this: VS Code, the language server or the CLI, as far as headers tell."""
    return _agent(headers).startswith(_AGENTS) or any(headers.getRawHeaders(name) for name in _HEADERS)


def shows_text_alone(headers: Fields) -> bool:
    """Whether this client only logs an error inside a stream, as the language server 1.539 does."""
    return _agent(headers).startswith(_LANGUAGE_SERVER)


def _agent(headers: Fields) -> bytes:
    return (headers.getRawHeaders(b"user-agent") or [b""])[0]


def translate(body: bytes, fields: dict[str, Raw]) -> tuple[dict[str, Raw], list[str]]:
    """The members of a chat request as any server reads them, and a sentence for each kind of change.

    `fields` are the members of `body`, which is minified. Where there is nothing to change they come back as
    they are, and otherwise each value that needs nothing keeps its bytes.
    """
    if not any(mark in body for mark in _MARKS):
        return fields, []
    done: Counter[str] = Counter()
    fields = _without_unknown(fields, done)
    for key, repaired in (("messages", _message), ("tools", _without_unknown)):
        if key in fields:
            fields[key] = _each(fields[key], repaired, done)
    return fields, [f"{what}{f' ({times} times)' if times > 1 else ''}" for what, times in done.items()]


class _Repair(Protocol):
    def __call__(self, fields: dict[str, Raw], done: Counter[str], /) -> dict[str, Raw]: ...


def _each(array: Raw, repaired: _Repair, done: Counter[str]) -> Raw:
    """The array with each of its objects repaired; the very Raw given where none needed it."""
    before = sum(done.values())
    result: list[Raw] = []
    for item in items(array) or ():
        so_far = sum(done.values())
        fields = members(item)
        if fields is not None:
            fields = repaired(fields, done)
        result.append(item if fields is None or sum(done.values()) == so_far else joined(fields))
    return array if sum(done.values()) == before else joined(result)


def _without_unknown(fields: dict[str, Raw], done: Counter[str]) -> dict[str, Raw]:
    """The members without the keys that only GitHub's service knows."""
    kept = {}
    for key, value in fields.items():
        if key.startswith(_PREFIX) or key == _UNKNOWN:
            # a name of the client's own choice: quoted, it writes no lines of its own into the log
            done[f"{bytes(joined(key)).decode()} was dropped"] += 1
        else:
            kept[key] = value
    return kept


def _message(fields: dict[str, Raw], done: Counter[str]) -> dict[str, Raw]:
    fields = _without_unknown(fields, done)
    if "content" in fields:
        fields["content"] = _each(fields["content"], _without_unknown, done)
    if string(fields.get("role", Raw(b"null"))) == "assistant":
        fields = _with_reasoning(fields, done)
    return fields


def _with_reasoning(fields: dict[str, Raw], done: Counter[str]) -> dict[str, Raw]:
    """The assistant message with its reasoning once, as llama-server calls it (common/chat.cpp).

    The first of the names that holds a text is renamed where it stands. A `reasoning` that is no string is
    somebody else's, and stays.
    """
    theirs = [key for key in _REASONING if kind(fields.get(key, b"null")) == STRING]
    ids = _IDS & fields.keys()
    if not theirs and not ids:
        return fields
    has_its_own = bytes(fields.get(_OURS, b"null")) not in (b"null", b'""')
    source = None if has_its_own else next((key for key in theirs if bytes(fields[key]) != b'""'), None)
    message = {}
    for key, value in fields.items():
        if key == source:
            message[_OURS] = value
            done[f'"{key}" of an assistant message became "{_OURS}"'] += 1
        elif key in theirs or key in ids:
            done[f'"{key}" of an assistant message was dropped'] += 1
        elif key != _OURS or source is None:
            message[key] = value
    return message
