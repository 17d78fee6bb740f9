"""Is the service made of what the command line says, announced, and stopped?"""

from __future__ import annotations

import runpy
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import pytest
from twisted.application.service import IServiceMaker
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred, fail
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.internet.testing import MemoryReactorClock
from twisted.plugin import IPlugin
from twisted.python.usage import UsageError
from zope.interface import implementer
from zope.interface.verify import verifyObject

from copilot_proxy import __version__, settings, tap
from copilot_proxy.cards import Card, described
from copilot_proxy.service import Proxy, compose, shown, vs_code_hint

ROOT = Path(__file__).parents[2]


def parsed(*words: str) -> settings.Settings:
    options = tap.Options()
    options.parseOptions(words)
    return options.chosen


# ---------------------------------------------------------------- the plugin


def test_plugin_is_the_tap() -> None:
    """`twist copilot-proxy` finds a service maker whose module, options and service are those of tap.py."""
    namespace = runpy.run_path(str(ROOT / "twisted/plugins/copilot_proxy_plugin.py"))
    found: list[Any] = [value for value in namespace.values() if IPlugin.providedBy(value)]
    (maker,) = found
    assert verifyObject(IServiceMaker, maker)
    assert maker.tapname == "copilot-proxy"
    assert import_module(maker.module) is tap
    assert maker.options is tap.Options
    assert maker.makeService is tap.makeService
    assert maker.description


# ---------------------------------------------------------------- the command line


def test_options() -> None:
    """Every option can be given, the short ones too."""
    chosen = parsed(
        "-p", "tcp:1234", "-u", "http://gpu:1", "-v", "--api-dialect", "ollama", "--connect-timeout=2",
        "--cors-origin", "https://a", "--cors-origin=https://b", "--allowed-host", "a", "--allowed-host=b,c",
    )  # fmt: skip
    assert chosen.port == "tcp:1234"
    assert chosen.upstream.shown == "http://gpu:1"
    assert chosen.verbose
    assert chosen.connect_timeout == 2.0
    assert chosen.cors_origins == ("https://a", "https://b")
    assert chosen.allowed_hosts == ("a", "b", "c")


def test_options_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment counts where the command line says nothing."""
    monkeypatch.setenv("UPSTREAM", "http://gpu:1")
    monkeypatch.setenv("VERBOSE", "1")
    assert parsed().upstream.shown == "http://gpu:1"
    assert parsed().verbose
    assert parsed("-u", "http://other").upstream.shown == "http://other"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--body-limit", "x"], "--body-limit: 'x' is no size"),
        (["--nonsense"], "option --nonsense not recognized"),
        (["tcp:1"], "'tcp:1' is no option"),
        (["--port"], "requires argument"),
        (["--verbose=1"], "must not have an argument"),
    ],
)
def test_usage_error(capsys: pytest.CaptureFixture[str], words: list[str], told: str) -> None:
    """A command line that is wrong ends the process with one line and status 64."""
    with pytest.raises(SystemExit) as left:
        tap.Options().parseOptions(words)
    assert left.value.code == 64
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("copilot-proxy: ")
    assert told in err


def test_wrong_environment(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong environment ends it in the same way, and is named."""
    monkeypatch.setenv("LISTEN_PORT", "http")
    with pytest.raises(SystemExit) as left:
        tap.Options().parseOptions([])
    assert left.value.code == 64
    assert capsys.readouterr().err.startswith("copilot-proxy: LISTEN_PORT: 'http' is no port number")


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """--version tells the proxy's version, not Twisted's."""
    with pytest.raises(SystemExit) as left:
        tap.Options().parseOptions(["--version"])
    assert left.value.code == 0
    assert capsys.readouterr().out == f"copilot-proxy {__version__}\n"


def test_help() -> None:
    """--help tells each option with its environment name and its default, and how to start."""
    text = tap.Options().getUsage(width=100)
    words = " ".join(text.split())
    for option in settings.OPTIONS:
        assert f"--{option.name}" in words
        assert f"[{option.environment}" in words
        assert option.default in words
    assert "llama-server --jinja --port 11433" in words
    assert "twist copilot-proxy --upstream demo:" in words


