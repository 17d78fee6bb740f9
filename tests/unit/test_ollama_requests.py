"""Are the requests of Ollama's clients read as Ollama reads them?"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from copilot_proxy.dialects.jsontext import InvalidJSON, minify
from copilot_proxy.dialects.ollama.requests import (
    ChatRequest,
    GenerateRequest,
    read_chat,
    read_generate,
    thinking,
)
from copilot_proxy.errors import BadRequest, ProxyError, UnknownModel

HI = '"messages":[{"role":"user","content":"hi"}]'


def chat(members: str) -> ChatRequest:
    return read_chat(f'{{"model":"tiny",{members}}}'.encode())


def generate(members: str) -> GenerateRequest:
    return read_generate(f'{{"model":"tiny",{members}}}'.encode())


def refusal(read: Any, body: str) -> ProxyError:
    with pytest.raises(ProxyError) as caught:
        read(body.encode())
    error: ProxyError = caught.value
    return error


def test_a_chat() -> None:
    """Everything that a chat may say is found, under Ollama's names."""
    request = chat(
        '"messages":[{"role":"system","content":"s"},{"role":"Assistant","content":"","thinking":"t",'
        '"tool_calls":[{"id":"a","type":"function","function":{"index":0,"name":"f","arguments":{"b":1.0}}}]},'
        '{"role":"tool","content":"r","tool_name":"f","tool_call_id":"a"},'
        '{"role":"user","content":"u","images":["QUJD"]}],'
        '"tools":[{"type":"function","function":{"name":"f"}}],"stream":false,"format":"json","think":"low",'
        '"keep_alive":"5m","options":{"top_k":1.0},"truncate":false,"shift":false,"logprobs":true,'
        '"top_logprobs":20,"_debug_render_only":true'
    )
    assert [message.role for message in request.messages] == ["system", "assistant", "tool", "user"]
    _, assistant, result, user = request.messages
    assert assistant.thinking == "t"
    assert assistant.tool_calls is not None
    assert assistant.tool_calls[0].id == "a"
    assert assistant.tool_calls[0].function.name == "f"
    assert bytes(assistant.tool_calls[0].function.arguments) == b'{"b":1.0}'
    assert (result.tool_name, result.tool_call_id) == ("f", "a")
    assert user.images == ["QUJD"]
    assert request.tools == [Raw(b'{"type":"function","function":{"name":"f"}}')]
    assert not request.stream
    assert request.format == Raw(b'"json"')
    assert request.think == Raw(b'"low"')
    assert request.keep_alive == Raw(b'"5m"')
    assert request.options == Raw(b'{"top_k":1.0}')
    assert not request.truncate
    assert not request.shift
    assert (request.logprobs, request.top_logprobs) == (True, 20)
    assert request.debug_render_only


def test_a_generate() -> None:
    """Everything that a generate may say is found, under Ollama's names."""
    request = generate(
        '"prompt":"p","suffix":"s","system":"y","context":[1,2],"images":["QUJD"],"raw":false,"template":"",'
        '"stream":false'
    )
    assert (request.model, request.prompt, request.suffix, request.system) == ("tiny", "p", "s", "y")
    assert (request.context, request.images, request.raw) == ([1, 2], ["QUJD"], False)
    assert not request.stream


NULLS = ",".join(
    f'"{name}":null'
    for name in GenerateRequest.__struct_encode_fields__[1:]
    if name in ChatRequest.__struct_encode_fields__
)


@pytest.mark.parametrize("members", ['"unknown":{"a":[1]}', NULLS + ',"messages":null,"tools":null'])
def test_what_a_chat_is_by_itself(members: str) -> None:
    """null says nothing, nobody minds unknown members, and the defaults are Ollama's: streamed, truncated."""
    request = chat(members)
    assert request == ChatRequest(model="tiny")
    assert request.stream
    assert request.truncate
    assert request.shift
    assert request.messages == []
    assert request.tools == []
    raws = (request.think, request.format, request.options, request.keep_alive)
    assert set(map(bytes, raws)) == {b"null"}


