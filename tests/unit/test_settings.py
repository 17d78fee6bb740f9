"""Is every option read from its flag, its environment name and its default, and every wrong value refused?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from copilot_proxy import settings
from copilot_proxy.address import Transport, upstream_address
from copilot_proxy.errors import Dialect
from copilot_proxy.settings import Settings, WrongSetting, read
from copilot_proxy.stream.reasoning import Reasoning
from tests.unit.certificates import self_signed

MEBIBYTE = 1024 * 1024

# option, how it is written, the field of Settings, what it becomes
GIVEN = [
    ("port", "tcp:8080:interface=0.0.0.0", "port", "tcp:8080:interface=0.0.0.0"),
    ("listen-interface", " 0.0.0.0 ", "listen_interface", "0.0.0.0"),
    ("listen-interface", "::", "listen_interface", "::"),
    ("api-dialect", "openai", "api_dialect", Dialect.OPENAI),
    ("api-dialect", "ollama", "api_dialect", Dialect.OLLAMA),
    ("api-dialect", "auto", "api_dialect", None),
    ("connect-timeout", "2.5", "connect_timeout", 2.5),
    ("first-byte-timeout", "1e3", "first_byte_timeout", 1000.0),
    ("body-limit", "1", "body_limit", 1),
    ("body-limit", "10k", "body_limit", 10240),
    ("body-limit", "10 MiB", "body_limit", 10 * MEBIBYTE),
    ("body-limit", "2GB", "body_limit", 2048 * MEBIBYTE),
    ("drain", "0", "drain", 0.0),
    ("drain", " 2.5", "drain", 2.5),
    ("stall-timeout", "60", "stall_timeout", 60.0),
    ("open-listings", "1", "open_listings", True),
    ("context-headroom", "10", "context_headroom", 10.0),
    ("context-headroom", " 7.5 % ", "context_headroom", 7.5),
    ("context-headroom", "90", "context_headroom", 90.0),
    ("cors-origin", "*", "cors_origins", ("*",)),
    ("cors-origin", "none", "cors_origins", ()),
    ("cors-origin", "https://a.example, http://b:1/ ,", "cors_origins", ("https://a.example", "http://b:1")),
    ("allowed-host", "gpu, my_box.lan ,", "allowed_hosts", ("gpu", "my_box.lan")),
    ("allowed-host", "8.8.8.8,2001:db8::1", "allowed_hosts", ("8.8.8.8", "2001:db8::1")),
    ("allowed-host", "*", "allowed_hosts", ("*",)),
    ("verbose", "1", "verbose", True),
    ("verbose", "Yes", "verbose", True),
    ("verbose", "off", "verbose", False),
]


def option(name: str) -> settings.Option:
    (found,) = (option for option in settings.OPTIONS if option.name == name)
    return found


def test_defaults() -> None:
    """With nothing given, every value is the one that the documentation names."""
    chosen = read({}, {})
    assert chosen == Settings(
        port="tcp:11434:interface=127.0.0.1",
        listen_interface="127.0.0.1",
        upstream=upstream_address("http://127.0.0.1:11433"),
        verbose=False,
        api_dialect=None,
        upstream_key=None,
        upstream_ca=(),
        api_keys=(),
        open_listings=False,
        connect_timeout=5.0,
        first_byte_timeout=600.0,
        load_timeout=300.0,
        stall_timeout=300.0,
        drain=25.0,
        reasoning=Reasoning.COPILOT,
        body_limit=100 * MEBIBYTE,
        context_headroom=0.0,
        cors_origins=("*",),
        allowed_hosts=(),
    )


def test_every_field_has_an_option() -> None:
    """Nothing can be set that is not in the table, and every name in it is there once."""
    assert len(settings.OPTIONS) == len(Settings.__annotations__)
    for names in ([o.name for o in settings.OPTIONS], [o.environment for o in settings.OPTIONS]):
        assert len(set(names)) == len(names)


def test_names_that_users_know() -> None:
    """The environment names from before the options stay."""
    names = {o.environment for o in settings.OPTIONS}
    assert {"VERBOSE", "LISTEN_PORT", "UPSTREAM"} <= names


@pytest.mark.parametrize(("name", "text", "field", "value"), GIVEN)
def test_flag(name: str, text: str, field: str, value: Any) -> None:
    """What a flag says becomes the value, whatever the environment says."""
    environ = {option(name).environment: "nonsense"}
    assert getattr(read({name: text}, environ), field) == value


@pytest.mark.parametrize(("name", "text", "field", "value"), [given for given in GIVEN if given[0] != "port"])
def test_environment(name: str, text: str, field: str, value: Any) -> None:
    """What the environment says becomes the value where no flag is given."""
    assert getattr(read({name: None}, {option(name).environment: text}), field) == value


@pytest.mark.parametrize("name", [o.name for o in settings.OPTIONS])
def test_empty_environment(name: str) -> None:
    """An environment name that is set to nothing is as good as not set."""
    assert read({}, {option(name).environment: ""}) == read({}, {})


def test_listen_port() -> None:
    """LISTEN_PORT takes a bare port number, and listens on 127.0.0.1 alone."""
    assert read({}, {"LISTEN_PORT": " 8080 "}).port == "tcp:8080:interface=127.0.0.1"
    assert read({}, {"LISTEN_PORT": "0"}).port == "tcp:0:interface=127.0.0.1"


@pytest.mark.parametrize(
    ("interface", "quoted"), [("0.0.0.0", "0.0.0.0"), ("192.0.2.7", "192.0.2.7"), ("::", r"\:\:")]
)
def test_listen_interface(interface: str, quoted: str) -> None:
    """LISTEN_INTERFACE says where LISTEN_PORT and the default port listen, for an endpoint string."""
    environ = {"LISTEN_INTERFACE": interface}
    assert read({}, environ).port == f"tcp:11434:interface={quoted}"
    assert read({}, {**environ, "LISTEN_PORT": "8080"}).port == f"tcp:8080:interface={quoted}"
    assert read({"listen-interface": interface}, {}).port == f"tcp:11434:interface={quoted}"


def test_an_endpoint_names_its_own_interface() -> None:
    """What --port says stands as it was written, whatever the environment says."""
    for endpoint in ("tcp:8080:interface=127.0.0.1", "tcp:8080"):
        assert read({"port": endpoint}, {"LISTEN_INTERFACE": "0.0.0.0"}).port == endpoint


def test_several_origins() -> None:
    """--cors-origin may be given several times, each with a list."""
    chosen = read({"cors-origin": ["https://a.example", "http://b:1,http://c"]}, {})
    assert chosen.cors_origins == ("https://a.example", "http://b:1", "http://c")


@pytest.mark.parametrize("text", ["", ",", " "])
def test_no_origin_is_no_answer(text: str) -> None:
    """An empty list of origins is not taken for `none`: it would turn CORS off unasked."""
    with pytest.raises(WrongSetting, match="--cors-origin"):
        read({"cors-origin": [text]}, {})


def test_key_file(tmp_path: Path) -> None:
    """The key is what the file holds, without the line's end."""
    file = tmp_path / "key"
    file.write_text("sk-1234\n")
    assert read({"upstream-key-file": str(file)}, {}).upstream_key == "sk-1234"
    assert read({}, {"UPSTREAM_KEY_FILE": str(file)}).upstream_key == "sk-1234"


