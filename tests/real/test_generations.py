"""Does each generation of Copilot's clients find a model, use its tools and read its answers, to the end?"""

import json
from typing import Any

import pytest

from copilot_proxy.embedded.tiny.vocabulary import FIRST_SENTENCE
from tests.real.client import ask
from tests.real.copilots import CLI, GENERATIONS, JetBrains
from tests.real.generations import (
    Generation,
    Messages,
    Model,
    Said,
    VSCode029,
    VSCode037,
    VSCode042,
    VSCode067,
)
from tests.real.processes import Server
from tests.unit.copilot_request import WITHOUT_PARAMETERS, agent_request
from tests.unit.stream_writer import keeps_the_checklist

AS_WRITTEN = [
    tool
    for tool in agent_request()["tools"]
    if tool["function"]["name"] in ("read_file", "list_dir", WITHOUT_PARAMETERS[0])
]
EMPTY = {"type": "object", "properties": {}}
TOOLS = [
    {**tool, "function": {**tool["function"], "parameters": tool["function"].get("parameters", EMPTY)}}
    for tool in AS_WRITTEN
]
NAMES = {tool["function"]["name"] for tool in TOOLS}
SYSTEM = {"role": "system", "content": "You are a programmer's assistant."}
SENDS_REASONING = (VSCode042, VSCode067, JetBrains, CLI)
"""Those that send back in the next request what the model thought before its tool call."""

everyone = pytest.mark.parametrize("generation", GENERATIONS, ids=lambda generation: generation.name)


def asked(*texts: str) -> Messages:
    """The conversation's begin; VS Code writes the environment as a user message of its own."""
    return [
        SYSTEM,
        *({"role": "user", "content": text} for text in ("<environment>Linux</environment>", *texts)),
    ]


def tools(client: Generation) -> list[Any]:
    """The client's tools: before 0.31 one without parameters has no such key, later the client fills it."""
    return AS_WRITTEN if type(client) is VSCode029 else TOOLS


def found(client: Generation, server: Server) -> Model:
    (model,) = client.discover(server)
    return model


def answered(client: Generation, server: Server, messages: Messages, tools: list[Any]) -> Said:
    """An answer that the client's user sees, and that keeps the contract's checklist."""
    said = client.chat(server, found(client, server).id, messages, tools)
    assert said.failure is None, f"{client.name}: {said.failure}"
    keeps_the_checklist(said.body)
    return said


def results(said: Said) -> Messages:
    """What the client's tools answer."""
    return [{"role": "tool", "tool_call_id": call, "content": "print('é')\n"} for call in said.reading.ids]


def prompt_tokens(said: Said) -> int:
    """How many tokens of prompt llama-server had, with those that it had cached."""
    (timings,) = (
        chunk["timings"]
        for line in said.body.decode().split("\n")
        if line.startswith("data: {") and (chunk := json.loads(line[6:])).get("timings")
    )
    return int(timings["prompt_n"] + timings["cache_n"])


def prompt(llama: Server, messages: Messages, tools: list[Any]) -> tuple[str, int]:
    """What llama-server itself makes of a chat, and how many tokens that is."""
    text = ask(llama, "POST", "/apply-template", {"messages": messages, "tools": tools}).json["prompt"]
    options = {"add_special": True, "parse_special": True}
    return text, len(ask(llama, "POST", "/tokenize", {"content": text, **options}).json["tokens"])


@everyone
def test_discovery(generation: type[Generation], llama: Server, running: Server) -> None:
    """A1 to A4: each finds the one model by its name, with tools, and the context that a slot really has."""
    client = generation()
    model = found(client, running)
    assert (model.name, model.tools) == ("tiny", True)
    if not isinstance(client, CLI):
        n_ctx = ask(llama, "GET", "/props").json["default_generation_settings"]["n_ctx"]
        assert model.max_input == n_ctx - 4096
    assert model.id == ("0" if isinstance(client, VSCode037) else "tiny")


