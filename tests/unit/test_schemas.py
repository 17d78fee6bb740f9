"""The schemas take what Ollama answers, and refuse each of the mistakes by which its clients fail."""

from __future__ import annotations

from typing import Any

import pytest

from copilot_proxy.cards import Card
from copilot_proxy.dialects import listing
from tests.schemas import NAMES, check

Document = dict[str, Any]

NOW = {"model": "qwen3:8b", "created_at": "2026-11-22T12:00:00.123456789Z"}
TOOK = {
    "total_duration": 5_191_566_416,
    "load_duration": 2_154_458,
    "prompt_eval_count": 26,
    "prompt_eval_duration": 383_809_000,
    "eval_count": 298,
    "eval_duration": 4_799_921_000,
}
LAST = {"done": True, "done_reason": "stop", **TOOK}
CALL: Document = {
    "id": "call_ab12cd34",
    "function": {"index": 0, "name": "get_weather", "arguments": {"location": "Paris", "days": [1, 2]}},
}
LOGPROB = {"token": "ü", "logprob": -0.5, "bytes": [195, 188]}
DETAILS = {
    "parent_model": "",
    "format": "gguf",
    "family": "qwen3",
    "families": ["qwen3"],
    "parameter_size": "8.2B",
    "quantization_level": "Q4_K_M",
}
LISTED = {
    "name": "qwen3:8b",
    "model": "qwen3:8b",
    "size": 5_200_000_000,
    "digest": "a1" * 32,
    "details": DETAILS,
}
TAGGED = {**LISTED, "modified_at": "2026-11-22T13:00:00.5+01:00"}
RUNNING = {**LISTED, "expires_at": "2318-01-01T00:00:00+00:00", "size_vram": 0, "context_length": 8192}
SHOWN: Document = {
    "license": "MIT",
    "modelfile": "",
    "parameters": 'stop                           "<|im_end|>"',
    "template": "{{ .Prompt }}",
    "details": {**DETAILS, "families": None},
    "model_info": {
        "general.architecture": "qwen3",
        "qwen3.context_length": 40960,
        "tokenizer.ggml.tokens": [],
    },
    "capabilities": ["completion", "tools", "thinking"],
    "modified_at": "2026-11-22T12:00:00Z",
}
EMBEDDED = {
    "model": "all-minilm",
    "embeddings": [[0.1, -0.2], [1, 0]],
    "total_duration": 14_143_917,
    "load_duration": 1_019_500,
    "prompt_eval_count": 8,
}


def said(**message: Any) -> Document:
    """A line of a chat that is not the last."""
    return {**NOW, "message": {"role": "assistant", "content": "", **message}, "done": False}


def generated(**more: Any) -> Document:
    """A line of a generation that is not the last."""
    return {**NOW, "response": "The", "done": False, **more}


RIGHT: list[tuple[str, Document]] = [
    ("chat_line", said(content="The")),
    ("chat_line", said(thinking="Hm")),
    ("chat_line", said(tool_calls=[CALL])),
    ("chat_line", said(tool_calls=[{**CALL, "function": {**CALL["function"], "arguments": {}}}])),
    ("chat_line", {**said(content="ü"), "logprobs": [{**LOGPROB, "top_logprobs": [LOGPROB]}]}),
    ("chat_line", {**said(), **LAST}),
    ("chat_line", {**said(tool_calls=[CALL]), **LAST}),
    ("chat_line", {**said(), **LAST, "done_reason": "length"}),
    ("chat_line", {**said(), "done": True, "done_reason": "load"}),
    ("chat_whole", {**said(content="The sky", thinking="Hm", tool_calls=[CALL]), **LAST}),
    ("chat_whole", {**said(), "done": True, "done_reason": "unload"}),
    ("generate_line", generated()),
    ("generate_line", generated(response="", thinking="Hm")),
    ("generate_line", {**generated(response=""), **LAST, "context": [1, 2, 3]}),
    ("generate_line", {**generated(response=""), **LAST}),
    ("generate_whole", {**generated(), **LAST, "context": [1]}),
    ("generate_whole", {**generated(response=""), "done": True, "done_reason": "unload"}),
    ("error", {"error": "model 'x' not found"}),
    ("error", {"error": "unauthorized", "signin_url": "https://example.com"}),
    ("tags", {"models": []}),
    ("tags", {"models": [TAGGED, {**TAGGED, "capabilities": ["completion"]}]}),
    ("show", SHOWN),
    ("ps", {"models": []}),
    ("ps", {"models": [RUNNING]}),
    ("version", {"version": "0.33.0"}),
    ("embed", EMBEDDED),
    ("embed", {"model": "all-minilm", "embeddings": []}),
    ("embeddings", {"embedding": [0.5, -1]}),
    ("embeddings", {"embedding": []}),
    ("progress", {"status": "pulling manifest"}),
    (
        "progress",
        {"status": "pulling a1a1a1a1a1a1", "digest": "sha256:" + "a1" * 32, "total": 9, "completed": 3},
    ),
    ("progress", {"status": "pulling a1a1a1a1a1a1", "digest": "sha256:" + "a1" * 32, "total": 9}),
    ("progress", {"status": "success"}),
]


