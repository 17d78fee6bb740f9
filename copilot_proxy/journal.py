"""What is written to the log of a request: one line always, headers and bodies on demand, keys never."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from twisted.logger import Logger
from twisted.web.http_headers import Headers

from .exchange import Exchange
from .stream.usage import tokens

MASK: Final = "***"

_SECRET_HEADER: Final = re.compile(rb"auth|key|token|secret|password|cookie", re.IGNORECASE)
# The members of a JSON body that are keys, with all that stands in them: api_key, apiKeys, GITHUB_TOKEN,
# password. Numbers are none: max_tokens.
_SECRET_MEMBER: Final = re.compile(
    r"api[-_]?keys?|authorization|(?:^|[-_])token$|[a-z]Token$|secret|password|credential|bearer|[-_]key$|^key$",
    re.IGNORECASE,
)
# The same in text: JSON inside a string such as a tool call's arguments, a form, a header in a message. What
# is repeated has a bound, or a body of backslashes would take seconds.
_SECRET_TEXT: Final = re.compile(
    r"((?:api[-_]?keys?|authorization|token|secret|password|credential)"
    r"[\\\"' ]{0,8}[:=][\\\"' \[]{0,8})(?!Bearer )[^\s\\\"',&}]+",
    re.IGNORECASE,
)
_SECRET_BEARER: Final = re.compile(r"(bearer\s+)[\w.~+/=-]{8,}", re.IGNORECASE)

# Characters of one body that are logged; what is longer is cut, and says so.
_LONGEST: Final = 64 * 1024
# Segments of an answer that are kept for a verbose log: of a longer stream, its end is shown.
VERBOSE_SEGMENTS: Final = 256


# A model's name is the client's text: it may not write lines of its own into the log.
_LONGEST_NAME: Final = 80


def visible(text: str) -> str:
    """The text on one line, with what does not print escaped, and cut where it is very long."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[:_LONGEST_NAME])


def masked_headers(headers: Headers) -> str:
    """The header fields, one a line, with what proves somebody's identity masked."""
    return "\n".join(
        f"  {name.decode('latin-1')}: {MASK if _SECRET_HEADER.search(name) else value.decode('latin-1')}"
        for name, values in headers.getAllRawHeaders()
        for value in values
    )


def _masked(value: Any, name: str = "") -> Any:
    if name and not isinstance(value, int | float | None) and _SECRET_MEMBER.search(name):
        return MASK
    if isinstance(value, dict):
        return {key: _masked(member, key) for key, member in value.items()}
    if isinstance(value, list):
        return [_masked(item) for item in value]
    return value


def masked_body(body: bytes) -> str:
    """The body as people read it: JSON is indented, keys are masked, and what is very long is cut."""
    try:
        document = msgspec.json.encode(_masked(msgspec.json.decode(body)))
        text = msgspec.json.format(document, indent=2).decode("utf-8")
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        text = body.decode("utf-8", "backslashreplace")  # not JSON: shown as it is
    cut = text[:_LONGEST]
    shown = _SECRET_TEXT.sub(rf"\1{MASK}", _SECRET_BEARER.sub(rf"\1{MASK}", cut))
    more = len(text) - len(cut)
    return f"{shown}\n... and {more} characters more" if more else shown


# What is asked every few seconds for as long as the proxy runs. Only an answer with bad news is worth a line.
_PROBES: Final = frozenset({b"/health", b"/health/live", b"/health/ready"})


class Journal:
    """The log of requests. `verbose` adds headers and bodies."""

    log = Logger()

    def __init__(self, verbose: bool) -> None:
        self.verbose = verbose

    def ended(
        self,
        exchange: Exchange,
        now: float,
        *,
        client: str,
        method: bytes,
        path: bytes,
        status: int,
        how: str,
    ) -> None:
        """The one line of a request. `how` is empty for an answer that is whole."""
        if path in _PROBES and status == 200 and not self.verbose:
            return
        first = "" if exchange.first_byte is None else f" first={exchange.first_byte - exchange.started:.3f}s"
        tail = b"".join(exchange.tail)
        if self.verbose and tail:
            self.log.info("upstream answered\n{body}", body=masked_body(tail))
        count = tokens(tail)
        self.log.info(
            "{client} {method} {path} {shown_status}{shown_model}{first} total={seconds:.3f}s"
            "{shown_tokens}{how}",
            client=client,
            method=method.decode("ascii", "replace"),
            path=path.decode("ascii", "replace"),
            status=status,
            shown_status=status or "-",
            model=exchange.model,
            shown_model=f" model={visible(exchange.model)}" if exchange.model else "",
            first=first,
            seconds=now - exchange.started,
            tokens=None if count is None else (count.prompt, count.completion),
            shown_tokens="" if count is None else f" tokens={count.prompt}+{count.completion}",
            how=f" ({how})" if how else "",
        )

    def asked(self, request: Any) -> None:
        """What the client sent."""
        if self.verbose:
            self.log.info(
                "{method} {path} from the client\n{headers}\n{body}",
                method=request.method.decode("ascii", "replace"),
                path=request.path.decode("ascii", "replace"),
                headers=masked_headers(request.requestHeaders),
                body=masked_body(request.body),
            )

    def sent(self, target: bytes, body: bytes, changes: tuple[str, ...]) -> None:
        """What goes upstream in its place, and what was rewritten."""
        if self.verbose:
            self.log.info(
                "to upstream: {target}, {size} bytes; rewritten: {changes}\n{body}",
                target=target.partition(b"?")[0].decode("ascii", "replace"),
                size=len(body),
                changes="; ".join(changes) or "nothing",
                body=masked_body(body),
            )

    def repaired(self, model: str, complaint: str, done: str) -> None:
        """A chat that upstream refused is sent once more."""
        self.log.info(
            'upstream refused a chat{shown_model}: "{complaint}"; sent once more: {done}',
            model=model,
            shown_model=f" with {visible(model)}" if model else "",
            complaint=visible(complaint),
            done=done,
        )

    def waits(self) -> None:
        """A chat waits for the model."""
        self.log.info("llama-server is still loading its model; a chat waits for it")

    def noted(self, model: str, notes: Sequence[str]) -> None:
        """What had to be changed in a stream."""
        if notes:
            self.log.info(
                "made right in the answer{shown_model}: {notes}",
                model=model,
                shown_model=f" of {visible(model)}" if model else "",
                notes="; ".join(notes),
            )

    def answered(self, status: int, headers: Headers) -> None:
        """The head of upstream's answer."""
        if self.verbose:
            self.log.info(
                "upstream answers {status}\n{headers}", status=status, headers=masked_headers(headers)
            )
