"""Does each cure change what it is about, once, and nothing else?"""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from copilot_proxy.dialects import cures
from tests.unit.copilot_request import agent_request, compact

PROFILE = settings(deadline=None, max_examples=200)
EVERY = [
    cures.slim_schemas,
    cures.unbounded_schemas,
    cures.describe_tools,
    cures.merge_system_messages,
    cures.merge_user_messages,
    cures.valid_arguments,
]


def after(cure: cures.Cure, body: Any) -> Any:
    """What a cure makes of a request; None where it leaves it."""
    cured = cure(body if isinstance(body, bytes) else compact(body))
    return None if cured is None else json.loads(cured)


def with_schema(schema: Any) -> dict[str, Any]:
    return {"tools": [{"type": "function", "function": {"name": "f", "parameters": schema}}]}


def slimmed(schema: Any, cure: cures.Cure = cures.slim_schemas) -> Any:
    cured = after(cure, with_schema(schema))
    return None if cured is None else cured["tools"][0]["function"]["parameters"]


# ---------------------------------------------------------------- schemas

TEXT = {"type": "string"}
PATTERN = {"type": "string", "pattern": "^(?=x)", "format": "uri"}

# where a schema may stand in another: each is written with the inner one, and expected with it slimmed
PLACES: list[Any] = [
    lambda inner: {"type": "object", "properties": {"a": inner, "b": TEXT}},
    lambda inner: {"type": "array", "items": inner},
    lambda inner: {"type": "array", "items": [TEXT, inner]},
    lambda inner: {"type": "array", "prefixItems": [inner], "contains": TEXT},
    lambda inner: {"anyOf": [TEXT, {"type": "object", "properties": {"x": inner}}]},
    lambda inner: {"oneOf": [inner], "not": TEXT},
    lambda inner: {"$ref": "#/$defs/a", "$defs": {"a": inner}},
    lambda inner: {"definitions": {"a": inner}},
    lambda inner: {"type": "object", "additionalProperties": inner},
    lambda inner: {"type": "object", "patternProperties": {"^a": inner}},
    lambda inner: {"type": "object", "propertyNames": inner},
    lambda inner: {"if": inner, "then": TEXT},
]


@pytest.mark.parametrize("place", PLACES)
def test_keywords_go_at_every_depth(place: Any) -> None:
    """B6: `pattern`, `format` and `$schema` go wherever a schema stands, and the other keywords stay."""
    assert slimmed(place(PATTERN)) == place(TEXT)
    assert slimmed({"$schema": "http://json-schema.org/draft-07/schema#", **place(PATTERN)}) == place(TEXT)
    assert slimmed(place(TEXT)) is None


def test_properties_of_that_name_stay() -> None:
    """B6: a property called `pattern` or `format` is the tool's own, and only its own keywords go."""
    properties = {"pattern": PATTERN, "format": TEXT, "$schema": TEXT, "maxLength": TEXT}
    schema = {"type": "object", "properties": properties, "required": ["pattern", "format"]}
    assert slimmed(schema) == {**schema, "properties": {**properties, "pattern": TEXT}}
    assert slimmed({"type": "object", "properties": {"pattern": TEXT}}) is None


@pytest.mark.parametrize("key", ["default", "const", "examples", "enum"])
def test_values_are_no_schemas(key: str) -> None:
    """B6: what looks like a keyword in a default or an enum is a value, and stays."""
    assert slimmed({"type": "object", key: {"pattern": "x"}}) is None
    assert slimmed({"type": "object", key: [{"pattern": "x"}]}) is None


@pytest.mark.parametrize(
    "schema", [{"pattern": 5, "format": None}, {"pattern": {"type": "string"}}, True, []]
)
def test_what_is_no_such_keyword_stays(schema: Any) -> None:
    """B6: the keywords hold strings; what holds something else under their names is not them."""
    assert slimmed(schema) is None


def test_bounds() -> None:
    """B6: a second cure drops the bounds that make a grammar long, and nothing that tells the model more."""
    inner = {"type": "string", "minLength": 1, "maxLength": 65536, "description": "d"}
    schema = {"type": "array", "items": inner, "minItems": 1, "maxItems": 9, "uniqueItems": True}
    expected = {"type": "array", "items": {"type": "string", "description": "d"}, "uniqueItems": True}
    assert slimmed(schema, cures.unbounded_schemas) == expected
    assert slimmed({"properties": {"maxLength": TEXT}}, cures.unbounded_schemas) is None


