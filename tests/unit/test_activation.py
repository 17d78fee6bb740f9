"""Is a socket that systemd passes taken for what it is?"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest
from twisted.internet.endpoints import AdoptedStreamServerEndpoint, _SystemdParser
from twisted.internet.testing import MemoryReactorClock
from twisted.python.systemd import ListenFDs

from copilot_proxy import activation


@pytest.fixture
def passed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Three sockets as systemd passes them: of IPv4, IPv6 and a path."""
    with (
        socket.socket(socket.AF_INET) as four,
        socket.socket(socket.AF_INET6) as six,
        socket.socket(socket.AF_UNIX) as path,
    ):
        fds = ListenFDs([four.fileno(), six.fileno(), path.fileno()], ["four", "six", "path"])
        monkeypatch.setattr(_SystemdParser, "_sddaemon", fds)
        yield


@pytest.mark.usefixtures("passed")
@pytest.mark.parametrize(
    ("text", "family"),
    [
        ("systemd:domain=INET:index=0", socket.AF_INET),
        ("systemd:domain=INET:name=four", socket.AF_INET),
        ("systemd:domain=INET6:index=1", socket.AF_INET6),
    ],
)
def test_passed_socket(text: str, family: socket.AddressFamily) -> None:
    """A socket is found by its place or its name, and stays open."""
    endpoint = activation.endpoint(MemoryReactorClock(), text)
    assert isinstance(endpoint, AdoptedStreamServerEndpoint)
    assert endpoint.addressFamily == family
    os.fstat(endpoint.fileno)


@pytest.mark.parametrize("text", ["ssl:8443", "ssl:8443:privateKey=/no/such/key.pem"])
def test_tls_without_its_files(text: str) -> None:
    """What is missing for TLS is told, and how it is given."""
    with pytest.raises(
        ValueError, match=r"No such file.*; give ssl:PORT:privateKey=.*:certKey="
    ) as complaint:
        activation.endpoint(MemoryReactorClock(), text)
    assert text in str(complaint.value)


@pytest.mark.usefixtures("passed")
@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("systemd:domain=INET:index=1", "the socket's domain is INET6"),
        ("systemd:domain=INET6:index=0", "the socket's domain is INET"),
        ("systemd:domain=UNIX:index=2", "unix:/PATH"),
        ("systemd:domain=INET:index=3", "passed no such socket"),
        ("systemd:domain=INET:name=five", "passed no such socket"),
        ("systemd:domain=NET:index=0", "no Twisted endpoint"),
        ("systemd:domain=INET", "no Twisted endpoint"),
    ],
)
def test_socket_that_cannot_be_used(text: str, told: str) -> None:
    """What is wrong with it is told, before Twisted takes one kind of socket for another."""
    with pytest.raises(ValueError, match=told) as complaint:
        activation.endpoint(MemoryReactorClock(), text)
    assert text in str(complaint.value)
