"""Does llama-server get the client's request with as little changed as it needs?"""

import copy
import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from copilot_proxy.dialects.jsontext import InvalidJSON
from copilot_proxy.dialects.payload import Rewritten, repair_tools, rewrite
from tests.unit.copilot_request import (
    WITH_EMPTY_PARAMETERS,
    WITHOUT_PARAMETERS,
    agent_request,
    compact,
    pretty,
)

PROFILE = settings(deadline=None, max_examples=200)
NONE = '{"type":"object","properties":{}}'


def same(name: str) -> str:
    return name


def tool(parameters: str | None, name: str = '"f"') -> str:
    written = "" if parameters is None else f',"parameters":{parameters}'
    return f'{{"type":"function","function":{{"name":{name}{written},"strict":true}}}}'


def repaired(*tools: str) -> tuple[str, list[str]]:
    result, changes = repair_tools(msgspec.Raw(f"[{','.join(tools)}]"))
    return bytes(result).decode(), changes


def parameters_of(tools: str) -> str:
    """The parameters of the first tool as they are spelled."""
    first = msgspec.json.decode(tools, type=list[dict[str, msgspec.Raw]])[0]
    function = msgspec.json.decode(first["function"], type=dict[str, msgspec.Raw])
    return bytes(function["parameters"]).decode()


class TestToolsWithoutParameters:
    @pytest.mark.parametrize(
        ("parameters", "complaint"),
        [
            (None, "were missing"),
            ("null", "were null"),
            ("{}", "were {}"),
            ('""', "were an empty string"),
        ],
    )
    def test_each_way_to_say_none_becomes_an_empty_object_schema(
        self, parameters: str | None, complaint: str
    ) -> None:
        """llama.cpp b6301 answered 500 "key 'parameters' not found" to a tool without them."""
        tools, changes = repaired(tool(parameters, '"get_time"'))
        assert parameters_of(tools) == NONE
        assert changes == [f'tool "get_time": parameters {complaint}']

    def test_only_the_parameters_change(self) -> None:
        """A key that is there is filled where it stands, a new one comes last, and nothing else moves."""
        tools, _ = repaired(tool("null"), tool(None))
        assert tools == (
            f'[{{"type":"function","function":{{"name":"f","parameters":{NONE},"strict":true}}}},'
            f'{{"type":"function","function":{{"name":"f","strict":true,"parameters":{NONE}}}}}]'
        )

    def test_parameters_in_both_places(self) -> None:
        """Those of the function are judged, whatever stands outside of it."""
        tools, _ = repaired('{"function":{"name":"f","parameters":null},"parameters":7}')
        assert tools == f'[{{"function":{{"name":"f","parameters":{NONE}}},"parameters":7}}]'

    @pytest.mark.parametrize("name", ["null", "7", '["f"]'])
    def test_a_tool_without_a_name_is_called_by_its_number(self, name: str) -> None:
        """The sentence for the log counts tools from 1 where the name is no string."""
        _, changes = repaired(tool(NONE), tool("null", name), '{"function":{}}')
        assert changes == ["tool 2: parameters were null", "tool 3: parameters were missing"]

    def test_a_name_cannot_forge_a_log_line(self) -> None:
        """The name is shown as the JSON that it was, with its escapes."""
        _, changes = repaired(tool(None, r'"a\nb"'))
        assert changes == [r'tool "a\nb": parameters were missing']


class TestParametersInAString:
    @pytest.mark.parametrize(
        ("text", "parameters"),
        [
            ('{"type":"object","properties":{"a":{"maximum":1.0E+2}}}',) * 2,
            (' { "type" : "object" }\n', '{"type":"object"}'),
            ("{}", NONE),
            (' { "a" : { "type" : "string" } }', '{"type":"object","properties":{"a":{"type":"string"}}}'),
        ],
    )
    def test_an_object_inside_is_used_and_judged(self, text: str, parameters: str) -> None:
        """llama.cpp b11549 answers 400 "schema must be an object" to parameters that are a string."""
        tools, changes = repaired(tool(json.dumps(text)))
        assert parameters_of(tools) == parameters
        assert changes == ['tool "f": parameters were JSON inside a string']

    @pytest.mark.parametrize("text", [" ", "none", "[]", "1", '"{}"', "{'type': 'object'}", "{", "[" * 9999])
    def test_anything_else_inside_is_left(self, text: str) -> None:
        """A string that holds no JSON object stays, for llama-server to refuse."""
        written = tool(json.dumps(text))
        assert repaired(written) == (f"[{written}]", [])


