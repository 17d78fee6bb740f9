"""Which names does Ollama take, and which of them are the same model's?"""

from __future__ import annotations

from typing import Any

import pytest

from copilot_proxy import errors, names
from copilot_proxy.cards import Card
from copilot_proxy.upstream.models import Listing


def listing(*ids: str) -> Listing:
    return Listing([Card(id=name, name=name, capabilities=()) for name in ids])


@pytest.mark.parametrize(
    "name",
    [
        "tiny", "tiny:latest", "_x", "7b", "Qwen3-8B_Q4.gguf", "a" * 80, "x:" + "t" * 80, "library/tiny",
        "hf.co/unsloth/Qwen3-GGUF:Q4_K_M", "registry.example:5000/me/x:1",
    ],
)  # fmt: skip
def test_valid(name: str) -> None:
    """Parts begin with a letter, a digit or an underscore, and have at most 80 characters."""
    assert names.is_valid(name)


@pytest.mark.parametrize(
    "name",
    [
        "", "a b", "x:", ":x", "/x", "x/", "-x", ".x", "x:-t", "a" * 81, "x:" + "t" * 81, "x:y:z", "naïve",
        "a/b/c/d", "n.s/x", "/models/x.gguf", "x\n",
    ],
)  # fmt: skip
def test_not_valid(name: str) -> None:
    """What has another form is no name."""
    assert not names.is_valid(name)


@pytest.mark.parametrize(
    ("name", "cloud"),
    [
        ("gpt-oss:cloud", True), ("gpt-oss:120b-cloud", True), ("X:CLOUD", True), ("me/x:cloud", True),
        ("cloud", False), ("x-cloud", False), ("x:cloudy", False), ("x:120bcloud", False), ("cloud/x", False),
    ],
)  # fmt: skip
def test_cloud(name: str, cloud: bool) -> None:
    """Only a tag makes a name one of ollama.com's."""
    assert names.is_cloud(name) is cloud


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("x", "x:latest"),
        ("x:7b", "x:7b"),
        ("library/x", "x:latest"),
        ("registry.ollama.ai/library/x:7b", "x:7b"),
        ("registry.ollama.ai/me/x", "me/x:latest"),
        ("x:local", "x:latest"),
        ("x:7b:local", "x:7b"),
        ("host:80/me/x", "host:80/me/x:latest"),
    ],
)
def test_shown(name: str, shown: str) -> None:
    """A name is shown with its tag, and without what may be left out."""
    assert names.shown(name) == shown


@pytest.mark.parametrize(
    ("there", "asked", "found"),
    [
        (["tiny"], "tiny", "tiny"),
        (["tiny"], "tiny:latest", "tiny"),
        (["tiny:latest"], "tiny", "tiny:latest"),
        (["tiny"], "tiny:local", "tiny"),
        (["tiny"], "library/tiny", "tiny"),
        (["tiny"], "registry.ollama.ai/library/tiny:latest", "tiny"),
        (["tiny"], "Tiny", "tiny"),
        (["Tiny"], "TINY:LATEST", "Tiny"),
        (["Tiny", "tiny"], "tiny", "tiny"),
        (["Tiny", "tiny"], "tiny:latest", "tiny"),
        (["x:7b"], "x", None),
        (["x:7b"], "x:7B", "x:7b"),
        (["x:local", "x"], "x:local", "x:local"),
        (["a", "1"], "1", "1"),
        (["a", "b"], "1", "b"),
        (["a"], "", None),
        ([":latest"], "", None),
    ],
)
def test_named(there: list[str], asked: str, found: str | None) -> None:
    """A model is found in any spelling, as it is written first, and by its position last."""
    card = listing(*there).named(asked)
    assert (card.name if card else None) == found


@pytest.mark.parametrize(
    ("asked", "error", "text"),
    [
        ("other", errors.UnknownModel, "no other"),
        ("a b", errors.BadRequest, "a b is bad"),
        ("x:cloud", errors.CloudDisabled, "ollama cloud is disabled: remote model is unavailable"),
        ("{0.x}", errors.BadRequest, "{0.x} is bad"),
    ],
)
def test_find(asked: str, error: Any, text: str) -> None:
    """What is not there is an error by the kind of its name, in the words that the route has for it."""
    with pytest.raises(error) as raised:
        listing("tiny").find(asked, unknown="no {}", invalid="{} is bad")
    assert raised.value.message == text


@pytest.mark.parametrize("name", ["/models/a.gguf", "my model", "x:cloud"])
def test_find_what_is_there(name: str) -> None:
    """What llama-server has is found whatever it is called."""
    assert listing(name).find(name).name == name
