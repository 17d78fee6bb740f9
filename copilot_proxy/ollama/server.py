"""What is asked of llama-server for a request in Ollama's own dialect, with the client's own key."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any

import msgspec
from twisted.web.iweb import IResponse

from .. import errors
from ..cards import Card
from ..chat import Chats
from ..door import ProxyRequest
from ..loading import Loading
from ..stream.attended import Answered
from ..upstream.client import Upstream
from ..upstream.models import Models
from ..upstream.whole import LARGEST

Ask = Callable[[ProxyRequest, bytes, bytes], Awaitable[IResponse]]
"""Sends a body to a target with the header fields of a request; the body of the answer is not read."""


class Server:
    """One llama-server, as a request in Ollama's dialect sees it."""

    def __init__(self, upstream: Upstream, models: Models, chats: Chats, loading: Loading, ask: Ask) -> None:
        self._upstream = upstream
        self._models = models
        self._chats = chats
        self._loading = loading
        self._ask = ask

    async def card(self, name: str, needed: Iterable[str] = ()) -> Card:
        """The card of the model, once it is loaded; raises what `listed` does.

        It is the one known, which costs no time, unless that lacks a capability that is needed: upstream may
        have been started anew with another model of that name.
        """
        known = self._models.known(name)
        if known is not None and set(needed) <= set(known.capabilities):
            return known
        return await self.listed(name)

    async def listed(self, name: str, unknown: str = "model '{}' not found") -> Card:
        """The card of the model as upstream tells it now, once it is loaded.

        Raises UnknownModel, with the text given, what else `Listing.find` does, or an UpstreamError.
        """
        deadline = self._loading.deadline()
        while True:
            try:
                return (await self._models.listing()).find(name, unknown=unknown)
            except errors.UpstreamLoading:
                await self._loading.wait(deadline)

    async def chatted(self, request: ProxyRequest, target: bytes, card: Card, body: bytes) -> Answered:
        """The answer to a chat, cured of what llama-server complains about; raises an UpstreamError."""
        return await self._chats.answered(partial(self._ask, request, target), target, card.id, body)

    async def completed(self, request: ProxyRequest, target: bytes, body: bytes) -> Answered:
        """The answer to what is no chat, once the model is loaded; raises an UpstreamError."""
        return await self._chats.loaded(partial(self._ask, request, target), target, body)

    async def streams(self, answered: Answered) -> Answered:
        """The answer itself where it is one; raises UpstreamRefusal in llama-server's words otherwise."""
        if answered.response.code != 200:
            raise await self.refused(answered)
        return answered

    async def refused(self, answered: Answered) -> errors.ProxyError:
        """The error that an answer is, with llama-server's own words and status."""
        return await self._chats.refusal(answered)

    async def body(self, answered: Answered, target: bytes, largest: int = LARGEST) -> bytes:
        """All of an answer, of at most `largest` bytes; raises an UpstreamError."""
        return await self._chats.body(answered, target, largest)

    async def told(self, request: ProxyRequest, target: bytes, document: bytes) -> dict[str, Any]:
        """The small JSON object that llama-server answers to one; raises an UpstreamError."""
        answered = await self.streams(await self.completed(request, target, document))
        body = await self.body(answered, target)
        try:
            return msgspec.json.decode(body, type=dict[str, Any])
        except msgspec.DecodeError:
            raise errors.UpstreamError(
                f"{self._upstream.shown}{target.decode('ascii')} answered what is no JSON object: is it a "
                "llama-server?"
            ) from None

    async def rendered(self, request: ProxyRequest, chat: bytes) -> str:
        """A chat as the prompt that the model's template makes of it; raises an UpstreamError."""
        return str((await self.told(request, b"/apply-template", chat))["prompt"])

    async def tokens(self, request: ProxyRequest, card: Card, text: str) -> list[int]:
        """The text as the model's tokens; raises an UpstreamError."""
        asked = {"model": card.id, "content": text, "add_special": True, "parse_special": True}
        return list((await self.told(request, b"/tokenize", msgspec.json.encode(asked)))["tokens"])
