"""Which web pages may use the proxy from a browser (the Fetch standard, section 3.3).

Permissive by default, as the project always was. A restricted list also refuses what other pages ask:
a browser sends a simple POST without asking first, and would only hide the answer.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.web.server import Request

from .errors import Answer, OriginRefused

_METHODS: Final = b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
_MAX_AGE: Final = b"86400"  # seconds; browsers cap it themselves (Chromium at 7200)


class Cors:
    """The rule for `origins`: `*` alone allows every one, none at all turns CORS off."""

    def __init__(self, origins: Collection[str]) -> None:
        self._origins = {origin.lower().encode("utf-8") for origin in origins}

    def mark(self, request: Request) -> None:
        """Put the CORS headers on the answer, whoever makes it; raises OriginRefused."""
        if not self._origins:
            return
        if b"*" in self._origins:
            request.setHeader(b"Access-Control-Allow-Origin", b"*")
            return
        request.responseHeaders.addRawHeader(b"Vary", b"Origin")
        origin = request.getHeader(b"origin")
        if origin is None or self._is_own(request, origin):
            return
        if origin.lower() not in self._origins:
            raise OriginRefused(
                f"web pages of {origin.decode('utf-8', 'replace')} may not use this proxy: --cors-origin "
                "names those that may"
            )
        request.setHeader(b"Access-Control-Allow-Origin", origin)

    def _is_own(self, request: Request, origin: bytes) -> bool:
        """A page of the proxy's own address. A name may be anybody's, and lead here (DNS rebinding)."""
        host = request.getHeader(b"host") or b""
        name = host.rpartition(b":")[0].strip(b"[]").decode("latin-1")
        if not (name == "localhost" or isIPAddress(name) or isIPv6Address(name)):
            return False
        return origin in (b"http://" + host, b"https://" + host)

    def answer(self, request: Request) -> Answer | None:
        """The answer to a preflight; None for any other request, and where CORS is off."""
        is_preflight = request.method == b"OPTIONS" and (
            request.getHeader(b"origin") is not None
            or request.getHeader(b"access-control-request-method") is not None
        )
        if not self._origins or not is_preflight:
            return None
        # asked-for names are echoed, since `*` does not cover Authorization
        names = request.getHeader(b"access-control-request-headers") or b"Authorization, Content-Type"
        request.setHeader(b"Access-Control-Allow-Methods", _METHODS)
        request.setHeader(b"Access-Control-Allow-Headers", names)
        request.setHeader(b"Access-Control-Max-Age", _MAX_AGE)
        if request.getHeader(b"access-control-request-private-network") == b"true":
            request.setHeader(b"Access-Control-Allow-Private-Network", b"true")
        return Answer(204, b"")