@pytest.mark.parametrize("port", ["nonsense:1", "tcp", "tcp:x", "tcp:1:2:3:4:5", "unix"])
def test_port_that_is_no_endpoint(capsys: pytest.CaptureFixture[str], port: str) -> None:
    """A --port that Twisted cannot read ends the process with one line and status 64."""
    options = tap.Options()
    options.parseOptions(["--port", port])
    with pytest.raises(SystemExit) as left:
        tap.makeService(options)
    assert left.value.code == 64
    err = capsys.readouterr().err
    assert err.startswith(f"copilot-proxy: --port: {port!r} is no Twisted endpoint")
    assert err.count("\n") == 1
    assert "_parse" not in err, "Twisted's functions say nothing to who starts the proxy"


def test_make_service() -> None:
    """What is made of a right command line is the proxy, not yet started."""
    options = tap.Options()
    options.parseOptions(["--port", "tcp:0:interface=127.0.0.1"])
    service = tap.makeService(options)
    assert isinstance(service, Proxy)
    assert not service.running


@pytest.mark.parametrize("upstream", ["http://gpu:1", "https://gpu", "unix:/run/llama.sock", "demo:"])
def test_compose_for_every_upstream(upstream: str) -> None:
    """There is a way to each kind of upstream; only an embedded one is a service of its own."""
    reactor = MemoryReactorClock()
    chosen = settings.read({"upstream": upstream}, {})
    proxy = compose(reactor, cast(IStreamServerEndpoint, Busy()), chosen)
    assert len(list(proxy)) == (upstream == "demo:")


# ---------------------------------------------------------------- start and stop


@implementer(IStreamServerEndpoint)
class Busy:
    """An endpoint whose port somebody else has."""

    def listen(self, protocolFactory: Any) -> Deferred[Any]:
        return fail(CannotListenError("127.0.0.1", 11434, OSError(98, "Address already in use")))


def test_busy_port(capsys: pytest.CaptureFixture[str]) -> None:
    """A port that cannot be had ends the process with one line and status 1."""
    reactor = MemoryReactorClock()
    proxy = compose(reactor, cast(IStreamServerEndpoint, Busy()), settings.read({}, {}))
    with pytest.raises(SystemExit) as left:
        proxy.startService()
    assert left.value.code == 1
    err = capsys.readouterr().err
    assert err.startswith("copilot-proxy: cannot listen on tcp:11434:interface=127.0.0.1: ")
    assert err.count("\n") == 1


def test_stop_before_start() -> None:
    """A proxy that never listened can be stopped."""
    proxy = compose(MemoryReactorClock(), cast(IStreamServerEndpoint, Busy()), settings.read({}, {}))
    assert proxy.stopService().called


# ---------------------------------------------------------------- what is told at the start


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (IPv4Address("TCP", "127.0.0.1", 11434), "http://127.0.0.1:11434"),
        (IPv6Address("TCP", "::1", 11434), "http://[::1]:11434"),
        (UNIXAddress("/run/p.sock"), "unix:/run/p.sock"),
        (UNIXAddress(b"/run/p.sock"), "unix:/run/p.sock"),
    ],
)
def test_shown(address: Any, text: str) -> None:
    """An address is shown as it can be used."""
    assert text in shown(address)


def test_shown_with_tls() -> None:
    """Behind TLS the address is one of https, and so is the hint's."""
    address = IPv4Address("TCP", "0.0.0.0", 8443)
    assert shown(address, "https") == "https://0.0.0.0:8443"
    assert "https://127.0.0.1:8443" in vs_code_hint(address, "https")


def test_vs_code_hint() -> None:
    """The hint names the URL to give, with the port that was really taken."""
    assert "http://127.0.0.1:8080" in vs_code_hint(IPv4Address("TCP", "0.0.0.0", 8080))
    assert "socket" in vs_code_hint(UNIXAddress("/run/p.sock"))


def test_described() -> None:
    """A model in a few words tells its context and whether it calls tools."""
    card = Card(id="m", name="m", capabilities=("completion", "tools"), context_length=8192)
    assert described(card) == "m (8192 tokens of context, too few for Copilot's agent mode, tools)"
    assert described(Card(id="m", name="m", capabilities=())) == "m (context unknown, no tools)"


def test_usage_error_is_twisteds() -> None:
    """A wrong setting is a usage error to whoever parses the options in another way."""
    options = tap.Options()
    options["body-limit"] = "x"
    with pytest.raises(UsageError):
        options.postOptions()