def test_what_a_generate_is_by_itself() -> None:
    """null says nothing in a generate either."""
    nulls = ",".join(f'"{name}":null' for name in GenerateRequest.__struct_encode_fields__[1:])
    request = generate(nulls)
    assert request == GenerateRequest(model="tiny")


def test_nulls_in_a_message() -> None:
    """Each member of a message, and of a call, may be null or missing."""
    names = ("content", "thinking", "images", "tool_name", "tool_call_id")
    nulls = ",".join(f'"{name}":null' for name in names)
    request = chat(
        f'"messages":[{{"role":null}},{{"role":"user",{nulls},"tool_calls":null}},'
        '{"role":"assistant","tool_calls":[{},{"id":null,"function":{"name":null,"arguments":null}}]}]'
    )
    first, second, third = request.messages
    assert first.role == ""
    assert (second.content, second.images, second.tool_calls) == (None, None, None)
    assert [bytes(call.function.arguments) for call in third.tool_calls or ()] == [b"{}", b"{}"]


@pytest.mark.parametrize(
    ("members", "prompt"),
    [
        ('"Prompt":"p"', "p"),
        ('"PROMPT":"p"', "p"),
        ('"Prompt":"other","prompt":"p"', "p"),
        ('"prompt":"p","Prompt":"other"', "p"),
        ('"prompt":null,"Prompt":"other"', ""),
        ('"Prompt":null', ""),
        ('"prompts":"other"', ""),
    ],
)
def test_keys_in_any_case(members: str, prompt: str) -> None:
    """A key is found in any case where it is not there as it should be."""
    assert generate(members).prompt == prompt


@pytest.mark.parametrize(
    ("keep_alive", "unloads"),
    [
        ("", False),
        ("0", True),
        ("0.0", True),
        ('"0s"', True),
        ('"0"', True),
        ("null", False),
        ('"5m"', False),
        ("-1", False),
    ],
)
def test_loading_and_unloading(keep_alive: str, unloads: bool) -> None:
    """Nothing to answer is a wish to load the model, or, kept for no time, to unload it."""
    more = f',"keep_alive":{keep_alive}' if keep_alive else ""
    for empty in (generate('"prompt":""' + more), chat('"messages":[]' + more)):
        assert empty.unloads is unloads
        assert empty.loads is not unloads
    for full in (generate('"prompt":"p"' + more), chat(HI + more)):
        assert not full.unloads
        assert not full.loads


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("{}", "{}"),
        ("null", "{}"),
        ('""', "{}"),
        (
            '{"b":1.0,"a":100000000000000000000,"c":"\\u00e9"}',
            '{"b":1.0,"a":100000000000000000000,"c":"\\u00e9"}',
        ),
        ('"{}"', "{}"),
        ('" { \\"b\\" : 1.0, \\"a\\": [ ] }"', '{"b":1.0,"a":[]}'),
    ],
)
def test_arguments(arguments: str, expected: str) -> None:
    """Arguments are an object that keeps its order and its numbers, or a string that holds one."""
    request = chat(
        f'"messages":[{{"role":"assistant","tool_calls":[{{"function":{{"name":"f","arguments":{arguments}}}}}]}}]'
    )
    calls = request.messages[0].tool_calls
    assert calls is not None
    assert bytes(calls[0].function.arguments).decode() == expected


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ("[]", "arguments are expected to be an object, this is an array"),
        ("1", "arguments are expected to be an object, this is a number"),
        ("true", "arguments are expected to be an object, this is true"),
        ('"[]"', "arguments are expected to be an object, this is an array"),
        ('"\\"{}\\""', "arguments are expected to be an object, this is a string"),
        ('"{"', "arguments are expected to be an object, this string holds no JSON"),
        ('" "', "arguments are expected to be an object, this string holds no JSON"),
    ],
)
def test_no_arguments(arguments: str, complaint: str) -> None:
    """Other arguments are refused, with the place."""
    body = f'{{"model":"m","messages":[{{}},{{"tool_calls":[{{"function":{{"arguments":{arguments}}}}}]}}]}}'
    error = refusal(read_chat, body)
    assert error.status == 400
    assert error.message == f"messages[1].tool_calls[0].function: {complaint}"