def test_deep_schemas() -> None:
    """B6: a hundred levels are slimmed, and what lies deeper is left instead of overflowing the stack."""
    schema: Any = PATTERN
    for _ in range(300):
        schema = {"items": schema, "format": "x"}
    written = json.dumps(slimmed(schema))
    assert written.count("format") == 300 - 100 + 1
    assert written.count("pattern") == 1


def test_schemas_keep_their_spelling() -> None:
    """B6: numbers and strings beside a dropped keyword stay as they were written."""
    schema = rb'{"maximum":1e2,"format":"x","d":"\u00e9"}'
    before = rb'{"seed":1.0,"tools":[{"function":{"parameters":' + schema + rb'},"n":1.50}]}'
    assert cures.slim_schemas(before) == before.replace(b'"format":"x",', b"")


@pytest.mark.parametrize(
    "tools", [None, {}, "x", [None, 1, {}, {"function": 1}, {"function": {"name": "f"}}]]
)
def test_strange_tools(tools: Any) -> None:
    """Tools of another shape are llama-server's to judge."""
    for cure in EVERY:
        if cure is not cures.describe_tools:
            assert cure(compact({"tools": tools})) is None


@pytest.mark.parametrize("function", [{"name": "f"}, {"name": "f", "description": None}])
def test_descriptions(function: dict[str, Any]) -> None:
    """A tool without a description gets an empty one, and one that has it keeps it."""
    good = {"type": "function", "function": {"description": "d", "name": "g"}}
    cured = after(cures.describe_tools, {"tools": [{"type": "function", "function": function}, good]})
    assert cured["tools"] == [{"type": "function", "function": {"name": "f", "description": ""}}, good]
    assert after(cures.describe_tools, {"tools": [good]}) is None


# ---------------------------------------------------------------- messages


def said(role: str, content: Any = "x", **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


def merged(*messages: Any, cure: cures.Cure = cures.merge_system_messages) -> Any:
    cured = after(cure, {"model": "m", "messages": list(messages)})
    return None if cured is None else cured["messages"]


U, A = said("user"), said("assistant")


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([said("system", "a"), said("system", "b"), U], [said("system", "a\n\nb"), U]),
        ([said("system", "a"), U, said("system", "b"), A], [said("system", "a\n\nb"), U, A]),
        ([U, said("system", "a")], [said("system", "a"), U]),
        ([said("developer", "a"), said("system", "b"), U], [said("system", "a\n\nb"), U]),
        (
            [said("system", "a", name="n"), said("developer", "b", name="o")],
            [said("system", "a\n\nb", name="n")],
        ),
        ([said("system", ""), said("system", "b"), said("system", None)], [said("system", "b")]),
        ([said("system", []), said("system", None)], [said("system", "")]),
        (
            [
                said("system", [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]),
                said("system", "c"),
            ],
            [said("system", "a\n\nb\n\nc")],
        ),
        ([said("system", "a"), U], None),
        ([said("developer", "a"), U], None),
        ([U, A], None),
        ([], None),
        ([said("system", "a"), said("system", [{"type": "image_url", "image_url": {}}])], None),
        ([said("system", "a"), said("system", 7)], None),
        ([said("system", "a"), said("system", [{"type": "text", "text": 7}])], None),
        ([None, "x", {}], None),
    ],
)
def test_system_messages(messages: list[Any], expected: Any) -> None:
    """B3: several or late system messages become the first one, in their order; one that is first stays."""
    assert merged(*messages) == expected


def test_system_messages_keep_the_spelling() -> None:
    """B3: escapes in the texts, and every byte of the other messages, stay as they were written."""
    user = rb'{"content":"\u00e9","n":1.0,"role":"user"}'
    body = (
        rb'{"messages":[{"role":"system","content":"\u00e9\/"},'
        + user
        + rb',{"role":"system","content":"\"b"}],"n":1e0}'
    )
    assert cures.merge_system_messages(body) == (
        rb'{"messages":[{"role":"system","content":"\u00e9\/\n\n\"b"},' + user + rb'],"n":1e0}'
    )