@pytest.mark.parametrize("content", [b"", b"\n", b"two\nlines", b"caf\xc3\xa9", b"\xff\xfe", b"a\x00b"])
def test_key_file_without_a_key(tmp_path: Path, content: bytes) -> None:
    """A file that holds no key of one printable line is refused without showing what it holds."""
    file = tmp_path / "key"
    file.write_bytes(content)
    with pytest.raises(WrongSetting) as refused:
        read({"upstream-key-file": str(file)}, {})
    assert str(refused.value).startswith("--upstream-key-file: ")
    assert str(file) in str(refused.value)
    assert "lines" not in str(refused.value)


def test_keys_of_clients(tmp_path: Path) -> None:
    """A file of keys holds one a line; blank lines and comments are none."""
    file = tmp_path / "keys"
    file.write_text("# of the team\n\n  sk-1234 \nsk-5678#9\n\t# sk-0000\n")
    assert read({"api-key-file": str(file)}, {}).api_keys == ("sk-1234", "sk-5678#9")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "holds no key"),
        (b"\n# a comment\n", "holds no key"),
        (b"good\nhunter 2\n", "line 2 of "),
        (b"\ncaf\xc3\xa9\n", "line 2 of "),
        (b"hunter\x00", "line 1 of "),
        (b"\xff\xfe", "cannot be read"),
    ],
)
def test_keys_that_are_none(tmp_path: Path, content: bytes, words: str) -> None:
    """A file without keys, or with what no client could send, is refused without showing what it holds."""
    file = tmp_path / "keys"
    file.write_bytes(content)
    with pytest.raises(WrongSetting, match="--api-key-file: ") as refused:
        read({"api-key-file": str(file)}, {})
    assert words in str(refused.value)
    assert str(file) in str(refused.value)
    assert "hunter" not in str(refused.value).replace(str(file), "")