class TestPropertiesWithoutTheirObject:
    @pytest.mark.parametrize(
        "properties",
        [
            '{"location":{"type":"string"}}',
            '{"location":{}}',
            '{"a":{"type":"string"},"b":{"$ref":"#/x"}}',
            # names of keywords that never hold an object: each proves by its value that it is a property
            '{"type":{"type":"string"}}',
            '{"title":{"type":"string"}}',
            '{"description":{"type":"string"}}',
            '{"required":{"type":"boolean"}}',
            '{"enum":{"type":"string"}}',
            '{"format":{"type":"string"}}',
            '{"pattern":{"type":"string"}}',
            '{"examples":{"type":"string"}}',
            '{"anyOf":{"type":"string"}}',
            '{"$ref":{"type":"string"}}',
            '{"minimum":{"type":"number"},"maximum":{"type":"number"}}',
            # names of keywords that may hold one, beside a name that is none
            '{"items":{"type":"array"},"location":{"type":"string"}}',
            '{"default":{"type":"string"},"name":{"type":"string"}}',
            '{"const":{"type":"string"},"type":{"type":"string"}}',
            '{"not":{"type":"boolean"},"query":{"type":"string"}}',
            '{"properties":{"type":"object"},"node":{"type":"string"}}',
            '{"properties":{},"node":{"type":"string"}}',
        ],
    )
    def test_they_are_wrapped_as_they_are_spelled(self, properties: str) -> None:
        """llama.cpp b6301 answered 500; b11549 answers 400 where a property is called "type" or "enum"."""
        tools, changes = repaired(tool(properties))
        assert parameters_of(tools) == f'{{"type":"object","properties":{properties}}}'
        assert changes == ['tool "f": parameters were properties without their object']

    @pytest.mark.parametrize(
        "schema",
        [
            # a schema says so by a value that is no object
            NONE,
            '{"type":"object"}',
            '{ "type" : "object" }',
            '{"title":"T","location":{"type":"string"}}',
            '{"location":{"type":"string"},"required":["location"]}',
            '{"anyOf":[{"type":"object"}]}',
            '{"$ref":"#/$defs/a","$defs":{"a":{"type":"object"}}}',
            # a boolean is a schema too, but as a property's it is rarer than `additionalProperties: false`
            '{"a":true}',
            '{"a":{"type":"string"},"additionalProperties":false}',
            # keywords alone: may be a schema, and b11549 takes them for one
            '{"properties":{"a":{"type":"string"}}}',
            '{"properties":{}}',
            '{"properties":{"a":{}},"$defs":{"b":{}}}',
            '{"items":{"type":"string"}}',
            '{"default":{"type":"string"}}',
            '{"const":{"type":"string"}}',
            '{"not":{"type":"string"}}',
            '{"if":{},"then":{},"else":{}}',
            '{"definitions":{"a":{}},"additionalProperties":{}}',
            # properties that are properties, beside what no standard knows
            '{"properties":{"a":{"type":"string"}},"x-order":{}}',
            '{"properties":{"type":{"type":"string"}},"discriminator":{"propertyName":"type"}}',
            # not an object at all
            "[]",
            '[{"a":{}}]',
            "true",
            "0",
        ],
    )
    def test_what_may_be_a_schema_is_left(self, schema: str) -> None:
        """A wrong wrapping would hide a good schema from the model, so doubt leaves things as they are."""
        assert repaired(tool(schema)) == (f"[{tool(schema)}]", [])


