"""What is refused since the model cannot do it, in Ollama's words (contract of Ollama's API, section 1)."""

from __future__ import annotations

from typing import Final

from .. import names
from ..cards import Card
from ..errors import BadRequest

# capability -> the words of its refusal; Ollama names the model as it was asked for, or in full
_WORDS: Final = {
    "thinking": '"{model}" does not support thinking',
    "tools": "registry.ollama.ai/library/{full} does not support tools",
    "insert": "registry.ollama.ai/library/{full} does not support insert",
}


def demand(card: Card, capability: str, model: str) -> None:
    """Return where the model has the capability; raises BadRequest. `model` is its name as asked for.

    What a router's model can do shows once it is loaded, which is what the request makes the router do.
    """
    if card.loaded and capability not in card.capabilities:
        raise BadRequest(_WORDS[capability].format(model=model, full=names.shown(model)))


def demand_text(card: Card, model: str, what: str) -> None:
    """Return where the model makes text at all; raises BadRequest. `what` is "chat" or "generate"."""
    if "completion" not in card.capabilities:
        raise BadRequest(f'"{model}" does not support {what}')
