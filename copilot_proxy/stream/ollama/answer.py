"""What do llama-server's events mean to a client of Ollama's, whichever way it gets the answer?"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import datetime
from io import StringIO
from typing import Any
from uuid import uuid4

from attrs import define, field

from ...errors import BrokenAnswer, ProxyError
from .. import documents, failures, fields
from ..calls import Calls, Piece, piece
from ..documents import Halves
from ..notes import Notes
from ..reasoning import Tail, calls_at_end
from . import chunk as chunks
from . import line
from .chunk import Chunk, Logprob
from .line import Shape, ToolCall
from .metrics import Metrics
from .tags import Tags
from .tools import whole_calls

_PREFIX_LENGTH = len(fields.PREFIX)
_END_LENGTH = len(fields.END)


def _hex() -> str:
    return uuid4().hex


def _forget(ids: list[str], reasoning: str) -> None:
    pass


@define(kw_only=True, eq=False)
class Answer(ABC):
    """The bytes of one answer as upstream sends them go in, and what each means goes to `_say`.

    Nothing is held back but tool calls, which leave whole.
    """

    _shape: Shape
    _model: str
    """The name as the client wrote it."""
    _started: float
    loaded: float
    """When the model was there to answer; this and `started` are times of the clock `seconds`."""
    _seconds: Callable[[], float]
    _now: Callable[[], datetime]
    """The time in UTC."""
    _top_logprobs: int | None = None
    """How many alternatives of each token the client wants; None: no probabilities at all."""
    _thinks: bool = True
    """Without it the thoughts are left out."""
    _remember: Callable[[list[str], str], None] = _forget
    """Gets the ids of the tool calls and all thoughts of a whole answer that has both, once; not those of
    more than `reasoning.KEPT` characters, nor those that a call was taken out of."""
    _unique: Callable[[], str] = _hex
    """Makes the end of an id, another one each time."""

    tokens: list[int] = field(init=False, factory=list)
    """The tokens of a generation, as far as upstream tells them."""
    finished: bool = field(init=False, default=False)
    """The terminal has left; whatever comes later is dropped."""
    failure: ProxyError | None = field(init=False, default=None)
    """Why the answer is none."""

    _reason: str | None = field(init=False, default=None)  # why the model ended: "stop" or "length"
    _has_text: bool = field(init=False, default=False)  # that is more than blanks
    _keeps: bool = field(init=False)
    _piece: Callable[..., line.Line] = field(init=False)
    _text: StringIO = field(init=False, factory=StringIO)
    _thoughts: Tail = field(init=False, factory=Tail)
    _halves: tuple[Halves, Halves] = field(init=False, factory=lambda: (Halves(), Halves()))
    _notes: Notes = field(init=False, factory=Notes)
    _tags: Tags | None = field(init=False, default=None)
    _calls: Calls = field(init=False)
    _metrics: Metrics = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._keeps = self._keeps_text()
        self._piece = line.PIECES[self._shape]
        self._calls = Calls(self._unique)
        self._metrics = Metrics(self._seconds)

    def split_tags(self, *, opened: bool) -> None:
        """Tell thoughts from text by their tags; `opened` where the prompt ends with the first of these."""
        self._tags = Tags(opened=opened)

    @property
    def notes(self) -> tuple[str, ...]:
        """What the log could say of this stream: sentences that quote nothing of it."""
        return self._notes.sentences()

    @property
    def text(self) -> str:
        """All that a generation has said so far, without its thoughts."""
        return self._text.getvalue()

    @abstractmethod
    def _say(
        self,
        content: str = "",
        thinking: str = "",
        calls: list[ToolCall] | None = None,
        logprobs: list[Logprob] | None = None,
    ) -> bytes:
        """What the client gets for this piece of the answer, in which is one kind of thing."""

    def _keeps_text(self) -> bool:
        """Whether all of the text is asked for in the end."""
        return self._shape is Shape.GENERATE

    @abstractmethod
    def fail(self, error: ProxyError) -> bytes:
        """What the client gets when upstream broke off: the error, unless the answer was whole already."""

    def feed(self, events: bytes) -> bytes:
        """What the client gets for one or more whole events."""
        if b"\r" in events:
            events = events.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if events.find(fields.END) == len(events) - _END_LENGTH:
            return self._event(events)
        return b"".join(map(self._event, events.split(fields.END)))

    def _event(self, lines: bytes) -> bytes:
        if self.finished or not lines:
            return b""
        if lines.startswith(fields.PREFIX):
            try:
                chunk = chunks.decode(lines[_PREFIX_LENGTH:])
            except documents.REFUSALS:
                pass
            else:
                return self._take(chunk)
        return self._odd(fields.read(lines.rstrip(b"\n")))

    def _odd(self, said: fields.Event) -> bytes:
        """An event that is none of a plain chunk."""
        data = (said.data or b"").strip()
        if not data:
            return b""
        if data == b"[DONE]":
            return self._done()
        document = documents.read(data)
        if said.is_error:
            return self.fail(failures.reported(document.value if document else data.decode(errors="replace")))
        if document is None or not isinstance(document.value, dict):
            self._notes.add("an event that is no JSON object was dropped")
            return b""
        return self._take(chunks.lenient(document.value), exact=document.exact)

    def _done(self) -> bytes:
        if self._reason is not None:
            return b""
        self._notes.add("the finish reason was supplied")
        return self._finish("stop")

    def _take(self, chunk: Chunk, *, exact: bool = True) -> bytes:
        if chunk.error:
            return self.fail(failures.reported(chunk.error))
        if chunk.timings is not None or chunk.usage is not None:
            self._metrics.told(chunk.timings, chunk.usage)
        thinking, content, calls, logprobs, finish = chunks.said(chunk)
        if self._reason is not None:
            if thinking or content or calls:
                self._notes.add("what came after the finish was dropped")
            return b""
        if not exact:
            thinking = self._halves[0].join(thinking or "")
            content = self._halves[1].join(content or "")
        if chunk.tokens and self._keeps:
            self.tokens += chunk.tokens
        out = b""
        if thinking or content or calls or logprobs:
            self._metrics.came()
            for item in calls or ():
                self._call(item)
            if self._tags is not None and content:
                thinking, content = self._tags.split(content)
            out = self._tell(thinking, content, chunks.asked(logprobs, self._top_logprobs))
        return out if finish is None else out + self._finish(finish)

    def _tell(
        self, thinking: str | None, content: str | None, logprobs: list[Logprob] | None = None
    ) -> bytes:
        """The thoughts and the text of one event. The probabilities are told once, and alone if need be."""
        out = b""
        if thinking:
            self._thoughts.add(thinking)
            if self._thinks:
                out = self._say("", thinking, None, logprobs)
            logprobs = None
        if content:
            if not self._has_text:
                self._has_text = not content.isspace()
            if self._keeps:
                self._text.write(content)
            return out + self._say(content, "", None, logprobs)
        return out + self._say(logprobs=logprobs) if logprobs else out

    def _call(self, item: object) -> None:
        more = piece(item)
        if more is None:
            self._notes.add("a tool call that is no object was dropped")
        else:
            self._calls.keep(more)

    def _finish(self, finish: str) -> bytes:
        """What is left to say, where the model ends its answer for this reason, "error" among them."""
        out = b"" if self._tags is None else self._tell(*self._tags.rest())
        if finish == "error":
            return out + self.fail(BrokenAnswer(failures.UNEXPLAINED))
        rescued = not self._calls and not self._has_text and self._rescue()
        try:
            calls = whole_calls(self._calls, finish)
        except BrokenAnswer as e:
            return out + self.fail(e)
        if calls:
            out += self._say(calls=calls)
            if self._thoughts and self._thoughts.is_all and not rescued:
                self._remember([call.id for call in calls], self._thoughts.text())
        self._reason = "length" if finish == "length" else "stop"
        self._metrics.finished()
        return out

    def _rescue(self) -> bool:
        """Take the tool calls with which the thoughts end, where nothing else was said; whether there are."""
        found = calls_at_end(self._thoughts.text())
        for call in found:
            self._calls.keep(Piece(None, "", call.name, call.arguments))
        if found:
            self._notes.add("tool calls were taken out of the reasoning (ggml-org/llama.cpp#22684)")
        return bool(found)

    def _last(self, context: list[int] | None, **whole: Any) -> bytes:
        """The document that ends a whole answer; `whole` is what was not told before."""
        made = self._piece(self._model, self._now(), **whole)
        numbers = self._metrics.numbers(self._started, self.loaded)
        line.end(made, self._reason or "stop", context, **numbers)
        return line.write(made)
