"""How does an answer in Ollama's dialect reach its client? Line by line, or as one document."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Final

from twisted.internet.interfaces import IReactorTime

from ..dialects.ollama.requests import ChatRequest, GenerateRequest, Request, thinking
from ..door import ProxyRequest
from ..errors import Answer, ProxyError
from ..journal import Journal
from ..stream.attended import Answered, attend, collect
from ..stream.ollama.line import Shape, load
from ..stream.ollama.lines import Lines
from ..stream.ollama.whole import Whole
from .server import Server

_JSON: Final = b"application/json; charset=utf-8"

Context = Callable[[], Awaitable[list[int] | None]]
"""Finds the tokens of a generation's prompt and answer, when the answer has come."""


def _now() -> datetime:
    return datetime.now(UTC)


async def _no_context() -> list[int] | None:
    return None


class Delivery:
    """Brings answers to clients. `clock` times them; `lost` makes the error of an answer that broke off."""

    def __init__(
        self, server: Server, journal: Journal, clock: IReactorTime, lost: Callable[[], ProxyError]
    ) -> None:
        self._server = server
        self._journal = journal
        self._clock = clock
        self._lost = lost

    def now(self) -> float:
        """The time of the clock, in seconds."""
        return self._clock.seconds()

    def reading(
        self,
        request: ProxyRequest,
        asked: Request,
        shape: Shape,
        remember: Callable[[list[str], str], None] | None = None,
    ) -> Lines | Whole:
        """What reads llama-server's stream for this request; `remember` gets thoughts that led to calls."""
        options: dict[str, Any] = {} if remember is None else {"remember": remember}
        return (Lines if asked.stream else Whole)(
            shape=shape,
            model=asked.model,
            started=request.exchange.started,
            loaded=self.now(),
            seconds=self._clock.seconds,
            now=_now,
            top_logprobs=asked.top_logprobs if asked.logprobs else None,
            thinks=thinking(asked.think) is not False,
            **options,
        )

    async def ready(self, asked: ChatRequest | GenerateRequest, shape: Shape) -> Answer:
        """The answer to a request that only loads or unloads its model; raises a ProxyError.

        A single llama-server has its one model in memory always: to unload it changes nothing.
        """
        await self._server.card(asked.model)
        reason = "unload" if asked.unloads else "load"
        return Answer(200, load(shape, asked.model, reason, _now()), _JSON)

    async def deliver(
        self,
        request: ProxyRequest,
        reading: Lines | Whole,
        answer: Awaitable[Answered],
        context: Context = _no_context,
    ) -> Answer | None:
        """Wait for llama-server's answer and bring it to the client as it comes, or return it as a document.

        Raises what `answer` raises and the failure of an answer that is not whole, where the client can still
        be told by a status. Cancelling closes upstream.
        """
        exchange = request.exchange
        if isinstance(reading, Whole):
            answered = await answer
            await collect(answered.response, request, exchange, self._clock.seconds, self._lost, reading)
            document = reading.document(await context())
            exchange.tail.append(document)
            done = Answer(200, document, _JSON)
        else:
            lines = reading

            async def last() -> bytes:
                return lines.end(await context())

            await attend(
                answer, request, exchange, self._clock, self._lost, self._server.refused, lines, last
            )
            request.finish()
            done = None
        self._journal.noted(exchange.model or "", reading.notes)
        return done
