"""Under which names is the proxy asked?"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.web.test.requesthelper import DummyRequest

from copilot_proxy.errors import HostRefused
from copilot_proxy.hosts import Hosts, _is_ours, host_of

LOOPBACK = IPv4Address("TCP", "127.0.0.1", 11434)


def passes(host: str | None, *allowed: str, listens: Any = LOOPBACK) -> bool:
    """Whether a request to that host may go on."""
    hosts = Hosts(allowed, "My-Box")
    hosts.listens(listens)
    request: Any = DummyRequest([])
    if host is not None:
        request.requestHeaders.setRawHeaders(b"host", [host.encode("latin-1")])
    try:
        assert hosts.answer(request) is None
    except HostRefused:
        return False
    return True


@pytest.mark.parametrize(
    ("header", "host"),
    [
        ("localhost:11434", "localhost"), ("LocalHost", "localhost"), ("[::1]:80", "::1"), ("[::1]", "::1"),
        ("::1", "::1"), ("127.0.0.1:", "127.0.0.1"), ("", ""), (":80", ""), ("a:b", "a:b"), ("[a]x", "[a]x"),
    ],
)  # fmt: skip
def test_host_of(header: str, host: str) -> None:
    """The port goes, and the brackets of an address of IPv6."""
    assert host_of(header) == host


NEAR = [
    "127.0.0.1:11434", "127.9.9.9", "0.0.0.0:1", "10.1.2.3", "172.16.0.1", "172.31.255.255:80",
    "192.168.178.20:11434", "[::1]:11434", "[::1]", "[::]", "[fd12::1]:80", "[::ffff:127.0.0.1]:80",
    "localhost", "LOCALHOST:11434", "my-box", "MY-BOX:80", "app.localhost:3000", "my-box.local",
    "host.docker.internal:11434", "", ":11434", None,
]  # fmt: skip
FAR = [
    "evil.example", "evil.example:11434", "localhost.evil.example", "localhost.", "evillocalhost", "8.8.8.8",
    "172.32.0.1:80", "192.0.2.1", "169.254.1.1", "[2001:db8::1]:80", "local", "internal", "127.0.0.1.nip.io",
    "2130706433", "0x7f.1", "my-box.lan", "[evil]", "a:b", "\xff", "127.0.0.1, evil",
]  # fmt: skip


@pytest.mark.parametrize("host", NEAR)
def test_near(host: str | None) -> None:
    """This machine's names and addresses, those of a private network, and no name at all may be used."""
    assert passes(host)


@pytest.mark.parametrize("host", FAR)
def test_far(host: str) -> None:
    """What may be anybody's may not."""
    assert not passes(host)


def test_address_of_an_interface() -> None:
    """Whether this machine has an address is seen by taking it."""
    assert _is_ours(ip_address("127.0.0.1"))
    assert not _is_ours(ip_address("203.0.113.7"))
    assert not _is_ours(ip_address("2001:db8::1"))


def test_address_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """An address that one of this machine's interfaces has may be used, whatever it is."""
    monkeypatch.setattr("copilot_proxy.hosts._is_ours", lambda address: str(address) == "203.0.113.7")
    assert passes("203.0.113.7:11434")
    assert not passes("203.0.113.8:11434")


@pytest.mark.parametrize("host", ["gpu", "GPU:11434", "my_box.lan", "8.8.8.8:11434", "[2001:db8::1]:80"])
def test_allowed(host: str) -> None:
    """The names and addresses of `--allowed-host` may be used, with any port."""
    allowed = ("Gpu", "my_box.lan", "8.8.8.8", "2001:DB8::1")
    assert passes(host, *allowed)
    assert not passes("other", *allowed)


def test_every_one_is_allowed() -> None:
    """`*` allows every name."""
    assert passes("evil.example", "*")


@pytest.mark.parametrize(
    ("address", "checks"),
    [
        (LOOPBACK, True),
        (IPv4Address("TCP", "127.0.0.53", 1), True),
        (IPv6Address("TCP", "::1", 1), True),
        (IPv4Address("TCP", "0.0.0.0", 1), False),
        (IPv6Address("TCP", "::", 1), False),
        (IPv4Address("TCP", "192.168.1.2", 1), False),
        (UNIXAddress("/run/x.sock"), False),
    ],
)
def test_only_on_a_loopback_address(address: Any, checks: bool) -> None:
    """Who listens for other machines has names that the proxy cannot know."""
    assert passes("evil.example", listens=address) is not checks


def test_before_it_listens() -> None:
    """Nothing is refused before it is known where the proxy listens."""
    request: Any = DummyRequest([])
    request.requestHeaders.setRawHeaders(b"host", [b"evil.example"])
    assert Hosts((), "x").answer(request) is None


def test_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no name is given, this machine's own is asked for, and no name is looked up."""
    monkeypatch.setattr("socket.gethostname", lambda: "its-name")
    monkeypatch.setattr("socket.getaddrinfo", lambda *_: 1 / 0)
    hosts = Hosts(())
    hosts.listens(LOOPBACK)
    request: Any = DummyRequest([])
    for name in (b"its-name", b"localhost", b"192.168.0.1"):
        request.requestHeaders.setRawHeaders(b"host", [name])
        assert hosts.answer(request) is None
