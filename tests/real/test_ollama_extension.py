"""Does Copilot's agent mode work with the extension `Ollama.ollama`, which speaks Ollama's own API?"""

from __future__ import annotations

import json

from tests.real import extension
from tests.real.client import ask
from tests.real.processes import Server
from tests.real.test_generations import AS_WRITTEN, NAMES, TOOLS, asked, prompt

# as the extension writes a schema that VS Code has none for
TOOLS_OF_THE_EXTENSION = [
    {**tool, "function": {**tool["function"], "parameters": tool["function"].get("parameters", {})}}
    for tool in AS_WRITTEN
]


def test_discovery(llama: Server, running: Server) -> None:
    """It finds the model with tools, and with the context that a slot really has."""
    (model,) = extension.discover(running)
    n_ctx = ask(llama, "GET", "/props").json["default_generation_settings"]["n_ctx"]
    assert model == extension.Model("tiny", True, False, n_ctx - 4096, 4096)


def test_ask(running: Server) -> None:
    """A question is answered in text, with what it cost."""
    said = extension.chat(running, "tiny", asked("Who are you?"), [])
    assert said.text.startswith("I am a tiny")
    assert all(count > 0 for count in said.usage)


def test_agents_turn(running: Server) -> None:
    """Two tools are called with ids of their own, and after their results comes the answer."""
    messages = asked("CALL_TOOL CALL_TOOL")
    called = extension.chat(running, "tiny", messages, TOOLS_OF_THE_EXTENSION)
    assert len(called.calls) == 2
    assert {call["function"]["name"] for call in called.calls} <= NAMES
    assert len({call["id"] for call in called.calls}) == 2
    messages += [extension.turn(called), *extension.results(called)]
    final = extension.chat(running, "tiny", messages, TOOLS_OF_THE_EXTENSION)
    assert final.text
    assert final.calls == []
    messages += [{"role": "assistant", "content": final.text}, {"role": "user", "content": "Who are you?"}]
    assert extension.chat(running, "tiny", messages, TOOLS_OF_THE_EXTENSION).text


def test_reasoning_survives_the_turn(llama: Server, running: Server) -> None:
    """What was thought before a call is in llama-server's next prompt, although it is never sent back."""
    messages = asked("THINK_FIRST CALL_TOOL")
    called = extension.chat(running, "tiny", messages, TOOLS_OF_THE_EXTENSION)
    thoughts = "".join(line["message"].get("thinking", "") for line in called.lines)
    assert thoughts
    assert called.text == ""
    follow = [*messages, extension.turn(called), *extension.results(called)]
    final = extension.chat(running, "tiny", follow, TOOLS_OF_THE_EXTENSION)

    calls = [
        {
            "id": one["id"],
            "type": "function",
            "function": {**one["function"], "arguments": json.dumps(one["function"]["arguments"])},
        }
        for one in extension.turn(called)["tool_calls"]
    ]
    assert calls
    turn = {"role": "assistant", "content": "", "tool_calls": calls}
    results = extension.results(called)
    _, tokens = prompt(llama, [*messages, {**turn, "reasoning_content": thoughts}, *results], TOOLS)
    assert final.usage[0] == tokens
    _, without = prompt(llama, [*messages, turn, *results], TOOLS)
    assert tokens > without


def test_think_levels(running: Server) -> None:
    """Every value of its setting for thinking is taken."""
    for think in (True, False, "low", "medium", "high", "max"):
        said = extension.chat(running, "tiny", asked("THINK_FIRST Who are you?"), [], think)
        assert said.text
        thoughts = "".join(line["message"].get("thinking", "") for line in said.lines)
        assert bool(thoughts) == (think is not False)
