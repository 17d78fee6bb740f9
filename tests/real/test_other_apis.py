"""Do OpenAI's other APIs and Anthropic's, which are llama-server's own, pass through to their clients?"""

from __future__ import annotations

import json
from typing import Any

import pytest

from copilot_proxy.embedded.tiny.vocabulary import FIRST_SENTENCE
from tests.real.client import ask, asking, busy_slots, until_free
from tests.real.conftest import StartLlama, StartProxy
from tests.real.processes import Server, until
from tests.real.test_openai_client import connected

ANTHROPIC = {"x-api-key": "none", "anthropic-version": "2023-06-01"}
TOOL = {"name": "f", "description": "d", "input_schema": {"type": "object", "properties": {}}}


def message(text: str, **more: Any) -> dict[str, Any]:
    """A request to /v1/messages."""
    words = [{"role": "user", "content": text}]
    return {"model": "TINY:latest", "max_tokens": 200, "temperature": 0, "messages": words, **more}


def anthropic_events(body: bytes) -> list[Any]:
    """The data of each event, which has a name that is its type."""
    *blocks, rest = body.decode().split("\n\n")
    assert rest == ""
    found = []
    for block in blocks:
        name, data = block.split("\n")
        found.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {found[-1]['type']}"
    return found


def test_responses(running: Server) -> None:
    """The SDK of OpenAI gets a response, whole and as a stream, under any spelling of the model's name."""
    with connected(running) as client:
        api = client.responses
        whole = api.create(model="tiny:latest", input="Who are you?", temperature=0)
        events = list(api.create(model="Tiny", input="Who are you?", temperature=0, stream=True))
    assert whole.output_text == FIRST_SENTENCE
    assert "".join(one.delta for one in events if one.type == "response.output_text.delta") == FIRST_SENTENCE
    assert events[0].type == "response.created"
    assert events[-1].type == "response.completed"


def test_responses_with_a_tool(running: Server) -> None:
    """A tool is called with an object as its arguments."""
    tool: Any = {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}
    with connected(running) as client:
        said = client.responses.create(model="tiny", input="CALL_TOOL", tools=[tool], temperature=0)
    (call,) = (item for item in said.output if item.type == "function_call")
    assert call.name == "f"
    assert isinstance(json.loads(call.arguments), dict)


@pytest.mark.parametrize("query", ["", "?beta=true"])
def test_messages(running: Server, query: str) -> None:
    """Anthropic's API is answered, whole and as a stream of its own events."""
    whole = ask(running, "POST", f"/v1/messages{query}", message("Who are you?"), ANTHROPIC)
    assert whole.status == 200, whole.body
    assert [part["text"] for part in whole.json["content"] if part["type"] == "text"] == [FIRST_SENTENCE]
    body = message("Who are you?", stream=True)
    answer = ask(running, "POST", f"/v1/messages{query}", body, ANTHROPIC)
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    events = anthropic_events(answer.body)
    assert events[0]["type"] == "message_start"
    assert events[-1]["type"] == "message_stop"
    text = [event["delta"].get("text", "") for event in events if event["type"] == "content_block_delta"]
    assert "".join(text) == FIRST_SENTENCE


def test_messages_with_a_tool(running: Server) -> None:
    """A tool is called, and its input is an object."""
    answer = ask(running, "POST", "/v1/messages", message("CALL_TOOL", tools=[TOOL]), ANTHROPIC)
    (call,) = (part for part in answer.json["content"] if part["type"] == "tool_use")
    assert call["name"] == "f"
    assert isinstance(call["input"], dict)
    assert answer.json["stop_reason"] == "tool_use"


def test_tokens_of_a_message(running: Server) -> None:
    """Claude Code asks how long a message is before it sends it."""
    answer = ask(running, "POST", "/v1/messages/count_tokens", message("Who are you?"), ANTHROPIC)
    assert answer.json["input_tokens"] > 3


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/messages", message("TALK_LONG", stream=True, max_tokens=30000)),
        ("/v1/responses", {"model": "tiny", "input": "TALK_LONG", "stream": True}),
    ],
)
def test_client_that_leaves(
    start_llama: StartLlama, start_proxy: StartProxy, path: str, body: dict[str, Any]
) -> None:
    """The slot of a stream is free again when its client has left."""
    llama = start_llama()
    with asking(start_proxy(llama.url), "POST", path, body) as response:
        assert response.readline()
        until(lambda: busy_slots(llama) == 1, "the slot is busy")
    until_free(llama)


def test_embeddings(start_llama: StartLlama, start_proxy: StartProxy) -> None:
    """The SDK of OpenAI gets embeddings, which it asks for in base64."""
    with connected(start_proxy(start_llama("--embeddings").url)) as client:
        found = client.embeddings.create(model="tiny:latest", input=["one", "two"])
        plain = client.embeddings.create(model="tiny", input="one", encoding_format="float")
    assert [len(row.embedding) for row in found.data] == [128, 128]
    assert plain.data[0].embedding == pytest.approx(found.data[0].embedding, abs=1e-4)
    assert plain.usage.prompt_tokens > 0


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/responses", "/v1/embeddings"])
def test_refusal(running: Server, path: str) -> None:
    """What llama-server refuses is refused with its own status and words."""
    answer = ask(running, "POST", path, {"model": "tiny"})
    assert answer.status in (400, 500, 501)
    assert answer.json["error"]["message"]


def test_large_form(running: Server) -> None:
    """A body that curl calls a form is JSON all the same, also one of more than 1 MiB."""
    body = json.dumps(message("Who are you?", metadata={"pad": "x" * 2_000_000})).encode()
    for path in ("/v1/chat/completions", "/v1/messages"):
        answer = ask(running, "POST", path, body, {"Content-Type": "application/x-www-form-urlencoded"})
        assert answer.status == 200, answer.body
