"""What a model is: one card for each, made of what llama-server tells, with nothing guessed.

Sources, all of llama.cpp b11549 unless said: `GET /v1/models` (data[].id, .meta.n_ctx, .meta.size, models[]
with capabilities), `GET /props` (default_generation_settings.n_ctx, the slot's; chat_template,
chat_template_caps, modalities), and, of servers up to b8672 and of Ollama itself, `GET /api/tags` and
`POST /api/show`.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from attrs import asdict, field, frozen

Document = Mapping[str, Any]

# Added to what upstream gives: Copilot's agent mode offers a model only where its capabilities have these.
_ADDED = ("tools", "planAndExecute")


# of a card: what no client is told, or not as a property of the model
_UNTOLD = ("modified_at", "loaded", "own_tags", "train_length", "media_marker")

# What a chat template has in it where the model thinks before it answers: the marks around its thoughts, or
# the names by which they are switched on or given back. As of llama.cpp b11549's models/templates, and of
# the families named.
_THINKS = (
    "<think>",  # DeepSeek, Qwen, Hermes, Nemotron
    "</think>",  # DeepSeek V3.1 writes the end alone
    "[THINK]",  # Magistral
    "<|channel",  # gpt-oss, Gemma 4
    "<seed:think>",
    "<|START_THINKING|>",  # Command A
    "◁think▷",  # Kimi
    "enable_thinking",
    "reasoning_content",
    "reasoning_effort",
)
_THINKS_BY_CAPS = ("supports_reasoning_effort", "supports_preserve_reasoning")


@frozen
class Card:
    """One model. Sizes are bytes, lengths tokens; None means that upstream does not tell."""

    id: str
    """What upstream calls it."""
    name: str
    """What clients see: unique, and no path."""
    capabilities: tuple[str, ...]
    context_length: int | None = None
    """What one slot really holds, less `--context-headroom`; never what the model was trained with."""
    train_length: int | None = None
    size: int = 0
    parameters: int | None = None
    quantization: str = ""
    embedding_length: int | None = None
    """How many numbers an embedding has."""
    template: str = ""
    media_marker: str = ""
    """What stands for an image in a prompt that is no chat; another one at each start of llama-server."""
    modified_at: str = ""
    """RFC 3339: when the proxy first saw the model like this; llama-server tells no time."""
    loaded: bool = True
    """It is in memory; only a router has models that are not."""
    own_tags: Document = field(factory=dict)
    """Upstream's own entry of /api/tags, where it has one."""

    @property
    def vision(self) -> bool:
        return "vision" in self.capabilities

    @property
    def tools(self) -> bool:
        return "tools" in self.capabilities

    @property
    def digest(self) -> str:
        """64 hex characters that change when anything does that clients are told, and only then."""
        told = asdict(self, filter=lambda told, _: told.name not in _UNTOLD)
        return hashlib.sha256(msgspec.json.encode(told)).hexdigest()


def friendly(model_id: str) -> str:
    """A path becomes its file's stem; any other name stays."""
    file = model_id.replace("\\", "/").rsplit("/", 1)[-1]
    if file.lower().endswith(".gguf") and len(file) > len(".gguf"):
        return file[: -len(".gguf")]
    if model_id.startswith(("/", "./", "../", "\\")) and file:
        return file
    return model_id


def _names(ids: Iterable[str]) -> dict[str, str]:
    """id -> name; a name that another model has, as its id or its name, is not given again: the id stays."""
    names = dict.fromkeys(ids, "")
    taken = set(names)
    for model_id in names:
        name = friendly(model_id)
        names[model_id] = name if name not in taken else model_id
        taken.add(name)
    return names


def _mapping(value: Any) -> Document:
    return value if isinstance(value, Mapping) else {}


def rows(document: Document, key: str) -> list[Document]:
    """The objects in the list `key` of a document; what is no object, or no list, is left out."""
    found = document.get(key)
    return [row for row in found if isinstance(row, Mapping)] if isinstance(found, Sequence) else []


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _strings(value: Any) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, Sequence) else []


def _thinks(props: Document) -> bool:
    caps = _mapping(props.get("chat_template_caps"))
    template = _text(props.get("chat_template"))
    told = any(caps.get(name) is True for name in _THINKS_BY_CAPS)
    return told or any(mark in template for mark in _THINKS)