EVERY = (read_chat, read_generate)


@pytest.mark.parametrize("read", EVERY)
@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("", "missing request body"),
        ("[]", "a JSON object is expected, this is an array"),
        ('"model"', "a JSON object is expected, this is a string"),
        ('{"model":5}', "model: a string is expected, this is an integer"),
        ('{"model":{}}', "model: a string is expected, this is an object"),
        ('{"model":"m","stream":"true"}', "stream: a boolean is expected, this is a string"),
        ('{"model":"m","stream":1}', "stream: a boolean is expected, this is an integer"),
        ('{"model":"m","Stream":1}', "stream: a boolean is expected, this is an integer"),
        ('{"model":"m","options":[]}', "options: an object is expected, this is an array"),
        ('{"model":"m","options":"{}"}', "options: an object is expected, this is a string"),
        ('{"model":"m","top_logprobs":"5"}', "top_logprobs: an integer is expected, this is a string"),
        (
            '{"model":"m","top_logprobs":1.5}',
            "top_logprobs: an integer is expected, this is a number with a fraction",
        ),
        ('{"model":"m","top_logprobs":true}', "top_logprobs: an integer is expected, this is a boolean"),
        ('{"model":"m","top_logprobs":-1}', "top_logprobs must be between 0 and 20"),
        ('{"model":"m","top_logprobs":21}', "top_logprobs must be between 0 and 20"),
        ('{"top_logprobs":21}', "top_logprobs must be between 0 and 20"),
        ('{"model":"m","keep_alive":"30"}', 'time: missing unit in duration "30"'),
        ('{"model":"m","keep_alive":true}', "Unsupported type: 'bool'"),
        (
            '{"model":"m","think":"x"}',
            'invalid think value: "x" (must be "high", "medium", "low", "max", true, or false)',
        ),
        (
            '{"model":"m","think":1}',
            'think must be a boolean or string ("high", "medium", "low", "max", true, or false)',
        ),
    ],
)
def test_refusals(read: Any, body: str, complaint: str) -> None:
    """What neither route can read is refused with 400, in Ollama's words where they make sense."""
    error = refusal(read, body)
    assert (type(error), error.status, error.message) == (BadRequest, 400, complaint)


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ('{"model":"m","messages":{}}', "messages: an array is expected, this is an object"),
        ('{"model":"m","messages":["hi"]}', "messages[0]: an object is expected, this is a string"),
        (
            '{"model":"m","messages":[{"content":[]}]}',
            "messages[0].content: a string is expected, this is an array",
        ),
        (
            '{"model":"m","messages":[{"images":"QUJD"}]}',
            "messages[0].images: an array is expected, this is a string",
        ),
        (
            '{"model":"m","messages":[{"images":[1]}]}',
            "messages[0].images[0]: a string is expected, this is an integer",
        ),
        (
            '{"model":"m","messages":[{"tool_calls":{}}]}',
            "messages[0].tool_calls: an array is expected, this is an object",
        ),
        (
            '{"model":"m","messages":[{"role":1}]}',
            "messages[0].role: a string is expected, this is an integer",
        ),
        ('{"model":"m","tools":{}}', "tools: an array is expected, this is an object"),
        ("{}", "model is required"),
        ('{"model":""}', "model is required"),
        ('{"model":null}', "model is required"),
        ("null", "model is required"),
    ],
)
def test_refusals_of_a_chat(body: str, complaint: str) -> None:
    """What is no chat is refused with 400 and the place, and so is a chat with no model."""
    error = refusal(read_chat, body)
    assert (type(error), error.status, error.message) == (BadRequest, 400, complaint)


