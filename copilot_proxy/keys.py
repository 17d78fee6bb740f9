"""Who has to show a key, and is it a right one?"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from hashlib import sha256
from typing import Final

from twisted.web.http_headers import Headers
from twisted.web.server import Request

from .errors import KeyRefused

# Bytes of a body that are read of somebody without a key: a listing's question is far below it.
ROOM_WITHOUT_KEY: Final = 64 * 1024

_READ: Final = frozenset({b"GET", b"HEAD"})
# What tells nothing of the models, for probes and for clients that look whether somebody is there.
_OPEN: Final = dict.fromkeys((b"/", b"/health", b"/health/live", b"/health/ready"), _READ)
# Copilot asks these without a key, even where it has one (ollamaProvider.ts).
_LISTINGS: Final = {
    b"/api/experimental/model-recommendations": _READ,
    b"/api/models": _READ,
    b"/api/ps": _READ,
    b"/api/show": frozenset({b"POST"}),
    b"/api/tags": _READ,
    b"/api/version": _READ,
    b"/models": _READ,
    b"/v1/models": _READ,
}


def _digest(key: bytes) -> bytes:
    return sha256(key).digest()


def _shown(headers: Headers) -> list[bytes]:
    """The keys that a request brings (RFC 6750, section 2.1; X-Api-Key is Anthropic's)."""
    found = list(headers.getRawHeaders(b"x-api-key", ()))
    for value in headers.getRawHeaders(b"authorization", ()):
        scheme, _, key = value.partition(b" ")
        if scheme.lower() == b"bearer":
            found.append(key)
    return [key for key in map(bytes.strip, found) if key]


class Keys:
    """The keys that clients may come with; with none at all, everybody may come.

    Only digests are kept, which are all of one length: how long a comparison takes tells nothing of a key.
    """

    def __init__(self, keys: Sequence[str], *, open_listings: bool) -> None:
        self._digests = [_digest(key.encode("ascii")) for key in keys]
        self._open_listings = open_listings

    def allow(self, headers: Headers) -> bool:
        """Whether a right key is among those that these headers show."""
        if not self._digests:
            return True
        found = False
        for shown in map(_digest, _shown(headers)):
            for right in self._digests:  # all of them, whichever it is
                found |= hmac.compare_digest(shown, right)
        return found

    def check(self, request: Request, path: bytes) -> None:
        """Take the key off the request, for it is none of llama-server's; raises KeyRefused.

        `path` is tidied. Where no keys are set, the request stays as it is.
        """
        if not self._digests:
            return
        headers = request.requestHeaders
        allowed, shown = self.allow(headers), _shown(headers)
        headers.removeHeader(b"authorization")
        headers.removeHeader(b"x-api-key")
        listing = request.method in _LISTINGS.get(path, ())
        is_open = request.method in _OPEN.get(path, ()) or (listing and self._open_listings)
        if allowed or is_open:
            return
        request.setHeader(b"WWW-Authenticate", b"Bearer")
        raise KeyRefused(
            ("this key is not one of the proxy's" if shown else "this proxy asks for a key")
            + ": send one of its --api-key-file, as `Authorization: Bearer KEY` or `X-Api-Key: KEY`"
            + (", or let it list its models to everybody with --open-listings" if listing else "")
        )
