"""How does an answer fail that has begun? Upstream's own words, or ours where it has none."""

from __future__ import annotations

from typing import Any

from ..errors import BrokenAnswer, ProxyError

UNEXPLAINED = "llama-server ended its answer with an error that it did not explain"
NAMELESS_CALL = "the model called a tool and did not name it"


def unfinished() -> BrokenAnswer:
    """The failure of an answer whose body ended in the regular way, and nothing before it said so."""
    return BrokenAnswer("llama-server ended its answer without saying that it is finished")


def reported(value: Any) -> BrokenAnswer:
    """The failure that upstream told in its stream: an object with `error`, the error itself, or a text."""
    error = value.get("error", value) if isinstance(value, dict) else value
    message = (error.get("message") if isinstance(error, dict) else None) or error
    return BrokenAnswer(
        message if isinstance(message, str) and message else "llama-server reported an error without a text",
        logged="llama-server reported an error inside its answer",
    )


def document(value: Any, failure: ProxyError) -> dict[str, Any]:
    """What upstream told as every client reads it: its own members, and ours where it has none."""
    error = value.get("error", value) if isinstance(value, dict) else value
    theirs = error if isinstance(error, dict) else {}
    known = {key: member for key, member in theirs.items() if member is not None}
    return {"error": {"code": failure.code, "type": failure.type, **known, "message": failure.message}}
