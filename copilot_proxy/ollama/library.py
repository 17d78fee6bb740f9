"""What is answered where Ollama would fetch, make, copy or remove a model, or ask ollama.com?

llama-server has the models that it was started with. A request that would change them is checked as Ollama
does (server/routes.go of 0.33), so that a mistake in it is told in the same words, and then refused with what
to do instead. Only to pull a model that is there already is no error: that is how clients make sure of it.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from .. import errors
from ..dialects.ollama.body import Named
from ..errors import Answer
from ..upstream.models import Listing

STATUS: Final = {"cloud": {"disabled": True, "source": "config"}}

_LINES: Final = b"application/x-ndjson"


class Pulled(Named):
    """A request whose answer is a stream of its progress, unless it asks for the last of it alone."""

    stream: bool = True


class Created(Pulled):
    """A model to be made of another one, or of files."""

    from_: str = msgspec.field(default="", name="from")
    files: dict[str, Any] = msgspec.field(default_factory=dict)


class Copied(msgspec.Struct):
    """A model that is to have a second name."""

    source: str = ""
    destination: str = ""


def _belongs(listing: Listing) -> str:
    there = ", ".join(card.name for card in listing.cards) or "none"
    return f"models belong to llama-server, which has {there}: start it with the model that you want"


def _refusal(listing: Listing, what: str) -> errors.NotOffered:
    return errors.NotOffered(f"copilot-proxy cannot {what} a model: {_belongs(listing)}")


def _progress(asked: Pulled, *steps: dict[str, str]) -> Answer:
    """The steps as a stream has them, or the last one by itself."""
    if not asked.stream:
        return Answer(200, msgspec.json.encode(steps[-1]))
    return Answer(200, b"".join(msgspec.json.encode(step) + b"\n" for step in steps), _LINES)


def pull(asked: Pulled, listing: Listing) -> Answer:
    """A success for a model that is there; raises a ProxyError, or tells it in the stream."""
    begun = {"status": "pulling manifest"}
    try:
        listing.find(asked.called)
    except errors.UnknownModel:
        error = errors.NotDownloaded(f"pull model manifest: file does not exist: {_belongs(listing)}")
        if not asked.stream:
            raise error from None
        return _progress(asked, begun, {"error": error.message})
    return _progress(asked, begun, {"status": "success"})


def push(asked: Pulled, listing: Listing) -> Answer:
    """A refusal: raises a ProxyError, or tells it in the stream."""
    error: errors.ProxyError = _refusal(listing, "push")
    try:
        listing.find(_required(asked.called))
    except errors.UnknownModel as e:
        error = e
    if not asked.stream:
        raise error
    return _progress(asked, {"status": "retrieving manifest"}, {"error": error.message})


def create(asked: Created, listing: Listing) -> Answer:
    """A refusal, before any progress: raises a ProxyError."""
    try:
        listing.find(asked.called)
    except errors.UnknownModel:
        pass  # as it should be
    if not asked.from_ and not asked.files:
        raise errors.BadRequest("neither 'from' or 'files' was specified")
    raise _refusal(listing, "create")


def copy(asked: Copied, listing: Listing) -> Answer:
    """A refusal: raises a ProxyError."""
    listing.find(asked.source, unknown='model "{}" not found', invalid='source "{}" is invalid')
    try:
        listing.find(asked.destination, invalid='destination "{}" is invalid')
    except errors.UnknownModel:
        pass  # as it should be
    raise _refusal(listing, "copy")


def delete(asked: Named, listing: Listing) -> Answer:
    """A refusal: raises a ProxyError."""
    listing.find(_required(asked.called), invalid='name "{}" is invalid')
    raise _refusal(listing, "delete")


def _required(name: str) -> str:
    if not name:
        raise errors.BadRequest("model is required")
    return name


def take_blob(listing: Listing) -> Answer:
    """A refusal of a file that a model would be made of: raises a ProxyError."""
    raise _refusal(listing, "create")


def no_blob() -> Answer:
    """No file of any digest is there."""
    return Answer(404, b"", b"text/plain")


def account() -> Answer:
    """Nobody is signed in: raises a ProxyError.

    Ollama gives the address of its sign-in page with this. The command line, which prints it after "You need
    to be signed in to Ollama to run Cloud models.", leaves it out where there is none (cmd/cmd.go), and an
    address would lead to models that cannot be used through here.
    """
    raise errors.NotSignedIn("unauthorized")


def sign_out() -> Answer:
    """Nobody is signed in, which the command line tells in its own words at a 401: raises a ProxyError."""
    raise errors.NotSignedIn("you are not currently signed in")


def web_search() -> Answer:
    """ollama.com is not asked: raises a ProxyError."""
    raise errors.CloudDisabled("ollama cloud is disabled: web search is unavailable")


def web_fetch() -> Answer:
    """ollama.com is not asked: raises a ProxyError."""
    raise errors.CloudDisabled("ollama cloud is disabled: web fetch is unavailable")