def test_certificates(tmp_path: Path) -> None:
    """A file of certificates may hold several, and text between them."""
    files = [self_signed().write_certificate(tmp_path / f"{number}.pem") for number in range(2)]
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(b"# mine\n" + files[0].read_bytes() + b"\n# theirs\n" + files[1].read_bytes())
    found = read({"upstream-ca": str(bundle)}, {}).upstream_ca
    assert [pem + b"\n" for pem in found] == [file.read_bytes() for file in files]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "holds no PEM certificate"),
        (b"\x30\x82", "holds no PEM certificate"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "certificate 1 of "),
    ],
)
def test_certificates_that_are_none(tmp_path: Path, content: bytes, words: str) -> None:
    """A file that cannot be used to trust anybody is refused, and named."""
    file = tmp_path / "ca.pem"
    file.write_bytes(content)
    with pytest.raises(WrongSetting, match="--upstream-ca: ") as refused:
        read({"upstream-ca": str(file)}, {})
    assert words in str(refused.value)
    assert str(file) in str(refused.value)
    assert "\n" not in str(refused.value)


# ---------------------------------------------------------------- upstream


@pytest.mark.parametrize(
    ("text", "transport", "base", "where"),
    [
        ("http://127.0.0.1:11433", Transport.TCP, "http://127.0.0.1:11433", ("127.0.0.1", 11433)),
        ("http://gpu", Transport.TCP, "http://gpu", ("gpu", 80)),
        ("https://gpu.example/", Transport.TLS, "https://gpu.example", ("gpu.example", 443)),
        ("https://gpu.example:8443/v1", Transport.TLS, "https://gpu.example:8443", ("gpu.example", 8443)),
        ("http://gpu/llama/v1/", Transport.TCP, "http://gpu/llama", ("gpu", 80)),
        ("http://[::1]:8080", Transport.TCP, "http://[::1]:8080", ("::1", 8080)),
    ],
)
def test_web_address(text: str, transport: Transport, base: str, where: tuple[str, int]) -> None:
    """A URL tells host, port, transport and the path before every path."""
    address = read({"upstream": text}, {}).upstream
    assert (address.transport, address.base, address.shown) == (transport, base, base)
    assert (address.host, address.port) == where


@pytest.mark.parametrize("text", ["unix:/run/llama.sock", "unix:///run/llama.sock"])
def test_unix_address(text: str) -> None:
    """A socket is named with or without the two slashes of a URL."""
    address = read({}, {"UPSTREAM": text}).upstream
    assert address.transport is Transport.UNIX
    assert address.socket == "/run/llama.sock"
    assert address.shown == text


def test_embedded_address() -> None:
    """demo: is a child that the proxy runs itself."""
    address = read({"upstream": "demo:"}, {}).upstream
    assert address.transport is Transport.EMBEDDED
    assert address.child


# ---------------------------------------------------------------- what is wrong

