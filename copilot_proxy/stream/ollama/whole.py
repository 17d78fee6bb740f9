"""How does an answer reach a client of Ollama's in one piece? As one document, or as an error."""

from __future__ import annotations

from io import StringIO

from attrs import define, field

from ...errors import ProxyError
from .. import failures
from .answer import Answer
from .chunk import Logprob
from .line import ToolCall


@define(kw_only=True, eq=False)
class Whole(Answer):
    """One answer, collected. While it comes the client gets no byte, so that a failure has a status."""

    _thinking: StringIO = field(init=False, factory=StringIO)
    _tool_calls: list[ToolCall] = field(init=False, factory=list)
    _logprobs: list[Logprob] = field(init=False, factory=list)

    def _keeps_text(self) -> bool:
        return True

    def _say(
        self,
        content: str = "",
        thinking: str = "",
        calls: list[ToolCall] | None = None,
        logprobs: list[Logprob] | None = None,
    ) -> bytes:
        self._thinking.write(thinking)
        self._tool_calls += calls or ()
        self._logprobs += logprobs or ()
        return b""

    def fail(self, error: ProxyError) -> bytes:
        if self._reason is None and not self.finished:
            self.finished = True
            self.failure = error
        return b""

    def document(self, context: list[int] | None = None) -> bytes:
        """The answer as JSON without a line's end; raises the ProxyError of one that is not whole.

        `context` are the tokens of a generation's prompt and of its answer.
        """
        if self._reason is None:
            self.fail(failures.unfinished())
        if self.failure is not None:
            raise self.failure
        self.finished = True
        return self._last(
            context,
            content=self.text,
            thinking=self._thinking.getvalue(),
            calls=self._tool_calls or None,
            logprobs=self._logprobs or None,
        )