def capabilities(
    given: Iterable[str], props: Document, modalities: Iterable[str] = (), abilities: Iterable[str] = ()
) -> tuple[str, ...]:
    """What upstream gives, completed: nothing is removed, `tools` is left out only on upstream's own word.

    `abilities` are those that only asking shows.
    """
    found = [*given] or ["completion"]
    seen = {kind for kind, on in _mapping(props.get("modalities")).items() if on} | set(modalities)
    found += [kind for kind in ("vision", "audio") if kind in seen]
    found += abilities
    if _thinks(props):
        found.append("thinking")
    template_has_none = _mapping(props.get("chat_template_caps")).get("supports_tools") is False
    found += [name for name in _ADDED if not (name == "tools" and template_has_none)]
    return tuple(dict.fromkeys(found))


def may_ask_props(entry: Document) -> bool:
    """Whether /props tells of this model: a router knows only those that are loaded."""
    status = _mapping(entry.get("status")).get("value")
    return status is None or status == "loaded"


def entries(models: Document, tags: Document) -> list[Document]:
    """The models that upstream lists, each with an `id`."""
    data = [entry for entry in rows(models, "data") if _text(entry.get("id"))]
    if data:
        return data
    names = [_text(row.get("model")) or _text(row.get("name")) for row in rows(tags, "models")]
    return [{"id": name} for name in names if name]


def cards(
    models: Document,
    tags: Document,
    props: Mapping[str, Document],
    headroom: float = 0.0,
    abilities: Mapping[str, Sequence[str]] | None = None,
) -> list[Card]:
    """The cards, in upstream's order. `props` maps an id to the model's /props, where they could be asked.

    `abilities` maps it to those capabilities that only asking shows.

    `headroom` is the percentage of each context that is kept from clients, which count tokens differently.
    """
    listed = entries(models, tags)
    names = _names(_text(entry["id"]) for entry in listed)
    own_rows = {_text(row.get("model")) or _text(row.get("name")): row for row in rows(models, "models")}
    own = {_text(row.get("model")) or _text(row.get("name")): row for row in rows(tags, "models")}
    return [
        _card(
            entry,
            names[entry["id"]],
            own_rows.get(entry["id"], {}),
            own.get(entry["id"], {}),
            props.get(entry["id"], {}),
            headroom,
            (abilities or {}).get(entry["id"], ()),
        )
        for entry in listed
    ]


def _card(
    entry: Document,
    name: str,
    row: Document,
    own: Document,
    props: Document,
    headroom: float,
    abilities: Sequence[str],
) -> Card:
    meta = _mapping(entry.get("meta"))
    settings = _mapping(props.get("default_generation_settings"))
    details = _mapping(own.get("details"))
    given = [name for source in (entry, row, own) for name in _strings(source.get("capabilities"))]
    modalities = _strings(_mapping(entry.get("architecture")).get("input_modalities"))
    slot = _count(settings.get("n_ctx")) or _count(meta.get("n_ctx"))
    return Card(
        id=entry["id"],
        name=name,
        capabilities=capabilities(
            given, props, ("vision" if m == "image" else m for m in modalities), abilities
        ),
        context_length=None if slot is None else math.floor(slot * (100 - headroom) / 100),
        train_length=_count(meta.get("n_ctx_train")),
        size=_count(meta.get("size")) or _count(own.get("size")) or 0,
        parameters=_count(meta.get("n_params")),
        quantization=_text(meta.get("ftype"))
        or _text(props.get("model_ftype"))
        or _text(details.get("quantization_level")),
        embedding_length=_count(meta.get("n_embd")),
        template=_text(props.get("chat_template")),
        media_marker=_text(props.get("media_marker")),
        loaded=may_ask_props(entry),
        own_tags=own,
    )


# Tokens. Copilot's agent mode sends 10,000 to 20,000 of tools and instructions before the first question.
_ENOUGH_FOR_AGENTS = 20_000


def described(card: Card) -> str:
    """One model in a few words, for the log."""
    context = f"{card.context_length} tokens of context" if card.context_length else "context unknown"
    small = card.context_length is not None and card.context_length < _ENOUGH_FOR_AGENTS
    warning = ", too few for Copilot's agent mode" if small else ""
    return f"{card.name} ({context}{warning}, {'tools' if card.tools else 'no tools'})"
