"""Does a real llama.cpp take what Ollama's requests are made into?"""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec import Raw

from copilot_proxy.dialects.ollama import chat, generate
from copilot_proxy.dialects.ollama.options import OPTIONS, to_llama
from copilot_proxy.dialects.ollama.requests import read_chat, read_generate
from copilot_proxy.embedded.tiny.vocabulary import FIRST_SENTENCE
from tests.real.client import JSON, ask, chunks, events, text_of
from tests.real.processes import Server

CONTEXT = 32768
GREEDY = {"temperature": 0, "seed": 1}
USER = {"role": "user", "content": "Who are you?"}
SCHEMA = {"type": "object", "properties": {"b": {"type": "string"}}, "required": ["b"]}

# Values at the edges of what Ollama takes, each of which llama.cpp b11549 would refuse as it is
EDGES = [
    {"repeat_last_n": -1},
    {"repeat_last_n": 2**31},
    {"num_predict": -2},
    {"num_keep": -2},
    {"num_keep": 2**31},
]
USUAL = [
    {"temperature": 0, "top_k": 20, "top_p": 1, "min_p": 0.05, "typical_p": 0.7, "seed": 42},
    {"repeat_penalty": 1.1, "presence_penalty": 1.5, "frequency_penalty": 1, "repeat_last_n": 0},
    {"num_keep": 24, "num_predict": 5, "stop": ["\n", "user:"], "num_ctx": 8192, "use_mmap": True},
    {"num_predict": 0, "stop": "x"},
    {"mirostat": 1, "mirostat_tau": 0.8, "mirostat_eta": 0.6, "penalize_newline": True, "numa": False},
]


def said(model: str = "tiny", **members: Any) -> bytes:
    return json.dumps({"model": model, **members}, separators=(",", ":")).encode()


def chat_body(*, thinks: bool = False, context_length: int | None = CONTEXT, **members: Any) -> bytes:
    request = read_chat(said(**{"messages": [USER], "options": GREEDY, **members}))
    return chat.body(
        request,
        model="tiny",
        thinks=thinks,
        template="",
        context_length=context_length,
        reasoning=lambda call_id: None,
    )


def streamed(llama: Server, body: bytes) -> list[dict[str, Any]]:
    answer = ask(llama, "POST", "/v1/chat/completions", body, JSON)
    assert answer.status == 200, answer.body
    return chunks(answer.body)


def completed(llama: Server, path: str, body: bytes) -> list[dict[str, Any]]:
    answer = ask(llama, "POST", path, body, JSON)
    assert answer.status == 200, answer.body
    return [json.loads(event) for event in events(answer.body)]


def generated(
    llama: Server, prompt: Any, context_length: int | None = CONTEXT, **members: Any
) -> list[dict[str, Any]]:
    request = read_generate(said(**{"prompt": "p", "options": GREEDY, **members}))
    body = generate.completion_body(request, model="tiny", prompt=prompt, context_length=context_length)
    return completed(llama, "/completion", body)


@pytest.mark.parametrize("context_length", [CONTEXT, None])
@pytest.mark.parametrize("options", [{}, *EDGES, *USUAL])
def test_options(llama: Server, options: dict[str, Any], context_length: int | None) -> None:
    """Every option is taken, by a chat and by a completion, whether or not the context is known."""
    streamed(llama, chat_body(options=options, context_length=context_length))
    generated(llama, "x", context_length, options=options)


def test_options_have_their_effect(llama: Server) -> None:
    """What llama.cpp says that it used is what was sent, field by field: no name is unknown to it."""
    options = {
        option.name: {"integer": 1, "float32": 0.5, "array": ["x"]}[option.type]
        for option in OPTIONS
        if option.field is not None
    }
    body = {"prompt": "x", "stream": True, **to_llama(Raw(json.dumps(options)), context_length=CONTEXT)}
    used = completed(llama, "/completion", json.dumps(body).encode())[-1]["generation_settings"]
    for option in OPTIONS:
        if option.field is not None:
            assert used[option.field] == pytest.approx(options[option.name])


@pytest.mark.parametrize(
    "members",
    [
        {"tools": [{"function": {"name": "f"}}]},
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": SCHEMA}}], "format": "json"},
        {"format": SCHEMA},
        {"format": {}},
        {"format": "json"},
        {"think": "max"},
        {"think": False},
        {"thinks": True},
        {"logprobs": True},
        {"logprobs": True, "top_logprobs": 20},
        {
            "messages": [
                {"role": "System"},
                {"role": "user", "images": []},
                {"role": "control", "content": "c"},
                USER,
            ]
        },
    ],
)
def test_chats(llama: Server, members: dict[str, Any]) -> None:
    """Each kind of chat is answered, with its use of tokens at the end."""
    answer = streamed(llama, chat_body(**members))
    assert text_of(answer)
    assert answer[-1]["usage"]["completion_tokens"] > 0


