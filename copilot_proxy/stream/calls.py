"""Which tool call does each piece belong to, and which pieces may leave now?

VS Code puts calls together by their ids and ignores `index`: a piece without an id belongs to the last call
(vscode-copilot-chat, stream.ts). Others go by `index` (openai's helpers, opencode, Continue), and the Copilot
CLI wants `type`. So what leaves here pleases all: calls one after another, each with an id of its own, `type`
and name in its first piece, counted from 0. One call streams at a time. The next takes its place once the
arguments before it are whole, as llama-server writes them; where upstream interleaves calls, the others wait
for the finish, and what is held is no more than the answer itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from . import documents

_BLANKS = " \t\r\n"
_CLOSING = {"{": "}", "[": "]", '"': '"'}


class Piece(NamedTuple):
    """One item of a `tool_calls` array, its parts made text. `place` is its index; None, empty: not there."""

    place: int | None
    id: str
    name: str
    arguments: str


def piece(item: object) -> Piece | None:
    """What an item says; None where it is no object. Arguments that are no text become their JSON."""
    if not isinstance(item, dict):
        return None
    function = item.get("function")
    if not isinstance(function, dict):
        function = item  # some write name and arguments beside the id
    index, identity, name = item.get("index"), item.get("id"), function.get("name")
    arguments = function.get("arguments")
    if arguments is None:
        arguments = ""
    elif not isinstance(arguments, str):
        arguments = documents.write(arguments).decode()
    return Piece(
        index if type(index) is int else None,
        identity if isinstance(identity, str) else str(identity) if type(identity) is int else "",
        name if isinstance(name, str) else "",
        arguments,
    )


class Call:
    """One call. `index` is None until its first piece has left; `theirs` is how upstream names it."""

    def __init__(self, opening: Piece) -> None:
        self.theirs = opening
        self.name = ""
        self.repeats_name = False
        self.opened_empty = not opening.arguments.strip(_BLANKS)
        self.index: int | None = None
        self._pieces: list[str] = []

    def add(self, more: Piece) -> str:
        """Take a piece's name, id and arguments; returns the part of the arguments that counts."""
        self.repeats_name = self.repeats_name or bool(self.name and more.name)
        self.name = self.name or more.name
        if more.id and not self.theirs.id:
            self.theirs = self.theirs._replace(id=more.id)
        arguments = more.arguments if any(self._pieces) else more.arguments.lstrip(_BLANKS)
        self._pieces.append(arguments)
        return arguments

    @property
    def arguments(self) -> str:
        if len(self._pieces) > 1:
            self._pieces = ["".join(self._pieces)]
        return self._pieces[0] if self._pieces else ""

    @property
    def is_whole(self) -> bool:
        """Whether its arguments are a JSON document: nothing but blanks can follow."""
        text = self.arguments
        closing = _CLOSING.get(text[:1], "")  # missing, it spares the parse of half a document
        return bool(text) and text.rstrip(_BLANKS).endswith(closing) and documents.is_whole(text)


class Calls:
    """The tool calls of one answer. `unique` makes the end of an id, another one each time."""

    def __init__(self, unique: Callable[[], str]) -> None:
        self._unique = unique
        self._calls: list[Call] = []
        self._current = 0  # the call that streams; those after it wait
        self._sent = 0
        self._ids: set[str] = set()

    def __bool__(self) -> bool:
        """Whether the model called anything."""
        return any(call.name or call.arguments for call in self._calls)

    def take(self, more: Piece) -> dict[str, Any] | None:
        """The item that leaves for this piece; None where it waits."""
        call = self._owner(more)
        if call is None:
            last = self._calls[-1] if self._calls else None
            if last is not None and self._current == len(self._calls) - 1 and last.index is not None:
                self._current += last.is_whole
            call = self._open(more)
        arguments = call.add(more)
        if not call.name or call is not self._calls[self._current]:
            return None
        return self._item(call, arguments)

    def keep(self, more: Piece) -> None:
        """Take a piece for a client that gets its calls whole: all are `held` for the finish."""
        (self._owner(more) or self._open(more)).add(more)

    def held(self) -> list[dict[str, Any]]:
        """The items of the calls that waited, each call whole in one; those that say nothing are left out."""
        waiting = [call for call in self._calls if call.index is None and call.name]
        return [self._item(call, call.arguments) for call in waiting]

    def broken(self) -> Call | None:
        """The first call that no client could carry out: it has no name, or its arguments are no JSON."""
        for call in self._calls:
            if call.arguments and not (call.name and call.is_whole):
                return call
        return None

    def _item(self, call: Call, arguments: str) -> dict[str, Any]:
        if call.index is not None:
            return {"index": call.index, "function": {"arguments": arguments}}
        identity = call.theirs.id
        if not identity or identity in self._ids:
            identity = f"call_{self._unique()}"
        self._ids.add(identity)
        call.index, self._sent = self._sent, self._sent + 1
        return {
            "index": call.index,
            "id": identity,
            "type": "function",
            "function": {"name": call.name, "arguments": call.arguments},
        }

    def _open(self, more: Piece) -> Call:
        self._calls.append(Call(more))
        return self._calls[-1]

    def _owner(self, more: Piece) -> Call | None:
        """The call that a piece goes on with; None where it opens one. Of several that fit, the latest."""
        for fits in (_same_id, _same_index) if more.place is not None else (_same_id,):
            for call in reversed(self._calls):
                if fits(call, more):
                    return None if _opens_another(call, more) else call
        if more.place is not None or not self._calls:
            return None
        last = self._calls[-1]
        if (more.id and more.name) or _opens_another(last, more):
            return None
        return last


def _same_id(call: Call, more: Piece) -> bool:
    """Two calls can have one id upstream; then their indexes differ."""
    if not more.id or call.theirs.id != more.id:
        return False
    return more.place is None or call.theirs.place is None or call.theirs.place == more.place


def _same_index(call: Call, more: Piece) -> bool:
    return call.theirs.place == more.place


def _opens_another(call: Call, more: Piece) -> bool:
    """Whether a piece that seems to go on with this call names another one.

    Some upstreams give every call index 0 or the same id, others repeat id and name in each piece, or make up
    a new id for each: only what cannot be a piece of this call opens another. A call that has not got its
    name or its id yet may still get them.
    """
    if not more.name or not call.name:
        return False
    if more.name != call.name:
        return True
    same_id = more.id and more.id == call.theirs.id
    if not call.arguments:
        return bool(more.id and call.theirs.id and not same_id)
    if not more.arguments.strip(_BLANKS) and (same_id or call.repeats_name or not call.opened_empty):
        return False  # the empty end of this one, from an upstream that repeats the name
    return call.is_whole
