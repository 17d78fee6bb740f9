"""What can be set: every option with its environment name, default, unit and check, in one table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any, Final
from urllib.parse import urlsplit

from attrs import frozen

from .embedded import address as embedded_address
from .errors import Dialect

DEFAULT_PORT: Final = 11434
MEBIBYTE: Final = 1024 * 1024


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


@frozen
class Settings:
    """Everything that was set, checked. Times are seconds, sizes bytes; None means nothing set."""

    port: str
    upstream: UpstreamAddress
    verbose: bool
    api_dialect: Dialect | None
    upstream_key: str | None
    connect_timeout: float
    first_byte_timeout: float
    body_limit: int
    cors_origins: tuple[str, ...]


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


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < 1e9:
        raise ValueError(f"{text!r} is no number of seconds above 0")
    return value


_UNITS = {"": 1, "k": 1024, "m": MEBIBYTE, "g": 1024 * MEBIBYTE}


def _bytes(text: str) -> int:
    number = text.strip().lower().removesuffix("b").removesuffix("i")
    unit = number[-1:] if number[-1:] in ("k", "m", "g") else ""
    number = number.removesuffix(unit).strip()
    if not number.isascii() or not number.isdigit() or int(number) == 0:
        raise ValueError(f"{text!r} is no size: give bytes, or a number with K, M or G such as 100M")
    return int(number) * _UNITS[unit]


_SWITCH = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("", "0", "false", "no", "off"), False),
}


def _switch(text: str) -> bool:
    try:
        return _SWITCH[text.strip().lower()]
    except KeyError:
        raise ValueError(f"{text!r} is neither on (1, true, yes) nor off (0, false, no)") from None


def _dialect(text: str) -> Dialect | None:
    names: dict[str, Dialect | None] = {"auto": None, "openai": Dialect.OPENAI, "ollama": Dialect.OLLAMA}
    if text not in names:
        raise ValueError(f"{text!r} is no dialect: give auto, openai or ollama")
    return names[text]


def _key_file(path: str) -> str | None:
    if not path:
        return None
    try:
        with open(path, encoding="utf-8") as f:
            key = f.read().strip()
    except (OSError, UnicodeDecodeError) as e:
        raise ValueError(f"the key cannot be read from {path!r}: {e}") from None
    if not key or not key.isascii() or not key.isprintable():
        raise ValueError(f"{path!r} must hold the key on one line, in printable ASCII")
    return key


def _endpoint(text: str) -> str:
    # what --port is made of is read by twisted's endpoint parser, when the service is made
    if text.strip().isdigit():
        raise ValueError(f"{text!r} is no endpoint: did you mean tcp:{text.strip()}:interface=127.0.0.1?")
    return text


def _port_number(text: str) -> str:
    if not text.strip().isascii() or not text.strip().isdigit() or int(text) > 65535:
        raise ValueError(f"{text!r} is no port number: give 0 to 65535, or an endpoint with --port")
    return f"tcp:{int(text)}:interface=127.0.0.1"


def _origins(texts: Sequence[str]) -> tuple[str, ...]:
    origins = tuple(
        origin.strip().rstrip("/") for text in texts for origin in text.split(",") if origin.strip()
    )
    if len(origins) > 1 and not {"*", "none"}.isdisjoint(origins):
        raise ValueError("'*' and 'none' stand alone")
    for origin in origins:
        if origin not in ("*", "none") and ("://" not in origin or "/" in origin.partition("://")[2]):
            raise ValueError(f"{origin!r} is no origin: give scheme://host[:port], '*' or 'none'")
    return () if origins == ("none",) else origins


@frozen
class Option:
    """One row of the table: `parse` turns a text into the value, or raises ValueError with what is wrong."""

    name: str
    environment: str
    default: str
    parse: Callable[[Any], Any]
    help: str
    short: str | None = None
    flag: bool = False
    repeated: bool = False


OPTIONS: Final = (
    Option(
        "port",
        "LISTEN_PORT",
        f"tcp:{DEFAULT_PORT}:interface=127.0.0.1",
        _endpoint,
        "Where to listen, as a Twisted endpoint string. LISTEN_PORT takes a bare port number, on 127.0.0.1.",
        short="p",
    ),
    Option(
        "upstream",
        "UPSTREAM",
        "http://127.0.0.1:11433",
        upstream_address,
        "llama-server: http://HOST:PORT, https://HOST:PORT or unix:/PATH; or a llama.cpp run by the proxy "
        "itself: llama:/PATH/MODEL.gguf, or demo: for a tiny model that needs no download.",
        short="u",
    ),
    Option(
        "api-dialect",
        "API_DIALECT",
        "auto",
        _dialect,
        "How /api/chat and /api/generate are read: openai, ollama, or auto to tell by the request.",
    ),
    Option(
        "upstream-key-file",
        "UPSTREAM_KEY_FILE",
        "",
        _key_file,
        "A file with llama-server's --api-key. It replaces whatever key a client sends.",
    ),
    Option("connect-timeout", "CONNECT_TIMEOUT", "5", _seconds, "Seconds to reach llama-server in."),
    Option(
        "first-byte-timeout",
        "FIRST_BYTE_TIMEOUT",
        "600",
        _seconds,
        "Seconds until llama-server must begin its answer: it waits for a free slot before it does. "
        "There is no limit on the whole answer.",
    ),
    Option("body-limit", "BODY_LIMIT", "100M", _bytes, "The largest request body, in bytes or with K, M, G."),
    Option(
        "cors-origin",
        "CORS_ORIGIN",
        "*",
        _origins,
        "A web origin that may use the proxy from a browser; may be given several times. '*' allows every "
        "one, 'none' turns CORS off. CORS_ORIGIN takes a list with commas.",
        repeated=True,
    ),
    Option(
        "verbose",
        "VERBOSE",
        "",
        _switch,
        "Log headers, JSON bodies and what was rewritten. Keys are masked.",
        short="v",
        flag=True,
    ),
)


class WrongSetting(ValueError):
    """A value cannot be used; the text names where it was given and what to give instead."""


def _value(option: Option, flags: Mapping[str, Any], environ: Mapping[str, str]) -> Any:
    parse = option.parse
    given = flags.get(option.name)
    source = f"--{option.name}"
    if given is None and environ.get(option.environment):
        given, source = environ[option.environment], option.environment
        if option.environment == "LISTEN_PORT":
            parse = _port_number
    if given is None:
        given = option.default
    if option.repeated and isinstance(given, str):
        given = [given]
    try:
        return parse(given)
    except ValueError as e:
        raise WrongSetting(f"{source}: {e}") from None


def read(flags: Mapping[str, Any], environ: Mapping[str, str]) -> Settings:
    """Flags first, then the environment, then the defaults; raises WrongSetting.

    `flags` maps an option's name to what was written, None or absent where it was not given.
    """
    values = {option.name: _value(option, flags, environ) for option in OPTIONS}
    return Settings(
        port=values["port"],
        upstream=values["upstream"],
        verbose=values["verbose"],
        api_dialect=values["api-dialect"],
        upstream_key=values["upstream-key-file"],
        connect_timeout=values["connect-timeout"],
        first_byte_timeout=values["first-byte-timeout"],
        body_limit=values["body-limit"],
        cors_origins=values["cors-origin"],
    )
