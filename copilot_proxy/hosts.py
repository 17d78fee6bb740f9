"""Under which names may a proxy be asked that listens on this machine alone?

A page of the web can have its own name lead to 127.0.0.1 (DNS rebinding), and a browser then takes what the
proxy answers for the page's own. The Host header tells. The rule is Ollama's (allowedHostsMiddleware in
server/routes.go of 0.33), but that `[::1]` needs no port. No name is ever looked up.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Collection
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any, Final

from twisted.web.server import Request

from .errors import Answer, HostRefused

_HOST: Final = re.compile(r"\[(?P<bracketed>[^\]]*)\](?::\d*)?|(?P<plain>[^:]*)(?::\d*)?")
# RFC 1918 and RFC 4193; Python's own is_private takes in much more
_PRIVATE: Final = tuple(map(ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")))
# names that lead to nobody else: RFC 6761 section 6.3, RFC 6762 section 3, and what ICANN keeps for inside
_OWN: Final = (".localhost", ".local", ".internal")

_Address = IPv4Address | IPv6Address


def host_of(header: str) -> str:
    """The Host header without its port and in lower case; what has neither form is left whole."""
    found = _HOST.fullmatch(header)
    host = header if found is None else found["bracketed"] or found["plain"] or ""
    return host.lower()


def _address(host: str) -> _Address | None:
    try:
        found = ip_address(host)
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


def _is_near(address: _Address) -> bool:
    return (
        address.is_loopback
        or address.is_unspecified
        or any(address in network for network in _PRIVATE)
        or _is_ours(address)
    )


def _is_ours(address: _Address) -> bool:
    """Whether an interface of this machine has the address: only then can a socket be bound to it."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((str(address), 0))
    except OSError:
        return False
    return True


class Hosts:
    """The rule, with the names of `--allowed-host` besides; `*` among them allows every one.

    `machine` is this machine's own name. Nothing is refused before `listens` was told where the proxy does.
    """

    def __init__(self, allowed: Collection[str], machine: str | None = None) -> None:
        own = socket.gethostname() if machine is None else machine
        self._any = "*" in allowed
        self._names = {"", "localhost", own.lower(), *(name.lower() for name in allowed)}
        self._checks = False

    def listens(self, address: Any) -> None:
        """The proxy listens there. Only on a loopback address does it take its clients for this machine's."""
        found = _address(getattr(address, "host", None) or "")
        self._checks = found is not None and found.is_loopback and not self._any

    def answer(self, request: Request) -> Answer | None:
        """What Ollama answers to OPTIONS under an allowed name, None otherwise; raises HostRefused."""
        if not self._checks:
            return None
        header = (request.getHeader(b"host") or b"").decode("latin-1").strip()
        host = host_of(header)
        address = _address(host)
        if address is None and (host in self._names or host.endswith(_OWN)):
            return Answer(204, b"") if request.method == b"OPTIONS" else None
        if address is not None and (host in self._names or _is_near(address)):
            return None
        raise HostRefused(
            f"copilot-proxy listens for this machine alone, and does not answer as {header[:100]!r}: if that "
            f"name is yours, start it with --allowed-host {host[:100]}"
        )
