"""What is a model, as far as upstream tells?"""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve

from copilot_proxy.cards import Card, capabilities, cards, entries, friendly, may_ask_props
from tests.wire.llama import entry, models, props, row


@pytest.mark.parametrize(
    ("model_id", "name"),
    [
        ("tiny", "tiny"),
        ("tiny.gguf", "tiny"),
        ("/models/Qwen3-8B-Q4_K_M.gguf", "Qwen3-8B-Q4_K_M"),
        ("./models/a.GGUF", "a"),
        ("..\\models\\a.gguf", "a"),
        ("C:\\models\\a.gguf", "a"),
        ("/models/no-suffix", "no-suffix"),
        ("ggml-org/gemma-3-4b-it-GGUF:Q4_K_M", "ggml-org/gemma-3-4b-it-GGUF:Q4_K_M"),
        (".gguf", ".gguf"),
        ("/models/", "/models/"),
        ("qwen3:latest", "qwen3:latest"),
    ],
)
def test_friendly(model_id: str, name: str) -> None:
    """A path becomes its file's stem; a name with a slash in it stays."""
    assert friendly(model_id) == name


def test_names_are_unique() -> None:
    """Where two models would get one name, the second keeps what upstream calls it."""
    found = cards(models("/a/m.gguf", "/b/m.gguf"), {}, {})
    assert [card.name for card in found] == ["m", "/b/m.gguf"]


def test_name_of_a_model_is_not_given_to_another() -> None:
    """A model that upstream calls by a plain name keeps it, also where a path before it has that stem."""
    found = cards(models("/a/m.gguf", "m"), {}, {})
    assert len({card.name for card in found}) == 2
    assert found[1].name == "m"


def test_context_is_the_slots() -> None:
    """The context is what /props tells of a slot, before what /v1/models tells, and never the trained one."""
    listed = models("tiny")
    (card,) = cards(listed, {}, {"tiny": props(n_ctx=2048)})
    assert card.context_length == 2048
    assert card.train_length == 131072
    (card,) = cards(listed, {}, {})
    assert card.context_length == 32768
    (card,) = cards({"data": [entry("tiny", meta={"n_ctx_train": 131072})]}, {}, {"tiny": {}})
    assert card.context_length is None


@pytest.mark.parametrize("n_ctx", [0, -1, None, "8192", True, 2.5])
def test_context_that_is_none(n_ctx: Any) -> None:
    """What is no count of tokens is no context: a router tells 0."""
    (card,) = cards({"data": [entry("tiny", meta={})]}, {}, {"tiny": props(n_ctx=n_ctx)})
    assert card.context_length is None


def test_everything_that_is_told() -> None:
    """Sizes, quantization and template come from where they are told."""
    (card,) = cards(models("tiny"), {}, {"tiny": props()})
    assert (card.size, card.parameters, card.quantization) == (1683968, 420992, "all F32")
    assert card.template == "{% for message in messages %}"
    own = {**row("tiny"), "size": 77, "details": {"quantization_level": "Q8_0"}}
    (card,) = cards({"data": [{"id": "tiny"}]}, {"models": [own]}, {})
    assert (card.size, card.parameters, card.quantization) == (77, None, "Q8_0")
    (card,) = cards({"data": [{"id": "tiny"}]}, {}, {"tiny": props()})
    assert card.quantization == "Q4_K - Medium"


@pytest.mark.parametrize(
    ("given", "document", "modalities", "found"),
    [
        ([], {}, [], ("completion", "tools", "planAndExecute")),
        (["completion"], props(), [], ("completion", "tools", "planAndExecute")),
        (["completion", "tools"], props(), [], ("completion", "tools", "planAndExecute")),
        ([], props(modalities={"vision": True}), [], ("completion", "vision", "tools", "planAndExecute")),
        ([], props(modalities=None, chat_template_caps=None), [], ("completion", "tools", "planAndExecute")),
        ([], {}, ["vision", "audio", "text"], ("completion", "vision", "audio", "tools", "planAndExecute")),
        ([], props(chat_template_caps={"supports_tools": False}), [], ("completion", "planAndExecute")),
        (["embedding"], {}, [], ("embedding", "tools", "planAndExecute")),
        (["tools"], props(chat_template_caps={"supports_tools": False}), [], ("tools", "planAndExecute")),
    ],
)
def test_capabilities(given: list[str], document: Any, modalities: list[str], found: tuple[str, ...]) -> None:
    """What upstream gives stays and is completed; `tools` is left out on the template's own word alone."""
    assert capabilities(given, document, modalities) == found


@pytest.mark.parametrize(
    ("told", "thinks"),
    [
        (props(chat_template="{{ '<think>' }}"), True),
        (props(chat_template="{% set content = content.split('</think>')[-1] %}"), True),
        (props(chat_template="{%- if enable_thinking is defined %}"), True),
        (props(chat_template="{{ message.reasoning_content }}"), True),
        (props(chat_template="Reasoning: {{ reasoning_effort }}"), True),
        (props(chat_template="<|start|>assistant<|channel|>analysis"), True),
        (props(chat_template="[THINK]"), True),
        (props(chat_template="<seed:think>"), True),
        (props(chat_template="<|START_THINKING|>"), True),
        (props(chat_template_caps={"supports_reasoning_effort": True}), True),
        (props(chat_template_caps={"supports_preserve_reasoning": True}), True),
        (props(chat_template_caps={"supports_reasoning_effort": False}), False),
        (props(chat_template="I think that {{ content }}"), False),
        (props(chat_template=None), False),
        ({}, False),
    ],
)
def test_thinking(told: Any, thinks: bool) -> None:
    """A model thinks where its chat template has marks for it, or where upstream says so."""
    assert ("thinking" in capabilities([], told)) is thinks


