"""Model listings as clients read them, each made of a card and of what upstream has of its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..cards import Card, Document, rows

# Ollama's version that is told. Copilot wants a purely numeric one, at least 0.6.4, and the extension
# Ollama.ollama at least 0.17.6; an entry of /api/show as below is that of 0.33.
OLLAMA_VERSION = "0.33.0"

# Tokens. What Copilot's own code takes for the answer (ollamaProvider.ts), or half of a smaller context.
_OUTPUT = 4096

# llama-server does not tell the architecture; its own /api/show of b8672 wrote this one for every model
_ARCHITECTURE = "llama"


def _limits(card: Card) -> dict[str, Any]:
    """What a model can do and hold, under every key by which some client reads it.

    `context_length` and `max_output_tokens` are read by the extension Ollama.ollama, the others by Copilot
    Chat 0.37. Where upstream tells no context, none is told.
    """
    told: dict[str, Any] = {
        "capabilities": list(card.capabilities),
        "toolCalling": card.tools,
        "vision": card.vision,
    }
    if card.context_length is not None:
        output = _OUTPUT if card.context_length >= _OUTPUT else card.context_length // 2
        told |= {
            "context_length": card.context_length,
            "max_context_length": card.context_length,
            "max_output_tokens": output,
            "maxInputTokens": card.context_length - output,
            "maxOutputTokens": output,
        }
    return told


def _parameter_size(count: int | None) -> str:
    """As Ollama writes it: 421.0K, 7.2B."""
    for unit, size in (("T", 10**12), ("B", 10**9), ("M", 10**6), ("K", 10**3)):
        if count is not None and count >= size:
            return f"{count / size:.1f}{unit}"
    return str(count) if count is not None else ""


def _details(card: Card) -> dict[str, Any]:
    return {
        "parent_model": "",
        "format": "gguf",
        "family": _ARCHITECTURE,
        "families": [_ARCHITECTURE],
        "parameter_size": _parameter_size(card.parameters),
        "quantization_level": card.quantization,
    }


def _says_nothing(value: Any) -> bool:
    """llama-server up to b8672 fills what it does not know with "" and [""]."""
    return value in (None, "", [], [""], {})


def _completed(own: Document, ours: Document) -> dict[str, Any]:
    """Upstream's own members, and ours where it has none or says nothing."""
    whole = {**ours}
    for key, value in own.items():
        if isinstance(value, Mapping) and isinstance(ours.get(key), Mapping):
            whole[key] = _completed(value, ours[key])
        elif not _says_nothing(value) or key not in ours:
            whole[key] = value
    return whole


def tags_entry(card: Card) -> dict[str, Any]:
    """One model of /api/tags."""
    lengths = {"context_length": card.context_length, "embedding_length": card.embedding_length}
    told = {name: length for name, length in lengths.items() if length is not None}
    ours = {
        "name": card.name,
        "model": card.name,
        "modified_at": card.modified_at,
        "size": card.size,
        "digest": card.digest,
        "details": _details(card) | told,
    }
    names = {"name": card.name, "model": card.name, "digest": card.digest}
    return {**_completed(card.own_tags, ours), **names, **_limits(card)}


def tags(cards: Iterable[Card]) -> dict[str, Any]:
    """The document of /api/tags; without a model it is an empty list, never null."""
    return {"models": [tags_entry(card) for card in cards]}


# Ollama unloads a model when it has been idle for some minutes, llama-server does not. Ollama itself tells a
# time 292 years away for a model that is to stay.
_NEVER = "2318-01-01T00:00:00+00:00"

_RUNNING = ("name", "model", "size", "digest", "details", "context_length")


def ps(cards: Iterable[Card]) -> dict[str, Any]:
    """The document of /api/ps: the models in memory.

    llama-server does not tell how much of a model is on a GPU; `size_vram` is the whole.
    """
    entries = (tags_entry(card) for card in cards if card.loaded)
    return {
        "models": [
            {key: entry[key] for key in _RUNNING if key in entry}
            | {"size_vram": entry["size"], "expires_at": _NEVER}
            for entry in entries
        ]
    }


def show(card: Card, own: Document) -> dict[str, Any]:
    """The document of /api/show. `own` is upstream's own, empty where it has none.

    `parameters` names no num_ctx: the extension would take it before everything else.
    """
    own_info = own.get("model_info")
    own_info = own_info if isinstance(own_info, Mapping) else {}
    architecture = own_info.get("general.architecture") or _ARCHITECTURE
    info: dict[str, Any] = {"general.architecture": architecture, "general.basename": card.name}
    if card.parameters is not None:
        info["general.parameter_count"] = card.parameters
    if card.context_length is not None:
        info[f"{architecture}.context_length"] = card.context_length
    if card.embedding_length is not None:
        info[f"{architecture}.embedding_length"] = card.embedding_length
    ours = {
        "license": "",
        "modelfile": "",
        "parameters": "",
        "template": card.template,
        "system": "",
        "details": _details(card),
        "modified_at": card.modified_at,
    }
    return {**_completed(own, ours), "model_info": {**own_info, **info}, **_limits(card)}


def openai_models(document: Document, cards: Iterable[Card]) -> dict[str, Any]:
    """Upstream's /v1/models with names, capabilities and limits put in; made anew where upstream has none."""
    by_id = {card.id: card for card in cards}
    whole: dict[str, Any] = {"object": "list", **document}
    entries = rows(document, "data") or [{"id": model_id, "object": "model"} for model_id in by_id]
    whole["data"] = [_named(entry, "id", by_id, ("id",)) for entry in entries]
    if "models" in document:
        whole["models"] = [_named(row, "model", by_id, ("name", "model")) for row in rows(document, "models")]
    return whole


def _named(entry: Document, key: str, cards: Mapping[str, Card], names: tuple[str, ...]) -> dict[str, Any]:
    model_id = entry.get(key)
    card = cards.get(model_id) if isinstance(model_id, str) else None
    return {**entry} if card is None else {**entry, **dict.fromkeys(names, card.name), **_limits(card)}
