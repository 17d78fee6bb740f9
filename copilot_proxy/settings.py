"""What can be set: every option with its environment name, default, unit and check, in one table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from attrs import frozen

from . import parse
from .address import UpstreamAddress, upstream_address
from .errors import Dialect
from .stream.reasoning import Reasoning

EX_USAGE: Final = 64  # sysexits.h: the command was used wrongly


@frozen
class Settings:
    """Everything that was set, checked. Times are seconds, sizes bytes; None means nothing set."""

    port: str
    listen_interface: str
    upstream: UpstreamAddress
    verbose: bool
    api_dialect: Dialect | None
    upstream_key: str | None
    upstream_ca: tuple[bytes, ...]
    api_keys: tuple[str, ...]
    open_listings: bool
    connect_timeout: float
    first_byte_timeout: float
    load_timeout: float
    stall_timeout: float
    drain: float
    reasoning: Reasoning
    body_limit: int
    context_headroom: float
    cors_origins: tuple[str, ...]
    allowed_hosts: tuple[str, ...]


@frozen
class Option:
    """One row of the table: `read` turns a text into the value, or raises ValueError with what is wrong."""

    name: str
    environment: str
    default: str
    read: Callable[[Any], Any]
    help: str
    short: str | None = None
    flag: bool = False
    repeated: bool = False


OPTIONS: Final = (
    Option(
        "port",
        "LISTEN_PORT",
        "tcp:11434:interface=127.0.0.1",
        parse.endpoint,
        "Where to listen, as a Twisted endpoint string. LISTEN_PORT takes a bare port number.",
        short="p",
    ),
    Option(
        "listen-interface",
        "LISTEN_INTERFACE",
        parse.LOCAL,
        parse.interface,
        "The address to listen on where --port is not given; 0.0.0.0 is every one, as a container needs it.",
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
        parse.dialect,
        "How /api/chat and /api/generate are read: openai, ollama, or auto to tell by the request.",
    ),
    Option(
        "upstream-key-file",
        "UPSTREAM_KEY_FILE",
        "",
        parse.key_file,
        "A file with llama-server's --api-key. It replaces whatever key a client sends.",
    ),
    Option(
        "upstream-ca",
        "UPSTREAM_CA",
        "",
        parse.certificates,
        "A PEM file with the certificates to trust for an https upstream, in place of the system's.",
    ),
    Option(
        "api-key-file",
        "API_KEY_FILE",
        "",
        parse.keys_file,
        "A file with the keys that clients may come with, one a line. Without it nobody is asked for one.",
    ),
    Option(
        "open-listings",
        "OPEN_LISTINGS",
        "",
        parse.switch,
        "With --api-key-file: the models are listed to everybody, for Copilot asks for them without a key.",
        flag=True,
    ),
    Option("connect-timeout", "CONNECT_TIMEOUT", "5", parse.seconds, "Seconds to reach llama-server in."),
    Option(
        "first-byte-timeout",
        "FIRST_BYTE_TIMEOUT",
        "600",
        parse.seconds,
        "Seconds until llama-server must begin its answer: it waits for a free slot before it does. "
        "There is no limit on the whole answer.",
    ),
    Option(
        "load-timeout",
        "LOAD_TIMEOUT",
        "300",
        parse.seconds,
        "Seconds that a chat waits while llama-server loads its model.",
    ),
    Option(
        "stall-timeout",
        "STALL_TIMEOUT",
        "300",
        parse.seconds,
        "Seconds after which a client that reads nothing of its answer is given up, and its slot freed.",
    ),
    Option(
        "drain",
        "DRAIN",
        "25",
        parse.patience,
        "Seconds that answers under way may still take when the proxy is told to stop; 0 cuts them at once.",
    ),
    Option(
        "reasoning",
        "REASONING",
        "copilot",
        parse.reasoning,
        "How Copilot's clients get a model's reasoning: copilot in the fields that they show as thinking, "
        "content as ordinary text in a block quote, off not at all.",
    ),
    Option(
        "body-limit", "BODY_LIMIT", "100M", parse.size, "The largest request body, in bytes or with K, M, G."
    ),
    Option(
        "context-headroom",
        "CONTEXT_HEADROOM",
        "0",
        parse.headroom,
        "Percent of the context length that is kept from clients: VS Code counts tokens in its own way, and "
        "may send more of them than it means to.",
    ),
    Option(
        "cors-origin",
        "CORS_ORIGIN",
        "*",
        parse.origins,
        "A web origin that may use the proxy from a browser; may be given several times. '*' allows every "
        "one, 'none' turns CORS off. CORS_ORIGIN takes a list with commas.",
        repeated=True,
    ),
    Option(
        "allowed-host",
        "ALLOWED_HOST",
        "",
        parse.hosts,
        "A name under which the proxy may be asked while it listens on 127.0.0.1, besides localhost, this "
        "machine's and those of a private network; may be given several times. '*' allows every one. "
        "ALLOWED_HOST takes a list with commas.",
        repeated=True,
    ),
    Option(
        "verbose",
        "VERBOSE",
        "",
        parse.switch,
        "Log headers, JSON bodies and what was rewritten. Keys are masked.",
        short="v",
        flag=True,
    ),
)


class WrongSetting(ValueError):
    """A value cannot be used; the text names where it was given and what to give instead."""


def _value(option: Option, flags: Mapping[str, Any], environ: Mapping[str, str]) -> Any:
    read_text = option.read
    given = flags.get(option.name)
    source = f"--{option.name}"
    if given is None and environ.get(option.environment):
        given, source = environ[option.environment], option.environment
        if option.environment == "LISTEN_PORT":
            read_text = parse.port_number
    if given is None:
        given = option.default
    if option.repeated and isinstance(given, str):
        given = [given]
    try:
        return read_text(given)
    except ValueError as e:
        raise WrongSetting(f"{source}: {e}") from None


def read(flags: Mapping[str, Any], environ: Mapping[str, str]) -> Settings:
    """Flags first, then the environment, then the defaults; raises WrongSetting.

    `flags` maps an option's name to what was written, None or absent where it was not given.
    """
    values = {option.name: _value(option, flags, environ) for option in OPTIONS}
    if flags.get("port") is None:  # an endpoint names its own interface, or means every one
        values["port"] = parse.on_interface(values["port"], values["listen-interface"])
    return Settings(
        port=values["port"],
        listen_interface=values["listen-interface"],
        upstream=values["upstream"],
        verbose=values["verbose"],
        api_dialect=values["api-dialect"],
        upstream_key=values["upstream-key-file"],
        upstream_ca=values["upstream-ca"],
        api_keys=values["api-key-file"],
        open_listings=values["open-listings"],
        connect_timeout=values["connect-timeout"],
        first_byte_timeout=values["first-byte-timeout"],
        load_timeout=values["load-timeout"],
        stall_timeout=values["stall-timeout"],
        drain=values["drain"],
        reasoning=values["reasoning"],
        body_limit=values["body-limit"],
        context_headroom=values["context-headroom"],
        cors_origins=values["cors-origin"],
        allowed_hosts=values["allowed-host"],
    )
