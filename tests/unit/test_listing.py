"""How does a card read in each listing?"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from attrs import evolve

from copilot_proxy.cards import Card
from copilot_proxy.dialects import listing
from tests.wire.llama import models

CARD = Card(
    id="/models/m.gguf",
    name="m",
    capabilities=("completion", "tools"),
    context_length=8192,
    size=5,
    parameters=7_241_732_096,
    quantization="Q4_K_M",
    template="t",
    modified_at="2026-11-22T12:00:00+00:00",
)


def test_version_is_one_that_clients_take() -> None:
    """The version is numeric, and at least the 0.17.6 that the Ollama extension wants."""
    parts = [int(part) for part in listing.OLLAMA_VERSION.split(".")]
    assert len(parts) == 3
    assert parts >= [0, 17, 6]


def test_tags_entry() -> None:
    """An entry of /api/tags has what Ollama has, and what either generation of Copilot reads."""
    entry = listing.tags_entry(CARD)
    assert entry == {
        "name": "m",
        "model": "m",
        "modified_at": "2026-11-22T12:00:00+00:00",
        "size": 5,
        "digest": CARD.digest,
        "details": {
            "parent_model": "",
            "format": "gguf",
            "family": "llama",
            "families": ["llama"],
            "parameter_size": "7.2B",
            "quantization_level": "Q4_K_M",
            "context_length": 8192,
        },
        "capabilities": ["completion", "tools"],
        "toolCalling": True,
        "vision": False,
        "context_length": 8192,
        "max_context_length": 8192,
        "max_output_tokens": 4096,
        "maxInputTokens": 4096,
        "maxOutputTokens": 4096,
    }


@pytest.mark.parametrize(("context", "output"), [(32768, 4096), (4096, 4096), (4095, 2047), (512, 256)])
def test_limits(context: int, output: int) -> None:
    """Room for the answer is 4096 tokens, or half of a smaller context, as Copilot takes it to be."""
    entry = listing.tags_entry(evolve(CARD, context_length=context))
    assert entry["maxOutputTokens"] == output
    assert entry["maxInputTokens"] == context - output


def test_no_context_is_told_where_none_is_known() -> None:
    """A context that upstream does not tell is in no listing, under no name."""
    unknown = evolve(CARD, context_length=None)
    for document in (listing.tags_entry(unknown), listing.show(unknown, {})):
        assert not [key for key in document if "context" in key.lower() or "tokens" in key.lower()]
    assert "llama.context_length" not in listing.show(unknown, {})["model_info"]


@pytest.mark.parametrize(
    ("count", "text"),
    [(None, ""), (999, "999"), (420_992, "421.0K"), (7_241_732_096, "7.2B"), (10**12, "1.0T")],
)
def test_parameter_size(count: int | None, text: str) -> None:
    """The number of parameters is written as Ollama writes it."""
    entry = listing.tags_entry(evolve(CARD, parameters=count))
    assert entry["details"]["parameter_size"] == text


def test_upstreams_own_entry_is_completed() -> None:
    """What upstream's own entry says stays; what is empty there is filled, and names are ours."""
    own = {
        "name": "/models/m.gguf",
        "size": "",
        "digest": "x",
        "details": {"family": "qwen3", "families": [""], "own": 1},
        "other": None,
    }
    entry = listing.tags_entry(evolve(CARD, own_tags=own))
    assert entry["name"] == entry["model"] == "m"
    assert entry["digest"] == CARD.digest
    assert entry["size"] == 5
    assert entry["details"]["family"] == "qwen3"
    assert entry["details"]["families"] == ["llama"]
    assert entry["details"]["own"] == 1
    assert entry["other"] is None


def test_tags_of_nothing() -> None:
    """No model is an empty list."""
    assert listing.tags([]) == {"models": []}


def test_show() -> None:
    """/api/show has the members that clients cannot do without, and names no num_ctx."""
    shown = listing.show(CARD, {})
    assert shown["model_info"] == {
        "general.architecture": "llama",
        "general.basename": "m",
        "general.parameter_count": 7_241_732_096,
        "llama.context_length": 8192,
    }
    assert shown["parameters"] == ""
    assert shown["template"] == "t"
    assert shown["capabilities"] == ["completion", "tools"]


def test_embedding_length() -> None:
    """How long an embedding is stands where Ollama tells it."""
    card = evolve(CARD, embedding_length=128)
    assert listing.tags_entry(card)["details"]["embedding_length"] == 128
    assert listing.show(card, {})["model_info"]["llama.embedding_length"] == 128


def test_show_makes_nothing_up() -> None:
    """What upstream does not tell is left out of model_info."""
    shown = listing.show(evolve(CARD, parameters=None, context_length=None), {})
    assert shown["model_info"] == {"general.architecture": "llama", "general.basename": "m"}


def test_show_keeps_upstreams_own() -> None:
    """Upstream's own architecture stays, and its context is corrected under the name of that."""
    own = {
        "model_info": {"general.architecture": "qwen3", "qwen3.context_length": 1, "qwen3.block_count": 28},
        "capabilities": ["completion"],
        "license": "MIT",
    }
    shown = listing.show(CARD, own)
    assert shown["model_info"]["qwen3.context_length"] == 8192
    assert shown["model_info"]["qwen3.block_count"] == 28
    assert shown["license"] == "MIT"
    assert shown["capabilities"] == ["completion", "tools"]


@pytest.mark.parametrize("own", [{"model_info": None}, {"model_info": "x"}, {"details": None}])
def test_show_with_strange_members(own: Any) -> None:
    """Members of another type than Ollama's are as good as missing."""
    shown = listing.show(CARD, own)
    assert shown["model_info"]["llama.context_length"] == 8192
    assert shown["details"]["format"] == "gguf"


def test_openai_models() -> None:
    """Upstream's document keeps its members; known models get names and limits, others nothing."""
    document = {**models("/models/m.gguf", "other"), "own": 1}
    whole = listing.openai_models(document, [CARD])
    assert whole["own"] == 1
    assert whole["data"][0]["id"] == "m"
    assert whole["data"][0]["meta"] == document["data"][0]["meta"]
    assert whole["data"][0]["context_length"] == 8192
    assert whole["models"][0]["name"] == whole["models"][0]["model"] == "m"
    assert whole["data"][1] == models("other")["data"][0]


def test_openai_models_made_anew() -> None:
    """Where upstream has no such document, one is made of the cards."""
    whole = listing.openai_models({}, [CARD])
    assert whole["object"] == "list"
    assert [entry["id"] for entry in whole["data"]] == ["m"]
    assert "models" not in whole


def test_ps() -> None:
    """A5: /api/ps has what Ollama has of each model in memory, and a time at which it is not yet gone."""
    (entry,) = listing.ps([CARD, evolve(CARD, name="idle", loaded=False)])["models"]
    expires_at = entry.pop("expires_at")
    assert datetime.fromisoformat(expires_at) > datetime.now(UTC) + timedelta(days=36500)
    tags = listing.tags_entry(CARD)
    assert entry == {
        "name": "m",
        "model": "m",
        "size": 5,
        "size_vram": 5,
        "digest": CARD.digest,
        "details": tags["details"],
        "context_length": 8192,
    }


def test_ps_without_a_context() -> None:
    """A5: a context that is not known is not told; nothing in memory is an empty list."""
    (entry,) = listing.ps([evolve(CARD, context_length=None)])["models"]
    assert "context_length" not in entry
    assert listing.ps([]) == {"models": []}
