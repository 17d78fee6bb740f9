"""What can a model do that llama-server tells only when it is asked to do it?

An empty request is asked: where it cannot do the thing at all it says 501, and where it can it misses the
input, before any slot is taken (llama.cpp b11549: 400 "key 'input_suffix' not found" of /infill, 400 '"input"
or "content" must be provided' of /v1/embeddings; b8672 said 500).
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from twisted.web.http_headers import Headers

from .. import errors
from ..cards import Document
from .client import Upstream

QUESTIONS: Final = {"insert": b"/infill", "embedding": b"/v1/embeddings"}

# Seconds. It takes llama-server a millisecond or two.
PATIENCE: Final = 2.0

_JSON: Final = Headers({b"content-type": [b"application/json"]})

# What of /props says that it is still the same model of the same start of llama-server: the marker is made
# anew at each.
_IDENTITY: Final = ("model_path", "media_marker", "build_info", "total_slots")


class Abilities:
    """The abilities of `upstream`'s models, asked once for each model of each start."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._known: dict[bytes, tuple[str, ...]] = {}

    def forget(self) -> None:
        """Upstream went away: what comes back may be another."""
        self._known.clear()

    async def of(self, entry: Document, props: Document) -> tuple[str, ...]:
        """The abilities of a model, none where it cannot be asked; a model that sleeps is not woken for it.

        `props` is its /props: what has none is no llama-server, and its answers would tell nothing.
        """
        model = msgspec.json.encode([entry["id"], *map(props.get, _IDENTITY)])
        known = self._known.get(model)
        if known is not None or not props or props.get("is_sleeping") is True:
            return known or ()
        try:
            found = tuple([ability for ability in QUESTIONS if await self._has(ability, entry)])
        except errors.UpstreamError:
            return ()  # the next round asks again
        self._known[model] = found
        return found

    async def _has(self, ability: str, entry: Document) -> bool:
        router = "status" in entry  # which loads the model that it is asked for, unless told not to
        body: dict[str, Any] = {"model": entry["id"]} if router else {}
        target = QUESTIONS[ability] + (b"?autoload=false" if router else b"")
        status, text = await self._upstream.fetch(
            b"POST", target, _JSON, msgspec.json.encode(body), timeout=PATIENCE
        )
        return status in (400, 500) and b"input" in text
