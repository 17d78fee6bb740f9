"""How does Ollama read the body of a request?

As Go's encoding/json does (server/routes.go of 0.33, `c.ShouldBindJSON`): whatever the content type, keys in
any case, unknown ones ignored, and null as good as not there. Only in what it says of a wrong body does this
differ: it tells where the mistake is.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from .. import errors
from .jsontext import joined, kind, members, minify

_T = TypeVar("_T", bound=msgspec.Struct)


class Named(msgspec.Struct):
    """A request about one model. Of the two keys, older clients know `name` alone."""

    model: str | None = None
    name: str | None = None

    @property
    def called(self) -> str:
        """The model's name, empty where there is none: the command line sends an empty model beside it."""
        return self.model or self.name or ""


def read(body: bytes, what: type[_T]) -> _T:
    """The body as a `what`, whose members are all optional. Raises InvalidJSON and BadRequest."""
    if not body.strip():
        raise errors.BadRequest("missing request body")
    minified = minify(body)
    fields = {} if minified == b"null" else members(minified)
    if fields is None:
        raise errors.BadJSON(f"a JSON object is expected, this is {kind(minified)}")
    given = {name.lower(): value for name, value in fields.items() if bytes(value) != b"null"}
    try:
        return msgspec.json.decode(joined(given), type=what)
    except msgspec.ValidationError as e:
        raise errors.BadRequest(str(e)) from None