IMAGE = {"type": "image_url", "image_url": {"url": "data:,"}}


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([said("user", "a"), said("user", "b"), A], [said("user", "a\n\nb"), A]),
        ([said("user", "a"), said("user", "b"), said("user", "c")], [said("user", "a\n\nb\n\nc")]),
        (
            [said("user", "a", name="n"), said("user", [IMAGE])],
            [said("user", [{"type": "text", "text": "a"}, IMAGE], name="n")],
        ),
        ([said("user", [IMAGE]), said("user", [IMAGE])], [said("user", [IMAGE, IMAGE])]),
        ([said("user", None), said("user", "b")], [said("user", "b")]),
        ([U, A, U], None),
        ([U, said("tool"), U], None),
        ([A, A], None),
        ([], None),
    ],
)
def test_user_messages(messages: list[Any], expected: Any) -> None:
    """Section 1.1: the user messages in a row that VS Code writes become one, and others stay."""
    assert merged(*messages, cure=cures.merge_user_messages) == expected


def called(arguments: Any) -> dict[str, Any]:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": arguments}}
    return said("assistant", "", tool_calls=[call])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("", "{}"),
        ('{"a": ', "{}"),
        ("x", "{}"),
        ('{"a": 1}', None),
        ("[1]", None),
        ({"a": 1}, None),
        (None, None),
    ],
)
def test_arguments(arguments: Any, expected: Any) -> None:
    """Arguments of an earlier call that are no JSON become {}, and all others stay."""
    cured = merged(U, called(arguments), cure=cures.valid_arguments)
    assert cured == (None if expected is None else [U, called(expected)])


# ---------------------------------------------------------------- any request


def test_an_agents_request_needs_no_cure() -> None:
    """Of all cures, only the one for user messages would change VS Code's request, with two in a row."""
    body = compact(agent_request())
    assert [cure(body) is not None for cure in EVERY] == [cure is cures.merge_user_messages for cure in EVERY]


schemas = st.recursive(
    st.fixed_dictionaries(
        {}, optional={"type": st.just("string"), "pattern": st.just("x"), "maxLength": st.just(9)}
    ),
    lambda inner: (
        st.dictionaries(
            st.sampled_from(["properties", "$defs"]),
            st.dictionaries(st.sampled_from(["pattern", "a"]), inner),
        )
        | st.dictionaries(st.sampled_from(["items", "not", "format"]), inner | st.lists(inner, max_size=2))
    ),
    max_leaves=6,
)
contents = st.sampled_from(
    [
        "a",
        "",
        None,
        7,
        "\u00e9\n",
        [],
        [{"type": "text", "text": "t"}],
        [IMAGE],
        [{"type": "text", "text": "t"}, IMAGE],
    ]
)
histories = st.lists(
    st.builds(said, st.sampled_from(["system", "developer", "user", "user", "assistant", "tool"]), contents)
    | st.sampled_from(["", "{", "{}"]).map(called),
    max_size=6,
)
requests = st.builds(
    lambda messages, schema: {"n": 1, "messages": messages, **with_schema(schema), "model": "m"},
    histories,
    schemas,
)


@PROFILE
@given(requests, st.sampled_from(EVERY))
def test_any_cure(request: dict[str, Any], cure: cures.Cure) -> None:
    """A cure works at once and the same each time; what is not its matter keeps its bytes and its place."""
    body = compact(request)
    cured = cure(body)
    assert cured == cure(body)
    if cured is None:
        return
    assert cure(cured) is None
    before, result = (msgspec.json.decode(text, type=dict[str, msgspec.Raw]) for text in (body, cured))
    matter = "messages" if "messag" in cure.__name__ or "argum" in cure.__name__ else "tools"
    assert list(before) == list(result)
    assert {key: bytes(value) for key, value in before.items() if key != matter} == {
        key: bytes(value) for key, value in result.items() if key != matter
    }


@PROFILE
@given(histories)
def test_merging_loses_no_text(messages: list[Any]) -> None:
    """B3: after merging, the same texts stand in the request, and other messages keep bytes and order."""
    body = compact({"messages": messages})
    cured = cures.merge_system_messages(body)
    if cured is not None:
        texts, others = parts_of(body)
        (merged_text,), others_after = parts_of(cured)
        assert others_after == others
        assert merged_text == "\n\n".join(filter(None, texts))


def parts_of(body: bytes) -> tuple[list[str], list[bytes]]:
    """The texts of the system messages, and the other messages as they are spelled."""
    texts, others = [], []
    for raw in msgspec.json.decode(body, type=dict[str, list[msgspec.Raw]])["messages"]:
        message = msgspec.json.decode(raw)
        if message["role"] not in ("system", "developer"):
            others.append(bytes(raw))
        elif isinstance(message["content"], list):
            texts += [part["text"] for part in message["content"]]
        else:
            texts.append(message["content"] or "")
    return texts, others
