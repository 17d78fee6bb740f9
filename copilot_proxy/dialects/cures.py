"""What can be changed in a chat request that llama-server has refused?

Each cure takes a minified body and gives a better one, or None where it would change nothing, as in what it
gave itself. What a cure is not about keeps its bytes, and the same body always becomes the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from msgspec import Raw

from .jsontext import ARRAY, NUMBER, STRING, InvalidJSON, items, joined, kind, members, minify, string

Cure = Callable[[bytes], bytes | None]

# ---------------------------------------------------------------- schemas of tools

# keyword -> what it must hold to be that keyword: a property of the same name holds an object
_SHAPES: Final = {"pattern": STRING, "format": STRING, "$schema": STRING}
_BOUNDS: Final = {"minLength": NUMBER, "maxLength": NUMBER, "minItems": NUMBER, "maxItems": NUMBER}

# Keywords whose members are named by the schema's author, each holding a schema (JSON Schema 2020-12, core,
# section 10; `definitions` and `dependencies` of drafts 4 to 7)
_NAMED: Final = frozenset(
    {"properties", "patternProperties", "dependentSchemas", "$defs", "definitions", "dependencies"}
)
# Keywords that hold values, which are no schemas whatever they look like (validation, sections 6 and 9)
_VALUES: Final = frozenset({"const", "default", "enum", "examples", "required"})

# Levels of schemas within schemas. What lies deeper is left: each level costs stack, and Python has 1000.
_DEEPEST: Final = 100


def slim_schemas(body: bytes) -> bytes | None:
    """Tool schemas without `pattern`, `format` and `$schema`, at every depth."""
    return _with_schemas(body, _SHAPES)


def unbounded_schemas(body: bytes) -> bytes | None:
    """Tool schemas without bounds for the length of strings and arrays, at every depth."""
    return _with_schemas(body, _BOUNDS)


def _with_schemas(body: bytes, unwanted: Mapping[str, str]) -> bytes | None:
    def slimmed(tool: Raw) -> Raw | None:
        return _at(tool, ("function", "parameters"), lambda schema: _slim(schema, unwanted))

    return _in_each(body, "tools", slimmed)


def _slim(schema: Raw, unwanted: Mapping[str, str], depth: int = _DEEPEST) -> Raw | None:
    """The schema without the unwanted keywords, None where it has none of them."""
    fields = members(schema)
    if fields is None or depth == 0:
        return None
    changed = False
    kept: dict[str, Raw] = {}
    for key, value in fields.items():
        better: Raw | None = None
        if unwanted.get(key) == kind(value):
            changed = True
            continue
        if key in _NAMED:
            better = _each_member(value, lambda inner: _slim(inner, unwanted, depth - 1))
        elif key not in _VALUES and kind(value) == ARRAY:
            better = _each_item(value, lambda inner: _slim(inner, unwanted, depth - 1))
        elif key not in _VALUES:
            better = _slim(value, unwanted, depth - 1)
        changed = changed or better is not None
        kept[key] = value if better is None else better
    return joined(kept) if changed else None


def describe_tools(body: bytes) -> bytes | None:
    """Tools without a description, or with null for it, get an empty one."""

    def described(function: Raw) -> Raw | None:
        fields = members(function)
        if fields is None or bytes(fields.get("description", b"null")) != b"null":
            return None
        return joined({**fields, "description": Raw(b'""')})

    return _in_each(body, "tools", lambda tool: _at(tool, ("function",), described))


# ---------------------------------------------------------------- messages

_SYSTEM: Final = frozenset({"system", "developer"})  # llama-server makes the second into the first
_BLANK_LINE: Final = rb"\n\n"  # as it is spelled inside a JSON string


def merge_system_messages(body: bytes) -> bytes | None:
    """All system messages become one, the first of all, with their texts in order and a blank line between.

    None where there is no such message but one at the beginning, or one that holds more than text.
    """
    fields = members(body) or {}
    history = list(_messages(fields))
    system = [message for message in history if message.role in _SYSTEM]
    if not system or (len(system) == 1 and history[0] is system[0]):
        return None
    texts: list[Raw] = []
    for message in system:
        if message.texts is None:
            return None
        texts += message.texts
    merged = {**system[0].fields, "role": Raw(b'"system"'), "content": _text(texts)}
    others = [message.raw for message in history if message.role not in _SYSTEM]
    return bytes(joined({**fields, "messages": joined([joined(merged), *others])}))


def merge_user_messages(body: bytes) -> bytes | None:
    """User messages that follow each other become one, with a blank line between their texts.

    Where one of them has parts, such as an image, the one has all parts. Other members are the first one's.
    """
    fields = members(body) or {}
    merged: list[_Message] = []
    history = list(_messages(fields))
    for message in history:
        if merged and message.role == merged[-1].role == "user":
            merged[-1] = _both(merged[-1], message)
        else:
            merged.append(message)
    if len(merged) == len(history):
        return None
    return bytes(joined({**fields, "messages": joined([message.raw for message in merged])}))


def valid_arguments(body: bytes) -> bytes | None:
    """Arguments of earlier tool calls that are no JSON become {}: a model that is cut off writes such."""

    def cured(arguments: Raw) -> Raw | None:
        text = string(arguments)
        if text is None:
            return None
        try:
            minify(text.encode())
        except InvalidJSON:
            return Raw(b'"{}"')
        return None

    def called(call: Raw) -> Raw | None:
        return _at(call, ("function", "arguments"), cured)

    return _in_each(
        body,
        "messages",
        lambda message: _at(message, ("tool_calls",), lambda calls: _each_item(calls, called)),
    )


class _Message:
    """One message: its JSON, its members, its role ("" where it is none), and its texts.

    `texts` are JSON strings as they are spelled; None where the content is more than text.
    """

    def __init__(self, raw: Raw) -> None:
        self.raw = raw
        self.fields = members(raw) or {}
        self.role = string(self.fields.get("role", Raw(b"null"))) or ""
        self.texts = _texts(self.fields.get("content", Raw(b"null")))


def _messages(fields: Mapping[str, Raw]) -> Iterator[_Message]:
    return map(_Message, items(fields.get("messages", b"null")) or ())


def _texts(content: Raw) -> list[Raw] | None:
    if kind(content) == STRING:
        return [content]
    if kind(content) != ARRAY:
        return [] if bytes(content) == b"null" else None
    parts = [members(part) or {} for part in items(content) or ()]
    if any(
        string(part.get("type", b"null")) != "text" or kind(part.get("text", b"0")) != STRING
        for part in parts
    ):
        return None
    return [part["text"] for part in parts]


def _text(texts: Iterable[Raw]) -> Raw:
    """One JSON string of several, each spelled as it was; empty ones add no blank line."""
    inner = (bytes(text)[1:-1] for text in texts)
    return Raw(b'"' + _BLANK_LINE.join(filter(None, inner)) + b'"')


def _both(first: _Message, second: _Message) -> _Message:
    contents = [message.fields.get("content", Raw(b"null")) for message in (first, second)]
    if all(kind(content) != ARRAY for content in contents):
        content = _text([content for content in contents if kind(content) == STRING])
    else:
        content = joined([part for content in contents for part in _parts(content)])
    return _Message(joined({**first.fields, "content": content}))


def _parts(content: Raw) -> list[Raw]:
    if kind(content) == STRING:
        return [joined({"type": Raw(b'"text"'), "text": content})]
    return items(content) or []


# ---------------------------------------------------------------- where

Change = Callable[[Raw], Raw | None]


def _in_each(body: bytes, key: str, change: Change) -> bytes | None:
    """The body with each item of one of its arrays changed."""
    changed = _at(Raw(body), (key,), lambda array: _each_item(array, change))
    return None if changed is None else bytes(changed)


def _at(raw: Raw, path: tuple[str, ...], change: Change) -> Raw | None:
    """The object with the value at a path of keys changed; None where nothing changes or nothing is there."""
    if not path:
        return change(raw)
    fields = members(raw)
    if fields is None or path[0] not in fields:
        return None
    better = _at(fields[path[0]], path[1:], change)
    return None if better is None else joined({**fields, path[0]: better})


def _each_item(array: Raw, change: Change) -> Raw | None:
    better = [(item, change(item)) for item in items(array) or ()]
    if all(new is None for _, new in better):
        return None
    return joined([old if new is None else new for old, new in better])


def _each_member(mapping: Raw, change: Change) -> Raw | None:
    fields = members(mapping) or {}
    changed = {key: change(value) for key, value in fields.items()}
    better = {key: value for key, value in changed.items() if value is not None}
    return joined({**fields, **better}) if better else None
