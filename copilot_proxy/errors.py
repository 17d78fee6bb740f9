"""Every failure that a client can see: its status, its text, and how each dialect writes it.

An error is a type that carries the HTTP status and the message for the person at the other end, with what to
do about it. `answer` alone turns one into bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any

import msgspec
from attrs import frozen


class Dialect(Enum):
    """Which API a client speaks, and so in which shape it reads errors."""

    OPENAI = "openai"
    OLLAMA = "ollama"


class ProxyError(Exception):
    """A failure with the status and the message that the client should see."""

    status = 500
    type = "server_error"
    code = "internal_error"

    def __init__(self, message: str, *, logged: str | None = None) -> None:
        """`logged` is what the log says in place of a message that quotes the client's body."""
        super().__init__(message)
        self.message = message
        self.logged = logged or message


class BadRequest(ProxyError):
    """The request cannot be understood."""

    status, type, code = 400, "invalid_request_error", "bad_request"


class BadJSON(ProxyError):
    """The body is not the JSON that its route takes."""

    status, type, code = 400, "invalid_request_error", "invalid_json"


class BadOption(ProxyError):
    """An option, or the format of an answer, is none that Ollama takes.

    Its server finds out late and answers 500, as for a failure of its own (Ollama 0.33, server/routes.go).
    """

    type, code = "invalid_request_error", "bad_option"


class NotSignedIn(ProxyError):
    """The request needs an account at ollama.com."""

    status, type, code = 401, "authentication_error", "not_signed_in"


class KeyRefused(ProxyError):
    """The client shows no key of `--api-key-file`."""

    status, type, code = 401, "authentication_error", "key_refused"


class OriginRefused(ProxyError):
    """A web page asks that `--cors-origin` does not name."""

    status, type, code = 403, "permission_error", "origin_not_allowed"


class HostRefused(ProxyError):
    """The request was sent to a name that may be anybody's."""

    status, type, code = 403, "permission_error", "host_not_allowed"


class CloudDisabled(ProxyError):
    """What is asked for runs at ollama.com."""

    status, type, code = 403, "permission_error", "cloud_disabled"


class UnknownModel(ProxyError):
    """Upstream has no model of that name."""

    status, type, code = 404, "not_found_error", "model_not_found"


class BodyTooLarge(ProxyError):
    """The body is over `--body-limit`."""

    status, type, code = 413, "invalid_request_error", "body_too_large"


class EncodedBody(ProxyError):
    """The body is compressed, and its route has to read it."""

    status, type, code = 415, "invalid_request_error", "encoded_body"


class NotDownloaded(ProxyError):
    """The model is not there, and would have to be downloaded; Ollama's status for that."""

    status, type, code = 500, "not_supported_error", "not_downloaded"


class NotOffered(ProxyError):
    """The request changes models, which llama-server does not offer."""

    status, type, code = 501, "not_supported_error", "not_offered"


class UpstreamError(ProxyError):
    """Upstream could not be asked, or its answer made no sense."""

    status, type, code = 502, "upstream_error", "upstream_failed"


class UpstreamRefused(UpstreamError):
    """Nobody listens at upstream's address."""

    code = "upstream_refused"


class UpstreamUnknown(UpstreamError):
    """Upstream's host name has no address."""

    code = "upstream_dns"


class UpstreamTLS(UpstreamError):
    """The TLS handshake with upstream failed."""

    code = "upstream_tls"


class UpstreamLost(UpstreamError):
    """Upstream closed the connection before or inside its answer."""

    code = "upstream_lost"


class BrokenAnswer(UpstreamError):
    """Upstream's answer ended before it was whole, or holds what no client could use."""

    code = "upstream_incomplete"


class UpstreamRefusal(UpstreamError):
    """Upstream refused the request, in words of its own."""

    code = "upstream_refusal"

    def __init__(self, message: str, status: int = 502) -> None:
        """`status` is upstream's own; one that is no error's becomes 502."""
        super().__init__(message)
        self.status = status if status >= 400 else 502


class UpstreamIsProxy(UpstreamError):
    """The proxy was told to ask itself."""

    status, code = 508, "upstream_loop"


class UpstreamLoading(UpstreamError):
    """llama-server is there and still reads its model."""

    status, code = 503, "upstream_loading"


class UpstreamSlow(UpstreamError):
    """Upstream did not connect or answer in time."""

    status, code = 504, "upstream_timeout"


class Stopped(UpstreamError):
    """The proxy ends before upstream's answer does."""

    status, type, code = 503, "server_error", "proxy_stopped"


@frozen
class Answer:
    """A whole answer: status, content type and body."""

    status: int
    body: bytes
    content_type: bytes = b"application/json"


def _openai(error: ProxyError) -> dict[str, Any]:
    return {"error": {"message": error.message, "type": error.type, "code": error.code}}


def _ollama(error: ProxyError) -> dict[str, Any]:
    return {"error": error.message}


SHAPES: dict[Dialect, Callable[[ProxyError], dict[str, Any]]] = {
    Dialect.OPENAI: _openai,
    Dialect.OLLAMA: _ollama,
}

VS_CODE = b"GitHubCopilotChat/"

# VS Code shows the text of a 400 and the like. These it takes for something else: 401 and 403 reset the
# GitHub token, 402 is the quota, 422 the content filter, 429 and 503 the rate limit, 424, 466 and 499 have
# meanings of their own, and of every other 5xx it drops the body (vscode-copilot-chat, chatMLFetcher.ts).
_MISREAD_BY_VS_CODE = frozenset({401, 402, 403, 422, 424, 429, 466, 499})


def status_for(status: int, user_agent: bytes) -> int:
    """The status with which this client shows its user the text of a failure."""
    if not user_agent.startswith(VS_CODE):
        return status
    if 200 < status < 204:  # a success to everybody else
        return 200
    return 400 if status >= 500 or status in _MISREAD_BY_VS_CODE else status


def answer(error: ProxyError, dialect: Dialect, user_agent: bytes = b"") -> Answer:
    """The failure as `dialect` writes it, with the status that this client can show."""
    return Answer(status_for(error.status, user_agent), msgspec.json.encode(SHAPES[dialect](error)))


def event(error: ProxyError) -> bytes:
    """The failure as one SSE event, for a stream whose status has been sent already."""
    return b"data: " + msgspec.json.encode(_openai(error)) + b"\n\n"
