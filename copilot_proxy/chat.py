"""How a chat gets its answer: llama-server may have to load first, or to be asked in other words."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.web.iweb import IResponse

from . import errors
from .dialects.copilot import from_copilot, shows_text_alone
from .door import ProxyRequest
from .journal import Journal
from .repairs import Repair, Repairs
from .stream.attended import Answered, attend
from .stream.guard import Guard
from .stream.reasoning import Reasoning
from .stream.relay import relay, replay
from .upstream.client import Upstream

Ask = Callable[[bytes], Awaitable[IResponse]]

# the type of the error for a chat that is over the context (llama.cpp b11549)
_TOO_LONG: Final = b"exceed_context_size_error"
# what llama-server says with a 503 from its start until it has read its model
_LOADING: Final = b"Loading model"
# Seconds between two looks whether it has.
_LOOK: Final = 1.0
_PATIENCE: Final = 10.0


class _Reason(msgspec.Struct):
    message: str


class _Refusal(msgspec.Struct):
    """An error as llama-server writes it."""

    error: _Reason


class Chats:
    """Answers chats by `upstream`. `load_timeout` is how many seconds one waits while a model is loaded."""

    def __init__(
        self,
        upstream: Upstream,
        repairs: Repairs,
        journal: Journal,
        clock: IReactorTime,
        load_timeout: float,
        reasoning: Reasoning,
    ) -> None:
        self._upstream = upstream
        self._repairs = repairs
        self._journal = journal
        self._clock = clock
        self._load_timeout = load_timeout
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
        body, known = self._repairs.apply_known(model, request.take_body())
        self._journal.sent(target, body, (*changes, *known))
        answer = self._answer(ask, target, model, body)
        del body
        exchange, now, lost = request.exchange, self._clock.seconds, self._upstream.lost
        if streamed and from_copilot(request.requestHeaders):
            guard = Guard(
                created=int(time.time()),
                model=exchange.model,
                reasoning=self._reasoning,
                tells_in_text=shows_text_alone(request.requestHeaders),
            )
            answered = await attend(answer, request, exchange, self._clock, lost, self._refusal, guard)
            self._journal.noted(model, guard.notes)
        else:
            answered = await answer
        if answered is not None and answered.body is not None:
            replay(answered.response, answered.body, request, exchange, now)
        elif answered is not None:
            await relay(answered.response, request, exchange, now, lost)
        request.finish()

    async def _answer(self, ask: Ask, target: bytes, model: str, body: bytes) -> Answered:
        answered = await self._loaded(ask, target, body)
        if answered.body is None and _is_complaint(answered.response):
            answered = await self._cured(ask, target, model, body, answered.response)
        return answered

    async def _loaded(self, ask: Ask, target: bytes, body: bytes) -> Answered:
        """Upstream's answer once it has loaded its model; raises UpstreamLoading where that is too late."""
        deadline = self._clock.seconds() + self._load_timeout
        while True:
            response = await ask(body)
            if response.code != 503:
                return Answered(response)
            told = await self._upstream.whole(response, target)
            if _LOADING not in told:
                return Answered(response, told)
            self._journal.waits()
            status = 503
            while status == 503:
                if self._clock.seconds() >= deadline:
                    raise errors.UpstreamLoading(
                        f"llama-server at {self._upstream.shown} is still loading its model after "
                        f"{self._load_timeout:g} s; --load-timeout sets how long to wait"
                    )
                await deferLater(self._clock, _LOOK)
                try:
                    status, _ = await self._upstream.fetch(b"GET", b"/health", timeout=_PATIENCE)
                except errors.UpstreamSlow:
                    pass  # it is busy with its model, and --load-timeout is the limit for that

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

    async def _refusal(self, answered: Answered) -> errors.ProxyError:
        """The error that upstream's refusal is, for a client that can be told only inside its stream."""
        body = answered.body
        if body is None:
            body = await self._upstream.whole(answered.response, b"")
        try:
            told = msgspec.json.decode(body, type=_Refusal).error.message
        except msgspec.DecodeError:
            told = ""
        return errors.UpstreamRefusal(told or f"llama-server refused the chat ({answered.response.code})")


def _is_complaint(response: IResponse) -> bool:
    """Whether this answer is one that a cure may be for: it is small, and no stream."""
    content_type = (response.headers.getRawHeaders(b"content-type") or [b""])[0]
    return response.code in (400, 500) and content_type.lower().startswith(b"application/json")
