"""Is an Ollama chat written as one OpenAI chat, always the same way?"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copilot_proxy.dialects.ollama import chat
from copilot_proxy.dialects.ollama.messages import nothing_remembered
from copilot_proxy.dialects.ollama.requests import read_chat
from copilot_proxy.errors import BadOption, BadRequest

MESSAGES = '"messages":[{"role":"user","content":"hi"}]'
OPTIONS = (
    '"temperature":0.8,"top_k":40,"top_p":0.9,"min_p":0.0,"typical_p":1.0,"repeat_last_n":64,"repeat_penalty":1.0,'
    '"presence_penalty":0.0,"frequency_penalty":0.0,"seed":-1,"n_keep":4,"n_predict":40960'
)
END = '"stream":true,"stream_options":{"include_usage":true},"cache_prompt":true}'


def body(members: str, *, thinks: bool = False, template: str = "", context_length: int | None = 4096) -> str:
    request = read_chat(f'{{"model":"Tiny:latest",{members}}}'.encode())
    return chat.body(
        request,
        model="tiny",
        thinks=thinks,
        template=template,
        context_length=context_length,
        reasoning=nothing_remembered,
    ).decode()


def between(members: str, *, thinks: bool = False, template: str = "") -> str:
    """What stands between the messages and the options."""
    start, end = f'{{"model":"tiny",{MESSAGES},', f"{OPTIONS},{END}"
    whole = body(f"{MESSAGES},{members}", thinks=thinks, template=template)
    assert whole.startswith(start)
    assert whole.endswith(end)
    return whole[len(start) : -len(end)].removesuffix(",")


def test_the_plainest_chat() -> None:
    """A chat is the model, the messages, all the options, and how the answer shall come: streamed, always."""
    assert body(MESSAGES) == f'{{"model":"tiny",{MESSAGES},{OPTIONS},{END}'
    assert body(f'{MESSAGES},"stream":false,"tools":[],"think":null') == body(MESSAGES)


def test_the_order() -> None:
    """Keys stand in one order, whatever the client's is."""
    members = [
        MESSAGES,
        '"tools":[{"type":"function","function":{"name":"f"}}]',
        '"format":"json"',
        '"think":true',
        '"options":{"stop":["x"],"mirostat":1,"top_k":1}',
        '"logprobs":true',
        '"top_logprobs":3',
        '"stream":true',
    ]
    whole = body(",".join(members))
    assert whole == body(",".join(reversed(members)))
    fields = list(json.loads(whole))
    assert fields[:5] == ["model", "messages", "tools", "response_format", "chat_template_kwargs"]
    assert fields[-5:] == ["stop", "mirostat", "stream", "stream_options", "cache_prompt"]


def test_no_logprobs_beside_tools() -> None:
    """They are left out where tools are: llama-server refuses both in one stream."""
    members = f'{MESSAGES},"logprobs":true,"tools":[{{"type":"function","function":{{"name":"f"}}}}]'
    assert "logprobs" not in body(members)


@pytest.mark.parametrize(
    ("tool", "expected"),
    [
        (
            '{"type":"function","function":{"name":"f","parameters":{"type":"object","properties":{"b":{"maximum":1.0}}}}}',
            '{"type":"function","function":{"name":"f","parameters":{"type":"object","properties":{"b":{"maximum":1.0}}}}}',
        ),
        (
            '{"type":"function","function":{"name":"f"}}',
            '{"type":"function","function":{"name":"f","parameters":{"type":"object","properties":{}}}}',
        ),
        (
            '{"function":{"name":"f","parameters":{"type":"object"}}}',
            '{"function":{"name":"f","parameters":{"type":"object"}},"type":"function"}',
        ),
        (
            '{"type":"","function":{"name":"f","parameters":{"type":"object"}}}',
            '{"type":"function","function":{"name":"f","parameters":{"type":"object"}}}',
        ),
        ('{"type":"other"}', '{"type":"other"}'),
        ("7", "7"),
    ],
)
def test_tools(tool: str, expected: str) -> None:
    """Tools keep their bytes, and get the type and the parameters without which llama-server refuses them."""
    assert between(f'"tools":[{tool}]') == f'"tools":[{expected}]'