@everyone
def test_ask(generation: type[Generation], running: Server) -> None:
    """B1, B5, C: a question of each is answered in whole sentences."""
    client = generation()
    said = answered(client, running, asked("Who are you?"), [])
    assert said.reading.text.startswith("I am a tiny")
    assert said.reading.thoughts == ""
    if isinstance(client, JetBrains):  # the only one that asks for temperature 0
        assert said.reading.text == FIRST_SENTENCE


@everyone
def test_agents_turn(generation: type[Generation], running: Server) -> None:
    """C5 to C7: two tool calls with ids of their own, their results, and the answer in text."""
    client = generation()
    messages = asked("CALL_TOOL CALL_TOOL")
    called = answered(client, running, messages, tools(client))
    assert len(called.reading.calls) == 2
    assert all(name in NAMES and isinstance(given, dict) for name, given in called.reading.calls)
    assert len(set(called.reading.ids)) == 2
    assert all(called.reading.ids)
    messages += [client.turn(called), *results(called)]
    final = answered(client, running, messages, tools(client))
    assert final.reading.text
    assert final.reading.calls == []
    messages += [
        {"role": "assistant", "content": final.reading.text},
        {"role": "user", "content": "Who are you?"},
    ]
    assert answered(client, running, messages, tools(client)).reading.text


@everyone
def test_reasoning(generation: type[Generation], running: Server) -> None:
    """C8: each gets what the model thought, apart from what it answers."""
    client = generation()
    said = answered(client, running, asked("THINK_FIRST"), [])
    assert said.reading.thoughts.count("I am a tiny") == 1
    assert said.reading.text.count("I am a tiny") == 1
    assert "think>" not in said.reading.text


@everyone
def test_reasoning_comes_back(generation: type[Generation], llama: Server, running: Server) -> None:
    """B4: what was thought before a tool call is in llama-server's next prompt, to the very token."""
    client = generation()
    messages = asked("THINK_FIRST CALL_TOOL")
    called = answered(client, running, messages, tools(client))
    thoughts = called.reading.thoughts
    assert thoughts
    assert len(called.reading.calls) == 1
    turn = client.turn(called)
    assert (thoughts in turn.values()) == (generation in SENDS_REASONING)
    final = answered(client, running, [*messages, turn, *results(called)], tools(client))
    assert final.reading.text

    plain = {"role": "assistant", "content": turn["content"], "tool_calls": turn["tool_calls"]}
    sent_back = {"reasoning_content": thoughts} if generation in SENDS_REASONING else {}
    text, tokens = prompt(llama, [*messages, {**plain, **sent_back}, *results(called)], TOOLS)
    assert (thoughts in text) == (generation in SENDS_REASONING)
    assert prompt_tokens(final) == tokens
    _, without = prompt(llama, [*messages, plain, *results(called)], TOOLS)
    assert (tokens > without) == (generation in SENDS_REASONING)


@everyone
def test_too_long(generation: type[Generation], running: Server) -> None:
    """C3, D1: over the context, a chat is refused with a status whose text each reads."""
    client = generation()
    said = client.chat(running, found(client, running).id, asked("machine " * 33_000), [])
    assert "exceeds the available context size" in (said.failure or "")


def test_digest_is_a_key_of_the_cache(running: Server) -> None:
    """A2: the language server keeps a show as long as the digest of the model stays, and it does stay."""
    client = JetBrains()
    first = found(client, running)
    assert len(client.known) == 1
    (digest,) = client.known
    assert len(digest) == 64
    assert found(client, running) == first
    assert len(client.known) == 1


def test_all_at_once(running: Server) -> None:
    """Every generation talks over one port at the same time as the others, turn by turn."""
    clients = [generation() for generation in GENERATIONS]
    for text in ("Who are you?", "THINK_FIRST"):
        said = [answered(client, running, asked(text), []) for client in clients]
        assert all(one.reading.text for one in said)
    assert {type(client).path for client in clients} == {"/v1/chat/completions", "/chat/completions"}
    assert VSCode029().base == "/"