WRONG = [
    ("port", "11434", "did you mean tcp:11434:interface=127.0.0.1?"),
    ("listen-interface", "localhost", "is no IP address: give 127.0.0.1, or 0.0.0.0"),
    ("listen-interface", "0.0.0.0:11434", "is no IP address"),
    ("upstream", "localhost:11433", "is no address of a server"),
    ("upstream", "11433", "is no address of a server"),
    ("upstream", "ftp://x", "is no address of a server"),
    ("upstream", "http://", "names no host"),
    ("upstream", "http://a b", "names no host"),
    ("upstream", "http://caf\xe9", "names no host"),
    ("upstream", "http://h:99999", "is no URL"),
    ("upstream", "http://h:x", "is no URL"),
    ("upstream", "http://[::1", "is no URL"),
    ("upstream", "http://u:p@h", "--upstream-key-file"),
    ("upstream", "http://h?x=1", "a query or a fragment"),
    ("upstream", "http://h#x", "a query or a fragment"),
    ("upstream", "unix:run/llama.sock", "needs an absolute path"),
    ("api-dialect", "OpenAI", "give auto, openai or ollama"),
    ("upstream-key-file", "/nowhere/key", "cannot be read"),
    ("connect-timeout", "0", "is no number of seconds above 0"),
    ("connect-timeout", "-1", "is no number of seconds above 0"),
    ("connect-timeout", "nan", "is no number of seconds above 0"),
    ("first-byte-timeout", "inf", "is no number of seconds above 0"),
    ("first-byte-timeout", "5s", "is no number of seconds above 0"),
    ("stall-timeout", "0", "is no number of seconds above 0"),
    ("drain", "-1", "is no number of seconds, 0 or more"),
    ("drain", "nan", "is no number of seconds, 0 or more"),
    ("drain", "soon", "is no number of seconds, 0 or more"),
    ("api-key-file", "/nowhere/keys", "the keys cannot be read"),
    ("upstream-ca", "/nowhere/ca.pem", "the certificates cannot be read"),
    ("open-listings", "maybe", "neither on"),
    ("body-limit", "0", "is no size"),
    ("body-limit", "-1", "is no size"),
    ("body-limit", "1.5M", "is no size"),
    ("body-limit", "M", "is no size"),
    ("body-limit", "\u0661", "is no size"),
    ("context-headroom", "-1", "is no percentage from 0 to 90"),
    ("context-headroom", "90.1", "is no percentage from 0 to 90"),
    ("context-headroom", "nan", "is no percentage from 0 to 90"),
    ("context-headroom", "ten", "is no percentage from 0 to 90"),
    ("cors-origin", "*,https://a", "stand alone"),
    ("cors-origin", "https://a,none", "stand alone"),
    ("cors-origin", "a.example", "is no origin"),
    ("allowed-host", "http://gpu", "is no name of a host"),
    ("allowed-host", "gpu:11434", "is no name of a host"),
    ("allowed-host", "*.lan", "is no name of a host"),
    ("cors-origin", "https://a/page", "is no origin"),
    ("verbose", "maybe", "neither on"),
]


@pytest.mark.parametrize(("name", "text", "words"), WRONG)
def test_wrong_flag(name: str, text: str, words: str) -> None:
    """A wrong value names the flag that it was given with, and what to give instead."""
    with pytest.raises(WrongSetting) as refused:
        read({name: text}, {})
    assert str(refused.value).startswith(f"--{name}: ")
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("name", "text", "words"), [wrong for wrong in WRONG if wrong[0] != "port"])
def test_wrong_environment(name: str, text: str, words: str) -> None:
    """A wrong value of the environment names that."""
    with pytest.raises(WrongSetting) as refused:
        read({}, {option(name).environment: text})
    assert str(refused.value).startswith(f"{option(name).environment}: ")
    assert words in str(refused.value)


@pytest.mark.parametrize("text", ["x", "-1", "65536", "tcp:11434", "\u0661", "1.5"])
def test_wrong_listen_port(text: str) -> None:
    """LISTEN_PORT that is no port number names the option that takes more."""
    with pytest.raises(WrongSetting, match=r"LISTEN_PORT: .* is no port number.*--port"):
        read({}, {"LISTEN_PORT": text})


def test_password_is_not_shown() -> None:
    """The complaint about a password in the URL does not repeat it."""
    with pytest.raises(WrongSetting) as refused:
        read({"upstream": "http://u:hunter2@h"}, {})
    assert "hunter2" not in str(refused.value)
