"""How does whatever an upstream streams become an answer that each of Copilot's clients reads to its end?

Event by event: one that needs no change passes with its own bytes, any other is written anew, and the answer
ends with one finish reason or one error, and `[DONE]`. VS Code says "Response contained no choices." to an
answer without a finish reason, and loses an error after the first choice unless a chunk with the finish
reason "error" stands before it (vscode-copilot-chat, stream.ts).

One guard serves one answer with one choice (`n` is 1, as Copilot's clients ask).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar
from uuid import uuid4

from ..errors import ProxyError, event
from . import chunks, documents, failures, fields, ordinary
from .answer import Answer, Step
from .heartbeat import COMMENT
from .notes import Notes
from .reasoning import Reasoning

DONE = b"data: [DONE]\n\n"

# what stands once in a chunk, and therefore in the last of those that it was split into
_ONCE = ("usage", "timings")

_FAILED = Step({}, "error")


def _unique() -> str:
    return uuid4().hex


class Guard:
    """The bytes of one answer as upstream sends them go in, those for the client come out.

    `created` is the time in seconds and `model` the name for chunks that have none; `unique` makes the end of
    an id, another one each time. With `tells_in_text` a failure stands in the text of the answer as well, for
    a client that only logs an error inside a stream. Nothing is held back but the pieces of tool calls that
    upstream interleaves.
    """

    content_type: ClassVar[bytes] = b"text/event-stream"

    def __init__(
        self,
        *,
        created: int,
        unique: Callable[[], str] = _unique,
        reasoning: Reasoning = Reasoning.COPILOT,
        model: str | None = None,
        tells_in_text: bool = False,
    ) -> None:
        self._tells_in_text = tells_in_text
        self._envelope = chunks.Envelope(created, model, f"chatcmpl-{unique()}")
        self._notes = Notes()
        self._note = self._notes.add
        self._answer = Answer(unique, reasoning, self._note)
        self._ordinary = ordinary.NEVER
        self._first = chunks.FirstChoice(self._note)
        self._begun = False  # a chunk with a choice has left
        self._ended = False  # its finish reason has left
        self.finished = False
        """The terminal has left; whatever comes later is dropped."""
        self.failure: ProxyError | None = None
        """Why the terminal was an error."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What the log could say of this stream: sentences that quote nothing of it."""
        return self._notes.sentences()

    def feed(self, events: bytes) -> bytes:
        """What the client gets for one or more whole events."""
        out: list[bytes] = []
        size = len(events)
        passed = at = 0  # the events between these two pass as they are
        before, after = self._ordinary
        while at < size:
            if events.startswith(before, at):
                # matches always, if only the empty text
                end = ordinary.STRING.match(events, at + len(before)).end()  # type: ignore[union-attr]
                if events.startswith(after, end):
                    at = end + len(after)
                    continue
            if b"\r" in events:
                events = events.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
                size = len(events)
            end = events.find(fields.END, at)
            end = size if end < 0 else end
            if passed < at:
                out.append(events[passed:at])
            out.append(self._event(events[at:end]))
            passed = at = min(end + len(fields.END), size)
            before, after = self._ordinary
        if not out:
            return events
        out.append(events[passed:])
        return b"".join(out)

    def end(self) -> bytes:
        """What the client gets when upstream has ended its body in the regular way."""
        return self.fail(failures.unfinished())

    def heartbeat(self) -> bytes:
        """What the client gets where nothing else came for long."""
        return COMMENT

    def fail(self, error: ProxyError) -> bytes:
        """What the client gets when upstream broke off: the error, unless the answer was whole already."""
        return self._fail(error, event(error))

    def _fail(self, error: ProxyError, told: bytes) -> bytes:
        if self.finished:
            return b""
        if not self._ended:
            self.failure = error
            if self._tells_in_text:
                steps, _ = self._answer.take({"content": f"\n\n{error.message}"}, None)
                told = self._chunks([*steps, _FAILED]) + told
            elif self._begun:
                told = self._chunks([_FAILED]) + told
        else:
            told = b""
        self._close()
        self.finished = True
        return told + DONE

    def _chunks(self, steps: list[Step]) -> bytes:
        """One chunk of ours for each step."""
        return b"".join(self._written(self._envelope.chunk(*step)) for step in steps)

    def _close(self) -> None:
        self._ended = True
        self._ordinary = ordinary.NEVER

    def _event(self, lines: bytes) -> bytes:
        if self.finished:
            return b""
        said = fields.read(lines)
        if said.data is None or not said.data.strip():
            return said.comments
        try:
            return said.comments + self._data(said, lines + fields.END)
        except RecursionError:  # a document that could just be read is too deep to be written
            self._note("an event that is nested too deeply was dropped")
            return said.comments

    def _data(self, said: fields.Event, own: bytes) -> bytes:
        data = said.data or b""
        if data.strip() == b"[DONE]":
            return self._done()
        document = documents.read(data)
        value = document.value if document else None
        if said.is_error:
            return self._told(value if document else data.decode(errors="replace"), b"")
        if not isinstance(value, dict) or document is None:
            self._note("an event that is no JSON object was dropped")
            return b""
        if value.get("error"):
            return self._told(value, own if said.plain and document.exact else b"")
        return self._chunk(value, own if said.plain and document.exact else b"")

    def _done(self) -> bytes:
        out = b""
        if not self._ended:
            self._note("the finish reason was supplied")
            steps, fault = self._answer.take({}, "stop")
            if fault is not None:
                return self.fail(fault)
            out = self._chunks(steps)
        self._close()
        self.finished = True
        return out + DONE

    def _told(self, value: Any, own: bytes) -> bytes:
        """Upstream's own words for its failure end the answer; `own` are its bytes, if they may pass."""
        failure = failures.reported(value)
        told = failures.document(value, failure)
        return self._fail(failure, own if own and documents.same(value, told) else self._written(told))

    def _chunk(self, chunk: dict[str, Any], own: bytes) -> bytes:
        """One chunk, made right; `own` are its bytes, if nothing but its meaning speaks against them."""
        if self._envelope.fill(chunk):
            own = b""
        choices = chunk.get("choices")
        choice = self._first.among(choices)
        if choice is None or self._ended:
            if choices != []:
                self._note("a choice after the finish, or what is none, was dropped")
            return self._without_choice(chunk, own)
        if choice.get("error"):
            return self._told(choice, b"")
        delta, finish = choice.get("delta"), chunks.finish(choice.get("finish_reason"))
        if not isinstance(delta, dict) or not delta:
            delta = message if isinstance(message := choice.get("message"), dict) else {}
        steps, fault = self._answer.take(delta, finish)
        out = self._split(chunk, choice, steps, own)
        if fault is not None:
            return out + self.fail(fault)
        if finish is not None:
            self._close()
        elif self._answer.in_quote or not self._answer.has_text:
            self._ordinary = ordinary.NEVER
        elif own and out is own:
            self._ordinary = ordinary.learn(own, chunk)
        return out

    def _without_choice(self, chunk: dict[str, Any], own: bytes) -> bytes:
        if chunk.get("choices") != []:
            if not chunk.get("usage"):
                return b""
            chunk["choices"] = []
            own = b""
        return own or self._written(chunk)

    def _split(self, chunk: dict[str, Any], choice: dict[str, Any], steps: list[Step], own: bytes) -> bytes:
        """The chunk as one for each step. What it says once goes with the first, a count with the last."""
        if not steps:
            return self._without_choice(chunk | {"choices": None}, b"")
        self._begun = True
        out: list[bytes] = []
        right = {key: value for key, value in choice.items() if key != "message"}
        for last, step in zip(range(1 - len(steps), 1), steps, strict=True):
            right |= {"index": 0, "delta": step.delta}
            if step.finish is not None or "finish_reason" in right:
                right["finish_reason"] = step.finish
            if own and len(steps) == 1 and documents.same([right], chunk["choices"]):
                return own
            part = chunk if last == 0 else {key: chunk[key] for key in chunk if key not in _ONCE}
            out.append(self._written(part | {"choices": [right]}))
            right = {"finish_reason": None}
        return b"".join(out)

    def _written(self, document: dict[str, Any]) -> bytes:
        return fields.PREFIX + documents.write(document) + fields.END