def test_a_call_and_its_result(llama: Server) -> None:
    """A call comes back as Home Assistant sends it, with neither ids nor names, and is answered."""
    tools = [{"type": "function", "function": {"name": "f", "parameters": SCHEMA}}]
    asked = {"role": "user", "content": "CALL_TOOL CALL_TOOL"}
    answer = streamed(llama, chat_body(messages=[asked], tools=tools))
    assert answer[-2]["choices"][0]["finish_reason"] == "tool_calls"
    calls = {"tool_calls": [{"function": {"name": "f", "arguments": {"b": "v"}}}] * 2}
    results = [{"role": "tool", "content": "1"}, {"role": "tool", "content": "2"}]
    after = streamed(
        llama, chat_body(messages=[asked, {"role": "assistant", **calls}, *results], tools=tools)
    )
    assert text_of(after) == FIRST_SENTENCE


def test_shortened(llama: Server) -> None:
    """A chat that is too long is refused, and answered when it has been shortened enough."""
    long = {"role": "user", "content": "word " * 30000}
    body = chat_body(messages=[long, {"role": "assistant", "content": "a"}, USER])
    assert ask(llama, "POST", "/v1/chat/completions", body, JSON).status == 400
    shorter = chat.shorten(body, 0.5)
    assert shorter is not None
    assert text_of(streamed(llama, shorter)) == FIRST_SENTENCE


def test_a_generate(llama: Server) -> None:
    """A generate is a chat; rendered by /apply-template, and with tokens before it, it is a completion."""
    request = read_generate(said(prompt="Who are you?", system="s", options=GREEDY))
    body = generate.chat_body(request, model="tiny", thinks=False, template="", context_length=CONTEXT)
    assert text_of(streamed(llama, body)) == FIRST_SENTENCE
    rendered = ask(llama, "POST", "/apply-template", body, JSON).json["prompt"]
    assert rendered.startswith("<|im_start|>system\ns<|im_end|>")
    for prompt in (rendered, [1, 2, 3, rendered]):
        pieces = generated(llama, prompt)
        assert "".join(piece["content"] for piece in pieces) == FIRST_SENTENCE
        assert all(piece["tokens"] for piece in pieces[:-1])
        assert pieces[-1]["stop_type"] == "eos"


@pytest.mark.parametrize("seed", range(8))
def test_json(llama: Server, seed: int) -> None:
    """JSON is an object for a completion, whatever the model would rather say."""
    options = {"temperature": 4, "top_k": 0, "top_p": 1, "seed": seed, "num_predict": 300}
    pieces = generated(llama, "Say [1, 2", format="json", options=options)
    text = "".join(piece["content"] for piece in pieces)
    assert text.startswith("{")
    if pieces[-1]["stop_type"] == "eos":
        assert isinstance(json.loads(text), dict)


def test_a_schema(llama: Server) -> None:
    """A completion keeps to a schema, and so does the filling of a gap."""
    pieces = generated(llama, "x", format=SCHEMA)
    assert list(json.loads("".join(piece["content"] for piece in pieces))) == ["b"]
    request = read_generate(said(prompt="p", suffix="s", format=SCHEMA, options=GREEDY))
    body = generate.infill_body(request, model="tiny", context_length=CONTEXT)
    pieces = completed(llama, "/infill", body)
    assert list(json.loads("".join(piece["content"] for piece in pieces))) == ["b"]


@pytest.mark.parametrize("members", [{}, {"logprobs": True, "top_logprobs": 2}])
def test_a_gap(llama: Server, members: dict[str, Any]) -> None:
    """A gap is filled by a model that has tokens for that, with its tokens, and with logprobs where asked."""
    request = read_generate(said(prompt="def f():\n", suffix="\n", options=GREEDY, **members))
    body = generate.infill_body(request, model="tiny", context_length=CONTEXT)
    pieces = completed(llama, "/infill", body)
    assert "".join(piece["content"] for piece in pieces) == FIRST_SENTENCE
    assert all(piece["tokens"] for piece in pieces[:-1])
    assert all(("completion_probabilities" in piece) is bool(members) for piece in pieces[:-1])


def test_images(llama: Server) -> None:
    """The demo's model sees nothing, and llama.cpp says so: it has understood both shapes."""
    request = read_generate(said(prompt="p", images=["QUJD"]))
    body = generate.chat_body(request, model="tiny", thinks=False, template="", context_length=CONTEXT)
    assert b"image input is not supported" in ask(llama, "POST", "/v1/chat/completions", body, JSON).body
    body = generate.completion_body(request, model="tiny", prompt="p", context_length=CONTEXT)
    assert b"does not support multimodal" in ask(llama, "POST", "/completion", body, JSON).body
