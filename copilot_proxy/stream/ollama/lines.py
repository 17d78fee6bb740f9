"""How does an answer reach a client of Ollama's as a stream? A line for each piece, and one terminal.

Clients take no blank line and no comment: ollama-python and Ollama's own client parse every line, and
Continue drops a last line without its end.
"""

from __future__ import annotations

from typing import ClassVar

from attrs import define

from ...errors import ProxyError
from .. import failures
from .answer import Answer
from .chunk import Logprob
from .line import ToolCall, error_line, write


@define(kw_only=True, eq=False)
class Lines(Answer):
    """One answer in lines: whatever was said, the last is one with `done` or one with an error."""

    content_type: ClassVar[bytes] = b"application/x-ndjson"

    def _say(
        self,
        content: str = "",
        thinking: str = "",
        calls: list[ToolCall] | None = None,
        logprobs: list[Logprob] | None = None,
    ) -> bytes:
        return write(self._piece(self._model, self._now(), content, thinking, calls, logprobs)) + b"\n"

    def heartbeat(self) -> bytes:
        """A line that says nothing, for a client that waits."""
        return b"" if self.finished else self._say()

    def fail(self, error: ProxyError) -> bytes:
        """One line with the error, or the terminal of an answer that was whole already."""
        if self._reason is not None:
            return self.end()
        if self.finished:
            return b""
        self.finished = True
        self.failure = error
        return error_line(error)

    def end(self, context: list[int] | None = None) -> bytes:
        """What the client gets when upstream has ended its body in the regular way.

        `context` are the tokens of a generation's prompt and of its answer.
        """
        if self.finished:
            return b""
        if self._reason is None:
            return self.fail(failures.unfinished())
        self.finished = True
        return self._last(context) + b"\n"