def test_abilities_of_each() -> None:
    """What only asking shows stands behind what a model sees and hears, and before what Copilot needs."""
    told = {"a": props(modalities={"vision": True}, chat_template="<think>")}
    first, second = cards(models("a", "b"), {}, told, abilities={"a": ("insert", "embedding")})
    assert first.capabilities == (
        "completion", "vision", "insert", "embedding", "thinking", "tools", "planAndExecute",
    )  # fmt: skip
    assert second.capabilities == ("completion", "tools", "planAndExecute")


def test_media_marker() -> None:
    """What stands for an image is told by /props; the digest does not follow it: each start makes another."""
    first, second = (cards(models("a"), {}, {"a": props(media_marker=mark)})[0] for mark in ("<x>", "<y>"))
    assert (first.media_marker, second.media_marker) == ("<x>", "<y>")
    assert first.digest == second.digest
    assert cards(models("a"), {}, {"a": props()})[0].media_marker == ""


def test_vision_from_the_architecture() -> None:
    """A router's entry tells of images in its architecture."""
    told = entry("tiny", architecture={"input_modalities": ["text", "image"]})
    (card,) = cards({"data": [told]}, {}, {})
    assert card.vision
    assert card.tools


@pytest.mark.parametrize(
    ("status", "may"),
    [(None, True), ("loaded", True), ("unloaded", False), ("loading", False), ("sleeping", False)],
)
def test_may_ask_props(status: str | None, may: bool) -> None:
    """A single model is asked for /props, one of a router's only where it is loaded."""
    assert may_ask_props({"id": "m"} if status is None else {"id": "m", "status": {"value": status}}) is may


@pytest.mark.parametrize(
    ("listed", "tags", "ids"),
    [
        (models("a", "b"), {"models": [row("c")]}, ["a", "b"]),
        ({}, {"models": [row("c"), {"name": "d"}, {"model": "e"}, {}, None]}, ["c", "d", "e"]),
        ({"data": []}, {}, []),
        ({"data": [{"id": "a"}, {"id": 7}, {}, None, "x", {"id": ""}]}, {}, ["a"]),
        ({"data": {"id": "a"}}, {"models": None}, []),
    ],
)
def test_entries(listed: Any, tags: Any, ids: list[str]) -> None:
    """The models are those of /v1/models, or else those of /api/tags; what has no name is none."""
    assert [found["id"] for found in entries(listed, tags)] == ids


def card() -> Card:
    return Card(id="m", name="m", capabilities=("completion",), context_length=4096)


def test_digest_stays() -> None:
    """The digest does not follow what clients are not told by the card, such as when it was first seen."""
    assert card().digest == card().digest
    assert evolve(card(), modified_at="2026-01-01T00:00:00Z").digest == card().digest
    assert evolve(card(), own_tags={"x": 1}).digest == card().digest


@pytest.mark.parametrize(
    "change",
    [
        {"context_length": 8192},
        {"capabilities": ("completion", "tools")},
        {"name": "n"},
        {"template": "x"},
        {"size": 1},
        {"quantization": "Q4_0"},
    ],
)
def test_digest_changes(change: Any) -> None:
    """The digest changes with everything that clients keep by it."""
    assert evolve(card(), **change).digest != card().digest


@pytest.mark.parametrize(
    ("headroom", "told"), [(0, 8192), (10, 7372), (7.5, 7577), (0.001, 8191), (50, 4096), (90, 819)]
)
def test_headroom(headroom: float, told: int) -> None:
    """A4: `--context-headroom` lowers the context that is told, rounded down, and the digest follows."""
    slot = {"tiny": props(n_ctx=8192)}
    (full,), (lowered,) = cards(models("tiny"), {}, slot), cards(models("tiny"), {}, slot, headroom)
    assert lowered.context_length == told
    assert (lowered.digest == full.digest) == (headroom == 0)


def test_headroom_of_nothing() -> None:
    """A4: a context that nobody told stays untold."""
    (unknown,) = cards({"data": [{"id": "tiny"}]}, {}, {}, 10)
    assert unknown.context_length is None


@pytest.mark.parametrize(
    ("status", "loaded"),
    [(None, True), ("loaded", True), ("unloaded", False), ("loading", False), ("sleeping", False)],
)
def test_loaded(status: str | None, loaded: bool) -> None:
    """A5: a single model is in memory, one of a router's where it says so; the digest stays."""
    told = {"id": "m"} if status is None else {"id": "m", "status": {"value": status}}
    (found,) = cards({"data": [told]}, {}, {})
    assert found.loaded is loaded
    assert found.digest == cards({"data": [{"id": "m"}]}, {}, {})[0].digest