@pytest.mark.parametrize(("name", "document"), RIGHT)
def test_what_ollama_answers_is_taken(name: str, document: Document) -> None:
    check(name, document)


def test_every_schema_has_taken_something() -> None:
    assert {name for name, _ in RIGHT} == set(NAMES)


def without(document: Document, *keys: str) -> Document:
    return {key: value for key, value in document.items() if key not in keys}


def calling(**changed: Any) -> Document:
    """A line with a tool call whose members are changed: those of the function by their names."""
    function = {**CALL["function"], **without(changed, "id", "type")}
    outer = {key: changed[key] for key in ("id", "type") if key in changed}
    return said(tool_calls=[{**CALL, **outer, "function": function}])


WRONG: list[tuple[str, str, Document, str]] = [
    ("no done", "chat_line", without(said(), "done"), r"at \$: 'done' is a required"),
    ("done is a text", "chat_line", {**said(), "done": "true"}, r"\$\.done"),
    (
        "done without its reason",
        "chat_line",
        {**said(), **without(LAST, "done_reason")},
        "'done_reason' is a req",
    ),
    ("an unknown reason", "chat_line", {**said(), **LAST, "done_reason": "tool_calls"}, r"\$\.done_reason"),
    (
        "a reason before the end",
        "chat_line",
        {**said(), "done_reason": "stop"},
        "'done_reason' was unexpected",
    ),
    ("times before the end", "chat_line", {**said(), "eval_count": 1}, "'eval_count' was unexpected"),
    ("times of a load", "chat_line", {**said(), **LAST, "done_reason": "load"}, "were unexpected"),
    (
        "no count of tokens",
        "chat_line",
        {**said(), **without(LAST, "eval_count")},
        "'eval_count' is a required",
    ),
    ("a zero", "chat_line", {**said(), **LAST, "load_duration": 0}, r"\$\.load_duration"),
    ("a duration with a point", "chat_line", {**said(), **LAST, "eval_duration": 1.0}, r"\$\.eval_duration"),
    ("a truth for a count", "chat_line", {**said(), **LAST, "eval_count": True}, r"\$\.eval_count"),
    ("no message", "chat_line", without(said(), "message"), "'message' is a required"),
    ("no content", "chat_line", {**said(), "message": {"role": "assistant"}}, "'content' is a required"),
    ("null content", "chat_line", said(content=None), r"\$\.message\.content"),
    ("another role", "chat_line", said(role="user"), r"\$\.message\.role"),
    ("empty thinking", "chat_line", said(thinking=""), r"\$\.message\.thinking"),
    (
        "llama-server's name for it",
        "chat_line",
        said(reasoning_content="Hm"),
        "'reasoning_content' was unexp",
    ),
    ("null calls", "chat_line", said(tool_calls=None), r"\$\.message\.tool_calls"),
    ("no calls", "chat_line", said(tool_calls=[]), r"\$\.message\.tool_calls"),
    ("arguments as a text", "chat_line", calling(arguments='{"location"'), r"function\.arguments"),
    ("no arguments", "chat_line", calling(arguments=None), r"function\.arguments"),
    ("an id that is a number", "chat_line", calling(id=1), r"tool_calls\[0\]\.id"),
    ("an empty id", "chat_line", calling(id=""), r"tool_calls\[0\]\.id"),
    ("OpenAI's type", "chat_line", calling(type="function"), "'type' was unexpected"),
    ("an index below 0", "chat_line", calling(index=-1), r"function\.index"),
    ("OpenAI's key", "chat_line", {**said(), "choices": []}, "'choices' was unexpected"),
    ("an error among others", "chat_line", {**said(), "error": None}, "'error' was unexpected"),
    ("a local time", "chat_line", {**said(), "created_at": "2026-11-22T12:00:00+01:00"}, r"\$\.created_at"),
    ("seconds for a time", "chat_line", {**said(), "created_at": 1_795_000_000}, r"\$\.created_at"),
    ("a likelihood above 1", "chat_line", {**said(), "logprobs": [{**LOGPROB, "logprob": 0.1}]}, "logprob"),
    ("a whole chat that goes on", "chat_whole", said(), r"\$\.done"),
    ("a whole generation that goes on", "generate_whole", generated(), r"\$\.done"),
    ("no response", "generate_line", without(generated(), "response"), "'response' is a required"),
    ("a chat's message", "generate_line", generated(message={}), "'message' was unexpected"),
    ("a context before the end", "generate_line", generated(context=[1]), "'context' was unexpected"),
    ("an empty context", "generate_line", {**generated(), **LAST, "context": []}, r"\$\.context"),
    ("OpenAI's error", "error", {"error": {"message": "x"}}, r"\$\.error"),
    ("an error without a text", "error", {"error": ""}, r"\$\.error"),
    ("a line that has an error", "error", {"error": "x", "done": True}, "'done' was unexpected"),
    ("null models", "tags", {"models": None}, r"\$\.models"),
    (
        "a model without a name",
        "tags",
        {"models": [without(TAGGED, "model")]},
        r"models\[0\]: 'model' is a r",
    ),
    ("a short digest", "tags", {"models": [{**TAGGED, "digest": "a1"}]}, r"models\[0\]\.digest"),
    (
        "a digest with its kind",
        "tags",
        {"models": [{**TAGGED, "digest": "sha256:" + "a1" * 32}]},
        r"\.digest",
    ),
    ("a size with a unit", "tags", {"models": [{**TAGGED, "size": "5 GB"}]}, r"\.size"),
    ("null details", "tags", {"models": [{**TAGGED, "details": None}]}, r"\.details"),
    ("a model that expires", "tags", {"models": [{**TAGGED, "expires_at": NOW["created_at"]}]}, "expires_at"),
    ("no model_info", "show", without(SHOWN, "model_info"), "'model_info' is a required"),
    ("null model_info", "show", {**SHOWN, "model_info": None}, r"\$\.model_info"),
    ("no architecture", "show", {**SHOWN, "model_info": {}}, "'general.architecture' is a required"),
    (
        "a context as a text",
        "show",
        {**SHOWN, "model_info": {**SHOWN["model_info"], "qwen3.context_length": "1"}},
        "1",
    ),
    ("a list of licenses", "show", {**SHOWN, "license": ["MIT"]}, r"\$\.license"),
    ("an unknown capability", "show", {**SHOWN, "capabilities": ["chat"]}, r"\$\.capabilities\[0\]"),
    ("no end", "ps", {"models": [without(RUNNING, "expires_at")]}, "'expires_at' is a required"),
    ("a version with more", "version", {"version": "0.33.0-rc2"}, r"\$\.version"),
    ("one vector", "embed", {**EMBEDDED, "embeddings": [0.1]}, r"\$\.embeddings\[0\]"),
    ("no times", "embed", {"model": "m", "embeddings": [[1]]}, "is a required"),
    ("null in a vector", "embeddings", {"embedding": [None]}, r"\$\.embedding\[0\]"),
    ("a model's name", "embeddings", {"embedding": [1], "model": "m"}, "'model' was unexpected"),
    ("no status", "progress", {"digest": "sha256:" + "a1" * 32}, "'status' is a required"),
    ("another status", "progress", {"status": "done"}, r"\$\.status"),
    (
        "bytes of nothing",
        "progress",
        {"status": "success", "total": 1},
        "'digest' is a dependency of 'total'",
    ),
]


@pytest.mark.parametrize(
    ("name", "document", "complaint"),
    [pytest.param(*row, id=f"{row[0]}: {case}") for case, *row in WRONG],
)
def test_what_breaks_a_client_is_refused(name: str, document: Document, complaint: str) -> None:
    """And the place is named."""
    with pytest.raises(AssertionError, match=complaint) as raised:
        check(name, document)
    assert str(raised.value).startswith(f"{name}, at $")


@pytest.mark.parametrize("context", [8192, None])
def test_our_own_listings_are_taken(context: int | None) -> None:
    """What the proxy adds to a model in its listings is known, and the rest is Ollama's."""
    card = Card(
        id="m",
        name="m",
        capabilities=("completion", "tools", "planAndExecute"),
        context_length=context,
        size=5,
        parameters=7_241_732_096,
        quantization="Q4_K_M",
        template="t",
        modified_at="2026-11-22T12:00:00+00:00",
    )
    check("tags", listing.tags([card]))
    check("ps", listing.ps([card]))
    check("show", listing.show(card, {}))
    check("version", {"version": listing.OLLAMA_VERSION})


def test_an_unknown_schema_is_no_pass() -> None:
    with pytest.raises(KeyError):
        check("chat", {})