@pytest.mark.parametrize(
    ("think", "thinks", "expected"),
    [
        (None, False, ""),
        (None, True, '{"enable_thinking":true}'),
        ("null", True, '{"enable_thinking":true}'),
        ("true", True, '{"enable_thinking":true}'),
        ("false", True, '{"enable_thinking":false}'),
        ("false", False, '{"enable_thinking":false}'),
        ('"low"', True, '{"enable_thinking":true,"reasoning_effort":"low"}'),
        ('"medium"', True, '{"enable_thinking":true,"reasoning_effort":"medium"}'),
        ('"high"', True, '{"enable_thinking":true,"reasoning_effort":"high"}'),
        ('"max"', True, '{"enable_thinking":true,"reasoning_effort":"max"}'),
    ],
)
def test_thinking(think: str | None, thinks: bool, expected: str) -> None:
    """Thinking is spoken of where the client does, and is on for a model that thinks."""
    written = between(f'"think":{think}' if think else '"stream":true', thinks=thinks)
    assert written == (f'"chat_template_kwargs":{expected}' if expected else "")


@pytest.mark.parametrize(
    ("template", "effort"),
    [
        ("<|start|>assistant<|channel|>analysis", "high"),
        ("<|channel>thought", "max"),  # Gemma 4's marks
        ("<|start|>", "max"),
    ],
)
def test_hardest_thinking(template: str, effort: str) -> None:
    """gpt-oss, known by the marks of its format, knows no harder thinking than "high"."""
    written = between('"think":"max"', thinks=True, template=template)
    assert written == f'"chat_template_kwargs":{{"enable_thinking":true,"reasoning_effort":"{effort}"}}'
    assert '"low"' in between('"think":"low"', thinks=True, template=template)


SCHEMA = '{"type":"object","properties":{"b":{"maximum":1.0},"a":{"type":"string"}},"required":["b"]}'


@pytest.mark.parametrize(
    ("given_format", "expected"),
    [
        ("null", ""),
        ('""', ""),
        ('"json"', '{"type":"json_object"}'),
        ("{}", '{"type":"json_schema","json_schema":{"name":"schema","schema":{}}}'),
        (SCHEMA, f'{{"type":"json_schema","json_schema":{{"name":"schema","schema":{SCHEMA}}}}}'),
    ],
)
def test_format(given_format: str, expected: str) -> None:
    """A format is JSON, or a schema that keeps its bytes."""
    assert between(f'"format":{given_format}') == (f'"response_format":{expected}' if expected else "")


@pytest.mark.parametrize(
    ("given_format", "quoted"),
    [
        ('"xml"', '"\\"xml\\""'),
        ('"JSON"', '"\\"JSON\\""'),
        ("[]", '"[]"'),
        ("true", '"true"'),
        ("1", '"1"'),
    ],
)
def test_no_format(given_format: str, quoted: str) -> None:
    """Any other is refused with the status and the words of Ollama."""
    with pytest.raises(BadOption) as caught:
        body(f'{MESSAGES},"format":{given_format}')
    assert caught.value.message == f'invalid format: {quoted}; expected "json" or a valid JSON Schema object'
    assert caught.value.status == 500
    assert quoted not in caught.value.logged


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ('"logprobs":false,"top_logprobs":5', ""),
        ('"logprobs":true', '"logprobs":true,"top_logprobs":1,'),
        ('"logprobs":true,"top_logprobs":0', '"logprobs":true,"top_logprobs":1,'),
        ('"logprobs":true,"top_logprobs":20', '"logprobs":true,"top_logprobs":20,'),
    ],
)
def test_logprobs(members: str, expected: str) -> None:
    """llama-server is asked for at least one alternative, and for none where no logprobs are wanted."""
    assert body(f"{MESSAGES},{members}") == f'{{"model":"tiny",{MESSAGES},{OPTIONS},{expected}{END}'


@pytest.mark.parametrize(
    ("members", "kind"),
    [('"options":{"top_k":"1"}', BadOption), ('"messages":[{"role":"user","images":["!"]}]', BadRequest)],
)
def test_refusals(members: str, kind: type[Exception]) -> None:
    """A wrong option and a wrong image are refused before anything is sent."""
    with pytest.raises(kind):
        body(members)


WORDS = st.text(max_size=5)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(WORDS, VALUES), st.dictionaries(WORDS, VALUES))
def test_the_same_request_becomes_the_same_bytes(arguments: dict[str, Any], schema: dict[str, Any]) -> None:
    """Arguments and schemas reach llama-server as they were spelled: keys, numbers and strings."""
    spelled = json.dumps(arguments, separators=(",", ":")), json.dumps(schema, separators=(",", ":"))
    members = (
        f'"messages":[{{"role":"assistant","tool_calls":[{{"function":{{"name":"f","arguments":{spelled[0]}}}}}]}}],'
        f'"format":{spelled[1]},"tools":[{{"type":"function","function":{{"name":"f","strict":{spelled[1]}}}}}]'
    )
    whole = body(members)
    assert whole == body(members)
    document = json.loads(whole)
    assert document["messages"][0]["tool_calls"][0]["function"]["arguments"] == spelled[0]
    assert f'"schema":{spelled[1]}}}' in whole
    assert f'"strict":{spelled[1]}' in whole


