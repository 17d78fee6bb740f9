"""Which header fields pass through a proxy, in both directions (RFC 9110 section 7.6.1)."""

from __future__ import annotations

from collections.abc import Container
from typing import Final
from uuid import uuid4

from twisted.web.http_headers import Headers

from . import __version__

SERVER: Final = f"copilot-proxy/{__version__}".encode("ascii")

# This very proxy, so that it knows a request of its own (RFC 9110 section 7.6.3)
VIA: Final = b"1.1 copilot-proxy-" + uuid4().hex[:12].encode("ascii")

# Of one connection, not of the message. Content-Length is made anew from the body that is really sent.
HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"content-length",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)


def end_to_end(headers: Headers, without: Container[bytes] = ()) -> Headers:
    """A copy with neither the hop-by-hop fields, nor those that Connection names, nor those of `without`.

    Names in `without` are in lower case.
    """
    named = {
        token.strip().lower()
        for value in headers.getRawHeaders(b"connection", ())
        for token in value.split(b",")
    }
    return Headers(
        {
            name: list(values)
            for name, values in headers.getAllRawHeaders()
            if (lower := name.lower()) not in HOP_BY_HOP and lower not in named and lower not in without
        }
    )