class TestToolsThatStay:
    def test_a_list_of_good_tools_is_the_very_same_object(self) -> None:
        """Nothing is encoded again where nothing is wrong."""
        tools = msgspec.Raw(f"[{tool(NONE)}, {tool(NONE)}]")
        assert repair_tools(tools)[0] is tools

    def test_a_good_tool_beside_a_bad_one_keeps_its_bytes(self) -> None:
        """Escapes, spaces and doubled keys of a good tool are not touched."""
        good = r'{"function":{"na\u006de":"\/", "parameters":{"type":"object","type":"object"}},"type":""}'
        tools, changes = repaired(good, tool(None), good)
        assert tools.startswith(f"[{good},")
        assert tools.endswith(f",{good}]")
        assert len(changes) == 1

    @pytest.mark.parametrize(
        "tools",
        [
            "null",
            "{}",
            '{"function":{"name":"f"}}',
            '"[]"',
            "[]",
            '[null,1,"f",[],true]',
            '[{"type":"function","name":"f"}]',
            '[{"type":"function","name":"f","parameters":{}}]',
            '[{"type":"function","function":null}]',
            '[{"type":"function","function":"f"}]',
            '[{"type":"function","function":[]}]',
            '[{"type":"function","function":{"name":"f"},"parameters":{"type":"object"}}]',
        ],
    )
    def test_what_is_no_list_of_functions_is_left(self, tools: str) -> None:
        """llama-server says what is wrong with it: b11549 answers 500 to most of these."""
        raw = msgspec.Raw(tools)
        assert repair_tools(raw) == (raw, [])


class TestRewrite:
    def test_a_copilot_request_is_only_repaired(self) -> None:
        """A pretty-printed agent request ends as the client's own bytes but for six tools and the model."""
        wanted = copy.deepcopy(agent_request())
        wanted["model"] = "Qwen3-Coder-30B.gguf"
        for each in wanted["tools"]:
            if each["function"]["name"] in WITHOUT_PARAMETERS + WITH_EMPTY_PARAMETERS:
                each["function"]["parameters"] = {"type": "object", "properties": {}}
        result = rewrite(pretty(agent_request()), resolve_model=lambda _: "Qwen3-Coder-30B.gguf")
        assert result == Rewritten(
            body=compact(wanted),
            changes=(
                *(f'tool "{name}": parameters were missing' for name in WITHOUT_PARAMETERS),
                *(f'tool "{name}": parameters were {{}}' for name in WITH_EMPTY_PARAMETERS),
                'model "qwen3-coder:30b" became "Qwen3-Coder-30B.gguf"',
            ),
            model="qwen3-coder:30b",
            stream=True,
        )

    def test_nothing_to_change(self) -> None:
        """A good request is its minified self, doubled keys and escaped names included."""
        body = b'{"n":1, "n":1.0, "\\u0061":"\\/", "model":"m", "tools":[], "stream":false}'
        assert rewrite(body, resolve_model=same) == Rewritten(body.replace(b" ", b""), (), "m", False)

    def test_of_two_equal_keys_the_last_is_used(self) -> None:
        """As llama.cpp b11549 reads them; where something else changes, only the last one is left."""
        result = rewrite(b'{"model":"a","n":1,"model":"b"}', resolve_model=str.upper)
        assert (result.body, result.model) == (b'{"model":"B","n":1}', "b")

    @pytest.mark.parametrize("model", ["null", "7", '["m"]', '{"id":"m"}', "true"])
    def test_a_model_that_is_no_string_is_left(self, model: str) -> None:
        """Nobody is asked what it means."""
        body = f'{{"model":{model}}}'.encode()
        assert rewrite(body, resolve_model=pytest.fail) == Rewritten(body, (), None, False)

    def test_an_empty_model_name_is_a_name(self) -> None:
        """It is resolved like any other."""
        assert rewrite(b'{"model":""}', resolve_model=lambda _: "m").body == b'{"model":"m"}'

    def test_no_model(self) -> None:
        """None is added: a single-model server needs none, and a router says that it is missing."""
        assert rewrite(b'{"messages":[]}', resolve_model=pytest.fail).model is None

    def test_a_model_name_is_read_before_it_is_resolved(self) -> None:
        """Escapes of the name mean what they say; the name put in its place is valid JSON."""
        result = rewrite(rb'{"model":"caf\u00e9"}', resolve_model=lambda name: name + '"\n')
        assert (result.body, result.model) == ('{"model":"café\\"\\n"}'.encode(), "café")

    @pytest.mark.parametrize(
        ("stream", "expected"),
        [("true", True), ("false", False), ("null", False), ('"true"', False), ("1", False)],
    )
    def test_stream(self, stream: str, expected: bool) -> None:
        """Only the word true asks for a stream; llama.cpp b11549 answers 400 to "true" and to 1."""
        assert rewrite(f'{{"stream" : {stream} }}'.encode(), resolve_model=same).stream is expected

    @pytest.mark.parametrize(
        ("body", "kind"),
        [
            (b" [{}]", "an array"),
            (b'"{}"', "a string"),
            (b"-1", "a number"),
            (b"null", "null"),
            (b"true", "true"),
        ],
    )
    def test_json_that_is_no_object(self, body: bytes, kind: str) -> None:
        """It is refused in words of its own."""
        with pytest.raises(InvalidJSON, match=f"^a JSON object is expected, this is {kind}$"):
            rewrite(body, resolve_model=same)

    def test_what_is_no_json(self) -> None:
        """The error of minify comes through."""
        with pytest.raises(InvalidJSON, match="not valid JSON: "):
            rewrite(b'{"model":}', resolve_model=same)


