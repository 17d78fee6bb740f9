"""Where is llama-server? One text, and the ways to reach it that it can name."""

from __future__ import annotations

from enum import Enum
from urllib.parse import urlsplit

from attrs import frozen

from .embedded import address as embedded_address


class Transport(Enum):
    """How upstream is reached."""

    TCP = "http"
    TLS = "https"
    UNIX = "unix"
    EMBEDDED = "embedded"


@frozen
class UpstreamAddress:
    """Where llama-server is; `shown` is its name in messages, `base` the URL before each path."""

    shown: str
    transport: Transport
    base: str
    host: str = ""
    port: int = 0
    socket: str = ""
    child: tuple[str, ...] = ()


def upstream_address(text: str) -> UpstreamAddress:
    """Read `http://`, `https://`, `unix:`, `llama:` or `demo:`; raises ValueError with what is wrong."""
    kind, separator, rest = text.partition(":")
    if not separator or kind not in ("http", "https", "unix", "llama", "demo"):
        raise ValueError(
            f"{text!r} is no address of a server: give http://HOST:PORT, https://HOST:PORT, unix:/PATH, "
            "llama:/PATH/MODEL.gguf or demo:"
        )
    if kind in ("llama", "demo"):
        child = tuple(embedded_address.parse(text))
        return UpstreamAddress(text, Transport.EMBEDDED, "http://127.0.0.1", child=child)
    if kind == "unix":
        path = rest.removeprefix("//") if rest.startswith("///") else rest
        if not path.startswith("/"):
            raise ValueError(f"{text!r} needs an absolute path: unix:/run/llama.sock")
        return UpstreamAddress(text, Transport.UNIX, "http://localhost", socket=path)
    return _web_address(text)


def _web_address(text: str) -> UpstreamAddress:
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError as e:
        raise ValueError(f"{text!r} is no URL: {e}") from None
    if port == 0:
        raise ValueError(f"{text!r} has port 0, where nobody listens")
    if not url.hostname or not text.isascii() or any(c.isspace() for c in text):
        raise ValueError(f"{text!r} names no host: give {url.scheme}://HOST:PORT")
    if url.username is not None or url.password is not None:
        raise ValueError("the URL holds a user or password: put the server's key into --upstream-key-file")
    if url.query or url.fragment:
        raise ValueError(f"{text!r} has a query or a fragment: give {url.scheme}://HOST:PORT")
    transport = Transport(url.scheme)
    # many a guide gives the address with the API's /v1, which every path brings by itself
    prefix = url.path.rstrip("/").removesuffix("/v1")
    base = f"{url.scheme}://{url.netloc}{prefix}"
    default = 443 if transport is Transport.TLS else 80
    return UpstreamAddress(base, transport, base, host=url.hostname, port=port or default)
