"""What is changed in a chat request before llama-server reads it?

Four things, and only where they are needed: whitespace between tokens goes, what only Copilot understands is
dropped or renamed, tools get parameters that any llama-server can turn into a grammar, and the model gets the
name that upstream knows. All else keeps its order and its bytes; a request that needs nothing is passed on as
`minify` gave it.
"""

from collections.abc import Callable

import msgspec
from attrs import frozen

from . import copilot
from .jsontext import (
    OBJECT,
    STRING,
    InvalidJSON,
    items,
    joined,
    kind,
    members,
    minify,
    string,
)

_NO_PARAMETERS = b'{"type":"object","properties":{}}'

# How clients say that a tool takes no parameters: spelling -> what --verbose calls it. VS Code before
# August 2025 left the key out, and its Ollama extension 0.0.8 writes {} for 3 of its 40 tools. llama.cpp
# b6301 answered 500 "key 'parameters' not found"; b11549 refuses only the string, with 400 "schema must be an
# object".
_NOTHING = {
    b"": "were missing",
    b"null": "were null",
    b"{}": "were {}",
    b'""': "were an empty string",
}

# The JSON Schema keywords whose value may be an object. A key that is none of them and holds an object can
# only be a property's name: "location", but also "type", "title", "description", "required" and "enum",
# since as keywords these hold strings or arrays.
_MAY_HOLD_AN_OBJECT = frozenset(
    {
        # JSON Schema 2020-12, core, sections 8 and 10: definitions, and schemas for the value or its parts
        *("$defs", "$vocabulary", "not", "if", "then", "else", "dependentSchemas"),
        *("properties", "patternProperties", "additionalProperties", "propertyNames", "items", "contains"),
        # section 11
        *("unevaluatedItems", "unevaluatedProperties"),
        # validation, sections 6, 8 and 9: any value (twice), a map of names, the schema of an encoded text
        *("const", "default", "dependentRequired", "contentSchema"),
        # drafts 4 to 7
        *("definitions", "dependencies", "additionalItems"),
    }
)


@frozen
class Rewritten:
    """A request as llama-server gets it, and what a log should say about the difference."""

    body: bytes
    changes: tuple[str, ...]
    """One sentence for each change but whitespace, for --verbose."""
    model: str | None
    """The name as the client wrote it; None where there is none, or where it is no string."""
    stream: bool
    """True where the body says `"stream": true`, in these very words."""


def rewrite(body: bytes, *, resolve_model: Callable[[str], str]) -> Rewritten:
    """A chat request as llama-server should get it; the same bytes always become the same bytes.

    `resolve_model` turns the client's name of a model into upstream's. Raises InvalidJSON, also for JSON
    that is no object. Where something changes, a key that was there twice is there once, with its last
    value.
    """
    body = minify(body)
    fields = members(body)
    if fields is None:
        raise InvalidJSON(f"a JSON object is expected, this is {kind(body)}")
    fields, changes = copilot.translate(body, fields)
    if "tools" in fields:
        fields["tools"], repairs = repair_tools(fields["tools"])
        changes += repairs
    model = string(fields["model"]) if "model" in fields else None
    if model is not None and (resolved := resolve_model(model)) != model:
        fields["model"] = joined(resolved)
        changes.append(f"model {bytes(joined(model)).decode()} became {bytes(fields['model']).decode()}")
    return Rewritten(
        body=bytes(joined(fields)) if changes else body,
        changes=tuple(changes),
        model=model,
        stream=bytes(fields.get("stream", b"")) == b"true",
    )


def repair_tools(tools: msgspec.Raw) -> tuple[msgspec.Raw, list[str]]:
    """The tools with usable parameters, and a sentence for each one changed; without any, the very Raw given.

    Expects minified JSON. What is no list, and each item that is no {"function": {...}}, is left as it is:
    llama-server says what is wrong with it.
    """
    repaired: list[msgspec.Raw] = []
    changes: list[str] = []
    for number, tool in enumerate(items(tools) or (), start=1):
        better = _repaired(tool)
        if better is None:
            repaired.append(tool)
        else:
            replacement, name, complaint = better
            repaired.append(replacement)
            changes.append(f"tool {name or number}: parameters {complaint}")
    return (joined(repaired) if changes else tools), changes


def _repaired(tool: msgspec.Raw) -> tuple[msgspec.Raw, str, str] | None:
    """The tool with usable parameters, its name as JSON ("" without one), the complaint; None to leave it."""
    outer = members(tool)
    if outer is None or "function" not in outer:
        return None
    function = members(outer["function"])
    if function is None:
        return None
    if "parameters" in outer and "parameters" not in function:
        return None  # they are there, in the wrong place: an empty set would hide that
    cure = _cure(bytes(function.get("parameters", b"")))
    if cure is None:
        return None
    parameters, complaint = cure
    function["parameters"] = msgspec.Raw(parameters)
    outer["function"] = joined(function)
    name = function.get("name", msgspec.Raw(b"null"))
    return joined(outer), bytes(name).decode() if kind(name) == STRING else "", complaint


def _cure(parameters: bytes) -> tuple[bytes, str] | None:
    """Usable parameters for unusable ones, and what was wrong with them; None to leave them."""
    if parameters in _NOTHING:
        return _NO_PARAMETERS, _NOTHING[parameters]
    if kind(parameters) == STRING:
        written = _object_in(parameters)
        if written is None:
            return None
        inner = _cure(written)
        return (written if inner is None else inner[0]), "were JSON inside a string"
    if _lacks_its_object(parameters):
        return b'{"type":"object","properties":' + parameters + b"}", "were properties without their object"
    return None


def _object_in(parameters: bytes) -> bytes | None:
    """The JSON object, or null, that a JSON string holds, minified; None where it holds anything else.

    llama.cpp b11549 answers 400 "schema must be an object" to any string.
    """
    try:
        written = minify((string(parameters) or "").encode())
    except InvalidJSON:
        return None
    return written if kind(written) == OBJECT or written in _NOTHING else None


def _lacks_its_object(parameters: bytes) -> bool:
    """Whether these are properties by themselves, such as {"location": {"type": "string"}}.

    b6301 answered 500 "JSON schema conversion failed: Unrecognized schema"; b11549 lets the model write any
    value, but answers 400 "type must be a string or an array of strings" where a property is called "type".
    In doubt it is a schema: keywords alone ({"items": {...}}) may be one, and so may anything whose
    "properties" are properties, whatever stands beside them.
    """
    fields = members(parameters) or {}
    if "properties" in fields and _all_objects(members(fields["properties"]) or {}):
        return False
    return _all_objects(fields) and not fields.keys() <= _MAY_HOLD_AN_OBJECT


def _all_objects(fields: dict[str, msgspec.Raw]) -> bool:
    """Whether there is at least one member, and each is an object."""
    return bool(fields) and all(kind(value) == OBJECT for value in fields.values())
