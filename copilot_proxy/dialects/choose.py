"""Whether a request to /api/chat or /api/generate is Ollama's or OpenAI's: both are written there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ..errors import Dialect
from .jsontext import OBJECT, items, kind, members

# The paths to which both APIs are written.
SHARED: Final = frozenset({b"/api/chat", b"/api/generate"})

# Ollama's own clients: ollama-python 0.6.3, ollama-js 0.6.4, the Go client and command line
_SDKS: Final = (b"ollama-python/", b"ollama-js/", b"ollama/")

# Keys of /api/chat and /api/generate that OpenAI's API does not have (Ollama's api/types.go)
_KEYS: Final = frozenset(
    {
        "options", "keep_alive", "think", "format", "template", "raw", "context", "system", "images",
        "truncate", "shift", "_debug_render_only",
    }
)  # fmt: skip
_MESSAGE_KEYS: Final = frozenset({"images", "thinking", "tool_name"})


# Open WebUI, which may write a chat that has nothing of Ollama's, and tells its users in fields of its own
# (ENABLE_FORWARD_USER_INFO_HEADERS)
_OPEN_WEBUI: Final = b"x-openwebui-"


def by_headers(fields: Mapping[bytes, bytes]) -> Dialect | None:
    """What the header fields, by their names in lower case, tell by themselves; None: nothing."""
    if (
        b"application/x-ndjson" in fields.get(b"accept", b"").lower()
        or fields.get(b"user-agent", b"").startswith(_SDKS)
        or any(name.startswith(_OPEN_WEBUI) for name in fields)
    ):
        return Dialect.OLLAMA
    return None


def by_body(fields: Mapping[str, bytes]) -> Dialect:
    """What the members of the body tell; what has nothing of Ollama's is OpenAI's."""
    if not _KEYS.isdisjoint(fields):
        return Dialect.OLLAMA
    messages = items(fields["messages"]) if "messages" in fields else None
    if any(_is_ollama_message(members(message) or {}) for message in messages or ()):
        return Dialect.OLLAMA
    return Dialect.OPENAI


def _is_ollama_message(message: Mapping[str, bytes]) -> bool:
    return not _MESSAGE_KEYS.isdisjoint(message) or any(
        _has_object_arguments(members(call) or {}) for call in items(message.get("tool_calls", b"[]")) or ()
    )


def _has_object_arguments(call: Mapping[str, bytes]) -> bool:
    """OpenAI's API writes the arguments of a call as a string that holds JSON."""
    function = members(call["function"]) if "function" in call else None
    return kind((function or {}).get("arguments", b'""')) == OBJECT
