"""What is refused since the model cannot do it, in Ollama's words (server/routes.go of 0.33)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from .. import names
from ..cards import Card
from ..errors import BadRequest

# capability -> the words of its refusal; Ollama names the model as it was asked for, or in full
_WORDS: Final = {
    "completion": '"{model}" does not support {what}',
    "thinking": '"{model}" does not support thinking',
    "tools": "registry.ollama.ai/library/{full} does not support tools",
    "insert": "registry.ollama.ai/library/{full} does not support insert",
}


def demand(card: Card, needed: Iterable[str], model: str, what: str) -> None:
    """Return where the model has every capability that is needed; raises BadRequest for the first missing.

    `model` is its name as asked for, `what` "chat" or "generate". What a router's model can do shows once it
    is loaded, which is what the request makes the router do.
    """
    for capability in needed:
        if card.loaded and capability not in card.capabilities:
            words = _WORDS[capability]
            raise BadRequest(words.format(model=model, full=names.shown(model), what=what))
