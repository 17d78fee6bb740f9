"""How does Ollama read the body of a request?

As Go's encoding/json does (server/routes.go of 0.33, `c.ShouldBindJSON`): whatever the content type, keys as
they are and failing that in any case, unknown ones ignored, and null as good as not there. Only in what it
says of a wrong body does this differ: it tells where the mistake is.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Final, TypeVar

import msgspec
from msgspec import Raw

from ...errors import BadRequest
from ..jsontext import joined, kind, members, typed

_T = TypeVar("_T", bound=msgspec.Struct)

_NULL: Final = Raw(b"null")


class Named(msgspec.Struct):
    """A request about one model. Of the two keys, older clients know `name` alone."""

    model: str | None = None
    name: str | None = None

    @property
    def called(self) -> str:
        """The model's name, empty where there is none: the command line sends an empty model beside it."""
        return self.model or self.name or ""


def read(body: bytes, what: type[_T]) -> _T:
    """A minified body as a `what`, whose members are all optional. Raises BadRequest and InvalidJSON."""
    if not body:
        raise BadRequest("missing request body")
    if body == b"null":  # as Go reads it into a struct
        body = b"{}"
    fields = members(body)
    if fields is None:
        raise BadRequest(f"a JSON object is expected, this is {kind(body)}")
    said = _named(fields, what.__struct_encode_fields__)
    try:
        request: _T = typed(_decoder(what), body if said is fields else joined(said))
    except msgspec.ValidationError as error:
        raise _plain(error) from None
    return request


@cache
def _decoder(what: type[_T]) -> msgspec.json.Decoder[_T]:
    return msgspec.json.Decoder(what)


def _named(fields: dict[str, Raw], names: tuple[str, ...]) -> dict[str, Raw]:
    """The members without those that are null, each in lower case where only that is one of `names`.

    The very dict given where there is nothing to change.
    """
    said = {}
    for key, value in fields.items():
        name = key if key in names or key.lower() not in names else key.lower()
        if value != _NULL and (name == key or name not in fields):
            said[name] = value
    return fields if said.keys() == fields.keys() else said


_COMPLAINT: Final = re.compile(r"Expected `([^`]*)`, got `([^`]*)`")

# msgspec's name of a type -> ours
_WORDS: Final = {
    "str": "a string",
    "int": "an integer",
    "float": "a number with a fraction",
    "bool": "a boolean",
    "array": "an array",
    "object": "an object",
}


def _plain(error: msgspec.ValidationError) -> BadRequest:
    """What is wrong, and where, without msgspec's names for types."""
    reason, _, path = str(error).partition(" - at `$.")
    found = _COMPLAINT.fullmatch(reason)
    if found is not None:
        wanted, got = (_WORDS.get(name.removesuffix(" | null"), name) for name in found.groups())
        reason = f"{wanted} is expected, this is {got}"
    return BadRequest(f"{path.rstrip('`')}: {reason}")