@pytest.mark.parametrize("body", ["{}", '{"model":""}', '{"model":null,"prompt":"","keep_alive":0}'])
def test_a_generate_without_a_model(body: str) -> None:
    """A generate with no model is Ollama's 404."""
    error = refusal(read_generate, body)
    assert (type(error), error.status, error.message) == (UnknownModel, 404, "model '' not found")


RAW = "raw mode does not support template, system, or context"


@pytest.mark.parametrize(
    ("members", "complaint"),
    [
        ('"context":["a"]', "context[0]: an integer is expected, this is a string"),
        ('"prompt":["a"]', "prompt: a string is expected, this is an array"),
        ('"images":"a"', "images: an array is expected, this is a string"),
        ('"raw":true,"prompt":"p","template":"t"', RAW),
        ('"raw":true,"prompt":"p","system":"s"', RAW),
        ('"raw":true,"prompt":"p","context":[1]', RAW),
        ('"raw":true,"system":"s"', RAW),
    ],
)
def test_refusals_of_a_generate(members: str, complaint: str) -> None:
    """What is no generate is refused with 400, and so is what raw does not go with."""
    error = refusal(read_generate, f'{{"model":"m",{members}}}')
    assert (type(error), error.status, error.message) == (BadRequest, 400, complaint)


def test_a_template_is_refused() -> None:
    """A template of the client's own is refused with what to do instead, and an empty one is none."""
    error = refusal(read_generate, '{"model":"m","prompt":"p","template":"{{ .Prompt }}"}')
    assert error.status == 400
    assert "--chat-template-file" in error.message
    assert generate('"prompt":"p","template":""').prompt == "p"
    assert generate('"template":"{{ .Prompt }}"').loads


@pytest.mark.parametrize("more", ['"raw":true,"system":"s"', '"template":"t"', '"context":[1],"raw":true'])
def test_unloading_comes_first(more: str) -> None:
    """A model is unloaded whatever else the request says."""
    assert generate(f'"keep_alive":0,{more}').unloads


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (None, None),
        ("null", None),
        ("true", True),
        ("false", False),
        ('"low"', "low"),
        ('"medium"', "medium"),
        ('"high"', "high"),
        ('"max"', "max"),
    ],
)
def test_thinking(raw: str | None, expected: bool | str | None) -> None:
    """Thinking is on, off, one of four levels, or not spoken of."""
    assert thinking(None if raw is None else Raw(raw)) == expected


@pytest.mark.parametrize("raw", ['""', '"High"', '"none"', "0", "[]", "{}"])
def test_thinking_otherwise(raw: str) -> None:
    """Anything else is refused, and the log does not repeat it."""
    with pytest.raises(BadRequest, match="think") as caught:
        thinking(Raw(raw))
    assert raw not in caught.value.logged


def test_half_a_character() -> None:
    """What JSON's own grammar lets pass and no text can be is refused as the JSON that it is not."""
    with pytest.raises(InvalidJSON, match="half of a surrogate pair"):
        read_chat(b'{"model":"\\ud800"}')


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=4,
)
KEYS = sorted({*ChatRequest.__struct_encode_fields__, *GenerateRequest.__struct_encode_fields__})


def outcome(read: Any, body: bytes) -> ChatRequest | GenerateRequest | Exception:
    try:
        request: ChatRequest | GenerateRequest = read(body)
    except (ProxyError, InvalidJSON) as error:
        return error
    return request


@given(st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=3), ANYTHING))
def test_anything(document: dict[str, Any]) -> None:
    """Whatever a client writes is read, always as the same, or refused with a text for a person."""
    body = minify(json.dumps(document).encode())
    for read in EVERY:
        found = outcome(read, body)
        if isinstance(found, ProxyError):
            assert found.status in (400, 404)
            assert "Expected" not in found.message
        elif not isinstance(found, InvalidJSON):
            assert found == outcome(read, body)
