"""The published `ollama` client for JavaScript, which the VS Code extension contains, against the proxy."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from copilot_proxy.embedded.tiny.vocabulary import FIRST_SENTENCE
from tests.real.client import until_free
from tests.real.processes import DEADLINE, ROOT, Server

SCRIPT = ROOT / "tests/js/ollama.js"


@pytest.fixture(scope="module")
def found(running: Server) -> Any:
    """What the client has read of everything that it was asked for."""
    done = subprocess.run(
        ["node", SCRIPT, running.url], capture_output=True, text=True, timeout=4 * DEADLINE, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == "", "the client warns of lines that it cannot read"
    return json.loads(done.stdout)


def assert_measured(last: dict[str, Any]) -> None:
    assert last["done"] is True
    for figure in (
        "prompt_eval_count",
        "prompt_eval_duration",
        "eval_count",
        "eval_duration",
        "load_duration",
    ):
        assert last[figure] > 0
    assert last["total_duration"] >= last["eval_duration"]


def test_listings(found: Any) -> None:
    """It lists the model, what it can do, and that it is in memory."""
    assert [model["name"] for model in found["list"]["models"]] == ["tiny"]
    assert {"completion", "tools", "thinking", "insert"} <= set(found["show"]["capabilities"])
    assert [model["context_length"] for model in found["ps"]["models"]] == [32768]
    assert found["version"]["version"].replace(".", "").isdigit()


def test_chat(found: Any) -> None:
    """It reads an answer, whole and in parts."""
    assert found["chat"]["message"] == {"role": "assistant", "content": FIRST_SENTENCE}
    assert_measured(found["chat"])
    *parts, last = found["chatStream"]
    assert "".join(part["message"]["content"] for part in parts) == FIRST_SENTENCE
    assert_measured(last)


def test_thinking(found: Any) -> None:
    """Thoughts come apart from the text."""
    whole, parts = found["thinking"]["message"], found["thinkingStream"]
    assert whole["thinking"]
    assert whole["content"]
    for key in ("thinking", "content"):
        assert "".join(part["message"].get(key) or "" for part in parts) == whole[key]


@pytest.mark.parametrize("way", ["tools", "toolsStream"])
def test_tools(way: str, found: Any) -> None:
    """A call comes whole in one part, and its result goes back by the name of the tool."""
    assert found[way]["count"] == 1
    (call,) = found[way]["calls"]
    assert call["function"]["name"] == "get_weather"
    assert set(call["function"]["arguments"]) == {"city"}
    assert found[way]["last"]["content"] == FIRST_SENTENCE


def test_format(found: Any) -> None:
    """An answer has the shape of a schema."""
    assert set(json.loads(found["format"]["message"]["content"])) == {"name", "age"}


def test_generate(found: Any) -> None:
    """It reads a generated text, whole and in parts."""
    assert found["generate"]["response"] == FIRST_SENTENCE
    assert found["generate"]["context"]
    assert_measured(found["generate"])
    *parts, last = found["generateStream"]
    assert "".join(part["response"] for part in parts) == FIRST_SENTENCE
    assert_measured(last)


def test_pull(found: Any) -> None:
    """A model that is there is pulled at once; of another it is said who has the models."""
    assert found["pull"]["status"] == "success"
    assert found["pullStream"][-1]["status"] == "success"
    assert "llama-server" in found["absentPull"]["message"]


@pytest.mark.parametrize("way", ["absent", "absentStream"])
def test_errors(way: str, found: Any) -> None:
    """A model that is not there is the client's own exception."""
    assert found[way] == {"name": "ResponseError", "message": "model 'absent' not found", "status": 404}


def test_abort(found: Any, llama: Server) -> None:
    """The client's abort in the middle of an endless answer frees the slot."""
    assert found["abort"] == "AbortError"
    until_free(llama)
