"""How the text of a setting becomes its value: each function raises ValueError with what to give instead."""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Final

from twisted.internet.abstract import isIPv6Address

from .errors import Dialect
from .stream.reasoning import Reasoning

MEBIBYTE: Final = 1024 * 1024
LOCAL: Final = "127.0.0.1"


def seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < 1e9:
        raise ValueError(f"{text!r} is no number of seconds above 0")
    return value


def patience(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e9:
        raise ValueError(f"{text!r} is no number of seconds, 0 or more")
    return value


def headroom(text: str) -> float:
    try:
        value = float(text.strip().removesuffix("%"))
    except ValueError:
        value = -1.0
    if not 0 <= value <= 90:
        raise ValueError(f"{text!r} is no percentage from 0 to 90")
    return value


_CERTIFICATE: Final = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)

_UNITS = {"": 1, "k": 1024, "m": MEBIBYTE, "g": 1024 * MEBIBYTE}


def size(text: str) -> int:
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


def switch(text: str) -> bool:
    try:
        return _SWITCH[text.strip().lower()]
    except KeyError:
        raise ValueError(f"{text!r} is neither on (1, true, yes) nor off (0, false, no)") from None


def dialect(text: str) -> Dialect | None:
    names: dict[str, Dialect | None] = {"auto": None, "openai": Dialect.OPENAI, "ollama": Dialect.OLLAMA}
    if text not in names:
        raise ValueError(f"{text!r} is no dialect: give auto, openai or ollama")
    return names[text]


def reasoning(text: str) -> Reasoning:
    try:
        return Reasoning(text)
    except ValueError:
        raise ValueError(f"{text!r} is no way to show reasoning: give copilot, content or off") from None


def key_file(path: str) -> str | None:
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


def keys_file(path: str) -> tuple[str, ...]:
    if not path:
        return ()
    try:
        with open(path, encoding="utf-8") as f:
            lines = [line.strip() for line in f]
    except (OSError, UnicodeDecodeError) as e:
        raise ValueError(f"the keys cannot be read from {path!r}: {e}") from None
    keys = {number: line for number, line in enumerate(lines, 1) if line and not line.startswith("#")}
    for number, key in keys.items():
        if not key.isascii() or not key.isprintable() or " " in key:
            raise ValueError(f"line {number} of {path!r} is no key: give printable ASCII without spaces")
    if not keys:
        raise ValueError(f"{path!r} holds no key: give one a line, or leave the option away")
    return tuple(keys.values())


def certificates(path: str) -> tuple[bytes, ...]:
    if not path:
        return ()
    from twisted.internet.ssl import Certificate  # costs 15 MB, which plain HTTP need not pay

    try:
        with open(path, "rb") as f:
            found = tuple(_CERTIFICATE.findall(f.read()))
    except OSError as e:
        raise ValueError(f"the certificates cannot be read from {path!r}: {e}") from None
    if not found:
        raise ValueError(f"{path!r} holds no PEM certificate, which begins with -----BEGIN CERTIFICATE-----")
    for number, certificate in enumerate(found, 1):
        try:
            Certificate.loadPEM(certificate)
        except Exception as e:  # of OpenSSL's, or of one of its wrappers'
            raise ValueError(f"certificate {number} of {path!r} cannot be read: {e}") from None
    return found


def endpoint(text: str) -> str:
    # what --port is made of is read by twisted's endpoint parser, when the service is made
    if text.strip().isdigit() and int(text) <= 65535:
        raise ValueError(f"{text!r} is no endpoint: did you mean tcp:{text.strip()}:interface=127.0.0.1?")
    return text


def port_number(text: str) -> str:
    if not text.strip().isascii() or not text.strip().isdigit() or int(text) > 65535:
        raise ValueError(f"{text!r} is no port number: give 0 to 65535, or an endpoint with --port")
    return f"tcp:{int(text)}:interface={LOCAL}"


def interface(text: str) -> str:
    try:
        return str(ip_address(text.strip()))
    except ValueError:
        raise ValueError(f"{text!r} is no IP address: give 127.0.0.1, or 0.0.0.0 for every one") from None


def on_interface(endpoint: str, address: str) -> str:
    """Put an address in the place of 127.0.0.1; a colon would end it, as endpoint strings are read."""
    return endpoint.replace(f"interface={LOCAL}", "interface=" + address.replace(":", r"\:"))


def _listed(texts: Sequence[str]) -> tuple[str, ...]:
    return tuple(item.strip() for text in texts for item in text.split(",") if item.strip())


# a label of a name (RFC 1123 section 2.1), and the underscore that container names have
_HOST: Final = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*", re.IGNORECASE | re.ASCII)


def hosts(texts: Sequence[str]) -> tuple[str, ...]:
    allowed = _listed(texts)
    for host in allowed:
        if host != "*" and not _HOST.fullmatch(host) and not isIPv6Address(host):
            raise ValueError(f"{host!r} is no name of a host: give it without scheme and port, or '*'")
    return allowed


def origins(texts: Sequence[str]) -> tuple[str, ...]:
    allowed = tuple(origin.rstrip("/") for origin in _listed(texts))
    if not allowed:
        raise ValueError("it names no origin: give scheme://host[:port], '*' or 'none'")
    if len(allowed) > 1 and not {"*", "none"}.isdisjoint(allowed):
        raise ValueError("'*' and 'none' stand alone")
    for origin in allowed:
        if origin not in ("*", "none") and ("://" not in origin or "/" in origin.partition("://")[2]):
            raise ValueError(f"{origin!r} is no origin: give scheme://host[:port], '*' or 'none'")
    return () if allowed == ("none",) else allowed
