"""Where does the proxy listen, on a port of its own or on a socket that systemd passes to it?"""

from __future__ import annotations

import os
import socket
from typing import Any

from twisted.internet.endpoints import AdoptedStreamServerEndpoint, serverFromString
from twisted.internet.interfaces import IStreamServerEndpoint


def endpoint(reactor: Any, text: str) -> IStreamServerEndpoint:
    """The endpoint that `text` describes; raises ValueError with what is wrong.

    A passed socket is looked at first: Twisted believes whatever `domain` says of it.
    """
    try:
        described: IStreamServerEndpoint = serverFromString(reactor, text)
    except Exception as e:  # each of Twisted's endpoint parsers raises errors of its own
        if text.startswith("systemd:") and isinstance(e, LookupError):
            raise ValueError(f"{text!r}: systemd passed no such socket: start it by a .socket unit") from None
        if text.startswith("ssl:"):
            raise ValueError(
                f"{text!r} cannot be used: {e}; give ssl:PORT:privateKey=KEY.pem:certKey=CERTIFICATE.pem"
            ) from None
        if isinstance(e, TypeError):  # in words about the arguments of Twisted's functions
            e = ValueError("it has too few parts, or too many")
        raise ValueError(f"{text!r} is no Twisted endpoint such as tcp:11434: {e}") from None
    if isinstance(described, AdoptedStreamServerEndpoint):
        _check(described, text)
    return described


def _check(adopted: AdoptedStreamServerEndpoint, text: str) -> None:
    with socket.socket(fileno=os.dup(adopted.fileno)) as passed:
        family = passed.family
    if family == socket.AF_UNIX:
        # twisted.internet.unix.Port shuts down and deletes what it adopted: then nobody can connect any more
        raise ValueError(
            f"{text!r}: Twisted would delete systemd's unix socket at its stop; make one with unix:/PATH"
        )
    if family != adopted.addressFamily:
        raise ValueError(f"{text!r}: the socket's domain is {family.name.removeprefix('AF_')}")
