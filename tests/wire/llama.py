"""What llama-server tells of its models: the documents of llama.cpp b11549, cut to what is read."""

from __future__ import annotations

from typing import Any


def props(n_ctx: int = 32768, **changes: Any) -> dict[str, Any]:
    """The document of /props."""
    return {
        "default_generation_settings": {"params": {}, "n_ctx": n_ctx},
        "total_slots": 4,
        "model_ftype": "Q4_K - Medium",
        "modalities": {"vision": False, "video": False, "audio": False},
        "chat_template": "{% for message in messages %}",
        "chat_template_caps": {"supports_tools": True, "supports_tool_calls": True},
        **changes,
    }


def row(name: str) -> dict[str, Any]:
    """One of models[], which is there for Ollama's clients and says nothing."""
    details = {"parent_model": "", "format": "gguf", "family": "", "families": [""]}
    return {
        "name": name,
        "model": name,
        "modified_at": "",
        "size": "",
        "digest": "",
        "capabilities": ["completion"],
        "details": {**details, "parameter_size": "", "quantization_level": ""},
    }


def entry(name: str, **changes: Any) -> dict[str, Any]:
    """One of data[]."""
    meta = {"n_ctx": 32768, "n_ctx_train": 131072, "n_params": 420992, "size": 1683968, "ftype": "all F32"}
    return {"id": name, "object": "model", "owned_by": "llamacpp", "meta": meta, **changes}


def models(*names: str) -> dict[str, Any]:
    """The document of /v1/models."""
    return {"models": [*map(row, names)], "object": "list", "data": [*map(entry, names)]}


def server(*names: str, **changes: Any) -> dict[str, Any]:
    """Target -> document of a llama-server with these models."""
    return {"/v1/models": models(*names), "/props": props(**changes)}


LOADING = {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}
"""What llama-server says to everything, with status 503, while it reads its model."""

INFILLS = {"/infill": ({"error": {"code": 400, "message": "key 'input_suffix' not found"}}, 400)}
"""What llama-server says to an empty infill where its model can do one."""