odd_values = st.sampled_from(
    [
        "1.0E+05",
        "-0.0",
        "1e400",
        "9" * 50,
        r'"\u00e9\/ \n  x"',
        '"é"',
        "null",
        "[]",
        '{"a":1,"a":[2,{}]}',
        "[1,[1.50]]",
    ]
)
odd_keys = st.sampled_from(["temperature", "options", "messages", "é", "a b", "", "Model", "x.y"])
some_parameters = st.sampled_from(
    [None, "null", "{}", '""', '"{}"', '"x"', NONE, '{"a":{}}', r'"{\"a\": {}}"', '{"a":1}', "[]"]
)
some_tools = st.lists(
    some_parameters.map(tool) | st.sampled_from(["null", "{}", '{"function":{}}', '{"name":"f"}']), max_size=4
).map(lambda tools: f"[{','.join(tools)}]")
requests = st.builds(
    lambda others, tools, model, order: dict(
        order.sample(items := [*others.items(), *tools, *model], len(items))
    ),
    st.dictionaries(odd_keys, odd_values, max_size=6),
    st.lists(st.tuples(st.just("tools"), some_tools | odd_values), max_size=1),
    st.lists(st.tuples(st.just("model"), st.sampled_from(['"a"', '"b"', r'"\u0061"', "null"])), max_size=1),
    st.randoms(use_true_random=False),
)
"""Requests as keys with the spelling of their values, in any order."""


def spelled(request: dict[str, str]) -> bytes:
    return b"{" + b",".join(msgspec.json.encode(k) + b":" + v.encode() for k, v in request.items()) + b"}"


def resolve(name: str) -> str:
    return {"a": "b"}.get(name, name)


class TestAnyRequest:
    @PROFILE
    @given(requests)
    def test_other_keys_keep_their_bytes_and_their_order(self, request: dict[str, str]) -> None:
        """The result is the request with the value of `tools` and of `model` exchanged, byte for byte."""
        expected = dict(request)
        if "tools" in request:
            expected["tools"] = bytes(repair_tools(msgspec.Raw(request["tools"]))[0]).decode()
        if request.get("model") in ('"a"', r'"\u0061"'):
            expected["model"] = '"b"'
        result = rewrite(spelled(request), resolve_model=resolve)
        assert result.body == spelled(expected)
        assert bool(result.changes) == (expected != request)

    @PROFILE
    @given(requests)
    def test_a_second_rewrite_changes_nothing(self, request: dict[str, str]) -> None:
        """What was rewritten once needs nothing more, so that a proxy behind a proxy is harmless."""
        once = rewrite(spelled(request), resolve_model=resolve)
        twice = rewrite(once.body, resolve_model=resolve)
        assert twice.body == once.body
        assert twice.changes == ()

    @PROFILE
    @given(requests, st.sampled_from(["", " ", "\r\n\t"]))
    def test_the_same_request_gives_the_same_bytes(self, request: dict[str, str], gap: str) -> None:
        """llama.cpp's prompt cache compares from the start: layout and repetition must make no difference."""
        body = spelled(request)
        first = rewrite(body, resolve_model=resolve)
        assert rewrite(gap.encode() + body + gap.encode(), resolve_model=resolve) == first
        assert rewrite(body, resolve_model=resolve) == first
