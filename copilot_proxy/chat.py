"""How a chat gets its answer: llama-server may have to load first, or to be asked in other words."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
from twisted.internet.interfaces import IReactorTime
from twisted.web.iweb import IResponse

from . import errors
from .dialects.copilot import from_copilot, shows_text_alone
from .door import ProxyRequest
from .journal import Journal
from .loading import Loading
from .repairs import Repair, Repairs
from .stream.attended import Answered, attend
from .stream.guard import Guard
from .stream.reasoning import Reasoning
from .stream.relay import relay, replay
from .upstream.client import Upstream
from .upstream.whole import LARGEST

Ask = Callable[[bytes], Awaitable[IResponse]]

# the type of the error for a chat that is over the context (llama.cpp b11549)
_TOO_LONG: Final = b"exceed_context_size_error"
# what llama-server says with a 503 from its start until it has read its model
_LOADING: Final = b"Loading model"


class _Reason(msgspec.Struct):
    message: str


class _Refusal(msgspec.Struct):
    """An error as llama-server writes it."""

    error: _Reason


class Chats:
    """Answers chats by `upstream`, and waits where it still loads its model."""

    def __init__(
        self,
        upstream: Upstream,
        repairs: Repairs,
        journal: Journal,
        clock: IReactorTime,
        loading: Loading,
        reasoning: Reasoning,
    ) -> None:
        self._upstream = upstream
        self._repairs = repairs
        self._journal = journal
        self._clock = clock
        self._loading = loading
        self._reasoning = reasoning

    async def chat(
        self,
        request: ProxyRequest,
        ask: Ask,
        *,
        target: bytes,
        model: str,
        changes: tuple[str, ...],
        streamed: bool,
    ) -> None:
        """Send a chat with every cure that this model is known to need, and relay what comes in the end.

        `ask` sends a body to `target`. Raises an UpstreamError, and finishes the request otherwise.
        """
        answer = self.answered(ask, target, model, request.take_body(), changes)
        exchange, now, lost = request.exchange, self._clock.seconds, self._upstream.lost
        if streamed and from_copilot(request.requestHeaders):
            guard = Guard(
                created=int(time.time()),
                model=exchange.model,
                reasoning=self._reasoning,
                tells_in_text=shows_text_alone(request.requestHeaders),
            )
            answered = await attend(answer, request, exchange, self._clock, lost, self.refusal, guard)
            self._journal.noted(model, guard.notes)
        else:
            answered = await answer
        if answered is not None and answered.body is not None:
            replay(answered.response, answered.body, request, exchange, now)
        elif answered is not None:
            await relay(answered.response, request, exchange, now, lost)
        request.finish()

    async def answered(
        self, ask: Ask, target: bytes, model: str, body: bytes, changes: tuple[str, ...] = ()
    ) -> Answered:
        """Upstream's answer to a chat with every cure that it needs; raises an UpstreamError.

        `changes` is what was rewritten in the body so far, for --verbose.
        """
        body, known = self._repairs.apply_known(model, body)
        answered = await self.loaded(ask, target, body, (*changes, *known))
        if answered.body is None and _is_complaint(answered.response):
            answered = await self._cured(ask, target, model, body, answered.response)
        return answered

    async def loaded(self, ask: Ask, target: bytes, body: bytes, changes: tuple[str, ...] = ()) -> Answered:
        """Upstream's answer once it has loaded its model; raises UpstreamLoading where that is too late."""
        self._journal.sent(target, body, changes)
        deadline = self._loading.deadline()
        while True:
            response = await ask(body)
            if response.code != 503:
                return Answered(response)
            told = await self._upstream.whole(response, target)
            if _LOADING not in told:
                return Answered(response, told)
            await self._loading.wait(deadline)

    async def _cured(self, ask: Ask, target: bytes, model: str, body: bytes, response: IResponse) -> Answered:
        """Upstream's answer to the chat with cures for what it complains about.

        Where no cure is left, the client gets the first complaint, which is about what it wrote itself; a
        later one may be about what a cure made of it. Only that a chat is too long for the context is told
        even then: no cure is to blame for that, and it is what the client has to know.
        """
        told: Answered | None = None
        tried: list[Repair] = []
        while _is_complaint(response):
            complaint = await self._upstream.whole(response, target)
            if told is None or _TOO_LONG in complaint:
                told = Answered(response, complaint)
            cured = self._repairs.cure(response.code, complaint, body, tried)
            if cured is None:
                return told
            body = cured.body
            tried.append(cured.repair)
            self._journal.repaired(model, cured.complaint, cured.repair.done)
            self._journal.sent(target, body, (cured.repair.done,))
            response = await ask(body)
        if response.code == 200:
            self._repairs.worked(model, tried)
        return Answered(response)

    async def body(self, answered: Answered, target: bytes, largest: int = LARGEST) -> bytes:
        """All of an answer, of at most `largest` bytes; raises an UpstreamError."""
        if answered.body is not None:
            return answered.body
        return await self._upstream.whole(answered.response, target, largest)

    async def refusal(self, answered: Answered) -> errors.ProxyError:
        """The error that upstream's refusal is, for a client that can be told only inside its stream."""
        body = await self.body(answered, b"")
        try:
            told = msgspec.json.decode(body, type=_Refusal).error.message
        except msgspec.DecodeError:
            told = ""
        code = answered.response.code
        return errors.UpstreamRefusal(told or f"llama-server refused the chat ({code})", code)


def _is_complaint(response: IResponse) -> bool:
    """Whether this answer is one that a cure may be for: it is small, and no stream."""
    content_type = (response.headers.getRawHeaders(b"content-type") or [b""])[0]
    return response.code in (400, 500) and content_type.lower().startswith(b"application/json")
