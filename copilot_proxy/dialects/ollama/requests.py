"""What does a client of Ollama's /api/chat and /api/generate ask for? (api/types.go, server/routes.go)

Keys of the request itself are matched as Go does: as they are, and failing that in any case. Unknown ones are
ignored, and null says nothing. Schemas and arguments stay as they are spelled.
"""

from __future__ import annotations

from typing import Final, TypeVar

import msgspec
from msgspec import Raw

from ...errors import BadRequest, UnknownModel
from ..jsontext import OBJECT, STRING, InvalidJSON, kind, minify, string
from . import durations
from .body import read

_NULL: Final = Raw(b"null")
_NO_ARGUMENTS: Final = Raw(b"{}")
_TOP_LOGPROBS: Final = range(21)

_LEVELS: Final = frozenset({"high", "medium", "low", "max"})
_THINK: Final = '"high", "medium", "low", "max", true, or false'


class Function(msgspec.Struct):
    """The function that a model called, and with what."""

    name: str | None = None
    arguments: Raw = _NO_ARGUMENTS

    def __post_init__(self) -> None:
        """Make an object of what clients write for arguments; raises ValueError where that is none."""
        self.arguments = _object(self.arguments)


class ToolCall(msgspec.Struct):
    """A call of a tool in an earlier answer."""

    id: str | None = None
    function: Function = msgspec.field(default_factory=Function)


class Message(msgspec.Struct):
    """One message of a chat; the role is never None, and in lower case."""

    role: str | None = None
    content: str | None = None
    thinking: str | None = None
    images: list[str] | None = None
    tool_calls: list[ToolCall] | None = None
    tool_name: str | None = None
    tool_call_id: str | None = None

    def __post_init__(self) -> None:
        self.role = (self.role or "").lower()


class Request(msgspec.Struct, kw_only=True):
    """What both routes take; a Raw that was not given is null."""

    model: str = ""
    stream: bool = True
    format: Raw = _NULL
    keep_alive: Raw = _NULL
    options: Raw = _NULL
    think: Raw = _NULL
    truncate: bool = True
    shift: bool = True
    logprobs: bool = False
    top_logprobs: int = 0
    debug_render_only: bool = msgspec.field(default=False, name="_debug_render_only")


class ChatRequest(Request, kw_only=True):
    """The body of /api/chat."""

    messages: list[Message] = []
    tools: list[Raw] = []

    @property
    def loads(self) -> bool:
        """Whether it asks for nothing but to load the model."""
        return not self.messages and not self.unloads

    @property
    def unloads(self) -> bool:
        """Whether it asks for nothing but to unload the model."""
        return not self.messages and durations.seconds(self.keep_alive) == 0


class GenerateRequest(Request, kw_only=True):
    """The body of /api/generate."""

    prompt: str = ""
    suffix: str = ""
    system: str = ""
    template: str = ""
    context: list[int] = []
    raw: bool = False
    images: list[str] = []

    @property
    def loads(self) -> bool:
        """Whether it asks for nothing but to load the model."""
        return not self.prompt and not self.unloads

    @property
    def unloads(self) -> bool:
        """Whether it asks for nothing but to unload the model."""
        return not self.prompt and durations.seconds(self.keep_alive) == 0


_R = TypeVar("_R", bound=Request)


def read_chat(body: bytes) -> ChatRequest:
    """The request in a minified body. Raises BadRequest in Ollama's words, and InvalidJSON."""
    request = _read(body, ChatRequest)
    if not request.model:
        raise BadRequest("model is required")
    return request


def read_generate(body: bytes) -> GenerateRequest:
    """The request in a minified body.

    Raises BadRequest in Ollama's words, UnknownModel where no model is named, and InvalidJSON.
    """
    request = _read(body, GenerateRequest)
    if not request.model:
        raise UnknownModel("model '' not found")
    if request.unloads:
        return request
    if request.raw and (request.template or request.system or request.context):
        raise BadRequest("raw mode does not support template, system, or context")
    if request.template and not request.loads:
        raise BadRequest(
            "template is not supported: llama-server uses the chat template of its model; "
            "start it with --chat-template-file to use another one"
        )
    return request


def thinking(think: Raw | None) -> bool | str | None:
    """Whether the model shall think, or how hard; None where nothing was said. Raises BadRequest."""
    if think is None or bytes(think) == b"null":
        return None
    if bytes(think) in (b"true", b"false"):
        return bytes(think) == b"true"
    level = string(think)
    if level is None:
        raise BadRequest(f"think must be a boolean or string ({_THINK})")
    if level not in _LEVELS:
        raise BadRequest(
            f"invalid think value: {bytes(think).decode()} (must be {_THINK})",
            logged="think has no known value",
        )
    return level


def check_running(options: Raw, keep_alive: Raw) -> None:
    """Return where both have a form that Ollama takes; raises BadRequest. The options' own types are left."""
    if options != _NULL and kind(options) != OBJECT:
        raise BadRequest(f"options: an object is expected, this is {kind(options)}")
    durations.seconds(keep_alive)


def _read(body: bytes, what: type[_R]) -> _R:
    request = read(body, what)
    check_running(request.options, request.keep_alive)
    thinking(request.think)
    if request.top_logprobs not in _TOP_LOGPROBS:
        raise BadRequest("top_logprobs must be between 0 and 20")
    return request


def _object(arguments: Raw) -> Raw:
    """The JSON object that arguments are.

    Ollama takes an object; a string that holds one is what OpenAI's API has, and some clients keep to that.
    """
    if bytes(arguments) in (b"null", b'""'):
        return _NO_ARGUMENTS
    inner = arguments
    if kind(arguments) == STRING:
        try:
            inner = Raw(minify((string(arguments) or "").encode()))
        except InvalidJSON:
            raise ValueError("arguments are expected to be an object, this string holds no JSON") from None
    if kind(inner) != OBJECT:
        raise ValueError(f"arguments are expected to be an object, this is {kind(inner)}")
    return inner
