"""How does the VS Code extension `Ollama.ollama` find a model, ask it, and read the answer?

Written from its sources (provider.ts, convert.ts, chatFetch.ts). What would break the extension raises here.
"""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from tests.real.client import Answer, ask, asking
from tests.real.processes import Server

HEADERS = {
    "Content-Type": "application/json",
    "Accept": "application/json",
    "User-Agent": "ollama-js/0.6.3 (x64 linux Node.js/v22.0.0)",
}
# the extension passes on what VS Code put into a request's model options
OPTIONS = {"temperature": 0, "_capturingTokenCorrelationId": "1f0c", "_otelTraceContext": None}
_FIRST_POLL, _LAST_POLL = 0.025, 0.5  # seconds between two looks at /api/ps


class Model(NamedTuple):
    """What it has found, and offers in the model picker."""

    id: str
    tools: bool
    vision: bool
    max_input: int
    max_output: int


class Reading(NamedTuple):
    """One answer, as it is handed to VS Code."""

    text: str
    calls: list[dict[str, Any]]
    usage: tuple[int, int]
    lines: list[dict[str, Any]]


def discover(server: Server) -> list[Model]:
    """Its discovery, in its order; the models are shown all at once."""
    ask(server, "GET", "/api/version", headers=HEADERS)
    tags = _document(ask(server, "GET", "/api/tags", headers=HEADERS))["models"]
    recommended = _document(ask(server, "GET", "/api/experimental/model-recommendations", headers=HEADERS))
    assert isinstance(recommended["recommendations"], list)
    with ThreadPoolExecutor(4) as pool:
        shows = list(pool.map(lambda tag: _show(server, tag["model"]), tags))
    return [_model(tag, show) for tag, show in zip(tags, shows, strict=True)]


def _document(answer: Answer) -> Any:
    assert answer.status == 200, answer.body
    return answer.json


def _show(server: Server, name: str) -> Any:
    return _document(ask(server, "POST", "/api/show", {"model": name, "verbose": False}, HEADERS))


def _model(tag: dict[str, Any], show: dict[str, Any]) -> Model:
    assert tag["name"] == tag["model"] != ""
    assert "remote_host" not in tag
    assert "num_ctx" not in show["parameters"] + show["modelfile"], "it would win over everything else"
    capabilities = {name.lower() for name in (*tag.get("capabilities", ()), *show["capabilities"])}
    context = tag.get("context_length") or next(
        (value for key, value in show["model_info"].items() if key.endswith(".context_length")), 32768
    )
    output = tag.get("max_output_tokens", 4096)
    return Model(
        tag["model"],
        not capabilities.isdisjoint({"tools", "tool"}),
        not capabilities.isdisjoint({"vision", "image"}),
        context - output,
        output,
    )


def chat(server: Server, model: str, messages: list[Any], tools: list[Any], think: Any = None) -> Reading:
    """A chat; until its head is there, /api/ps is asked for the model's context again and again."""
    body = {"model": model, "messages": messages, "stream": True, "options": OPTIONS}
    body |= {"tools": tools} if tools else {}
    body |= {} if think is None else {"think": think}
    answered = threading.Event()
    poller = threading.Thread(target=_polls, args=(server, model, answered))
    poller.start()
    try:
        with asking(server, "POST", "/api/chat", body, HEADERS) as response:
            answered.set()
            assert response.status == 200, response.read()
            return _read(response.read().decode())
    finally:
        answered.set()
        poller.join()


def _polls(server: Server, model: str, answered: threading.Event) -> None:
    pause = _FIRST_POLL
    while not answered.wait(pause):
        pause = min(2 * pause, _LAST_POLL)
        running = _document(ask(server, "GET", "/api/ps", headers=HEADERS))["models"]
        assert all(one["context_length"] for one in running if model in (one["name"], one["model"]))


def _read(body: str) -> Reading:
    assert body.endswith("\n")
    lines = [json.loads(line) for line in body[:-1].split("\n")]
    for line in lines:
        assert "error" not in line, line
    assert [line["done"] for line in lines] == [False] * (len(lines) - 1) + [True]
    calls = [call for line in lines for call in line["message"].get("tool_calls", ())]
    assert all(isinstance(call["function"]["arguments"], dict) for call in calls)
    last = lines[-1]
    return Reading(
        "".join(line["message"]["content"] for line in lines),
        calls,
        (last["prompt_eval_count"], last["eval_count"]),
        lines,
    )


def turn(reading: Reading) -> dict[str, Any]:
    """The assistant's message in the next request: thoughts are never sent back."""
    calls = [
        {
            "id": call["id"],
            "function": {"name": call["function"]["name"], "arguments": call["function"]["arguments"]},
        }
        for call in reading.calls
    ]
    return {"role": "assistant", "content": reading.text, "tool_calls": calls}


def results(reading: Reading) -> list[dict[str, Any]]:
    """What the tools answer."""
    return [{"role": "tool", "content": "print('é')\n", "tool_call_id": call["id"]} for call in reading.calls]