def message(role: str, size: int = 1, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": "x" * size, **more}


def shortened(messages: list[dict[str, Any]], keep: float) -> list[int] | None:
    """The places of the messages that stay."""
    numbered = [{**one, "n": number} for number, one in enumerate(messages)]
    document = json.dumps({"model": "m", "messages": numbered, "seed": 1.0}, separators=(",", ":"))
    result = chat.shorten(document.encode(), keep)
    if result is None:
        return None
    after = json.loads(result)
    kept = [one["n"] for one in after["messages"]]
    expected = json.dumps({**after, "messages": [numbered[n] for n in kept]}, separators=(",", ":"))
    assert result.decode() == expected
    return kept


SYSTEM, USER, ANSWER, RESULT = message("system"), message("user"), message("assistant"), message("tool")
CALL = message("assistant", tool_calls=[{"id": "a"}])


@pytest.mark.parametrize(
    ("messages", "keep", "expected"),
    [
        ([USER, ANSWER, USER], 0.0, [2]),
        ([USER, ANSWER, USER], 0.99, [1, 2]),
        ([USER, ANSWER, USER], 1.0, None),
        ([USER] * 10, 0.5, [5, 6, 7, 8, 9]),
        ([USER] * 10, 0.75, [3, 4, 5, 6, 7, 8, 9]),
        ([SYSTEM, USER, ANSWER, USER], 0.0, [0, 3]),
        ([SYSTEM, USER, SYSTEM, ANSWER, USER, SYSTEM], 0.0, [0, 2, 4, 5]),
        ([message("user", 1000), ANSWER, USER], 0.5, [1, 2]),
        ([message("system", 1000), USER, USER], 0.9, [0, 2]),
        ([message("system", 1000), USER, USER], 0.5, [0, 2]),
        # a call goes with its results, and stays with them
        ([USER, CALL, RESULT, RESULT, ANSWER, USER], 0.75, [4, 5]),
        ([USER, CALL, RESULT, CALL, RESULT], 0.0, [3, 4]),
        ([SYSTEM, USER, CALL, RESULT, RESULT], 0.0, [0, 2, 3, 4]),
        ([RESULT, RESULT, USER], 0.9, [2]),
        ([CALL, SYSTEM, RESULT, USER], 0.9, [1, 3]),
        # nothing can go
        ([USER], 0.0, None),
        ([SYSTEM, USER], 0.0, None),
        ([SYSTEM], 0.0, None),
        ([CALL, RESULT], 0.0, None),
        ([], 0.0, None),
    ],
)
def test_shortening(messages: list[dict[str, Any]], keep: float, expected: list[int] | None) -> None:
    """The oldest go until enough is left; the system's stay, the last, and results with their calls."""
    assert shortened(messages, keep) == expected


@pytest.mark.parametrize("document", [b"{}", b'{"messages":null}', b'{"messages":{}}', b"[]"])
def test_nothing_to_shorten(document: bytes) -> None:
    """A body without messages stays as it is."""
    assert chat.shorten(document, 0.0) is None


def test_roles_that_are_none() -> None:
    """Whatever stands among the messages can be counted and dropped."""
    assert (
        chat.shorten(b'{"messages":[{},7,{"role":1},{"role":"user"}]}', 0.0)
        == b'{"messages":[{"role":"user"}]}'
    )


@given(st.lists(st.sampled_from([SYSTEM, USER, ANSWER, CALL, RESULT]), max_size=12), st.floats(0, 1))
def test_any_shortening(messages: list[dict[str, Any]], keep: float) -> None:
    """What stays is in order, holds what has to stay, and opens with no result whose call is gone."""
    kept = shortened(messages, keep)
    if kept is None:
        return
    assert kept == sorted(kept)
    assert len(kept) < len(messages)
    assert len(messages) - 1 in kept
    assert {n for n, one in enumerate(messages) if one is SYSTEM} <= set(kept)
    first = next((messages[n] for n in kept if messages[n] is not SYSTEM), None)
    assert first is not RESULT
