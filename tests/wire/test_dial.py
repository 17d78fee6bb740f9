"""Is upstream reached by every kind of address, and what is told where the TLS handshake fails?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest
import pytest_twisted
from OpenSSL import SSL
from twisted.internet import error, reactor
from twisted.internet.interfaces import IAddress, IHostnameResolver, IResolutionReceiver
from twisted.internet.task import deferLater
from zope.interface import implementer

from tests.unit.certificates import Identity, self_signed
from tests.wire.message import answer, messages
from tests.wire.pair import OpenWire, Wire
from tests.wire.peers import UpstreamConnection

HTTPS = "https://127.0.0.1:8443"


class Server:
    """The TLS server's side of one connection, without a socket."""

    def __init__(self, identity: Identity) -> None:
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.use_privatekey(identity.key)
        context.use_certificate(identity.certificate)
        self._tls = SSL.Connection(context, None)
        self._tls.set_accept_state()
        self._read = 0
        self.received = b""

    def talks(self, peer: UpstreamConnection, data: bytes = b"") -> None:
        """Hand bytes to and fro until neither side has more to say; then send `data`."""
        while len(peer.received) > self._read and not peer.closed:
            self._tls.bio_write(peer.received[self._read :])
            self._read = len(peer.received)
            try:
                self.received += self._tls.recv(65536)
            except SSL.WantReadError:
                pass
            except SSL.Error:
                return
            self._flush(peer)
        if data:
            self._tls.sendall(data)
            self._flush(peer)

    def _flush(self, peer: UpstreamConnection) -> None:
        try:
            peer.sends(self._tls.bio_read(65536))
        except SSL.WantReadError:
            pass


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Server, Path]:
    """A server with a certificate for 127.0.0.1, and the file that one would have to trust."""
    identity = self_signed()
    return Server(identity), identity.write_certificate(tmp_path / "certificate.pem")


@pytest_twisted.ensureDeferred  # type: ignore[untyped-decorator]
@pytest.mark.parametrize("by", ["system", "option"])
async def test_tls(
    open_wire: OpenWire, certificate: tuple[Server, Path], monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    """Over TLS, with a certificate that the system or --upstream-ca trusts, an answer comes back."""
    server, file = certificate
    if by == "system":
        monkeypatch.setenv("SSL_CERT_FILE", str(file))
        wire = open_wire(models=None, upstream=HTTPS)
    else:
        wire = open_wire(models=None, upstream=HTTPS, upstream_ca=str(file))
    client = wire.client()
    client.gets("/slots")
    (upstream,) = wire.connections
    server.talks(upstream)
    await deferLater(reactor, 0)  # Twisted collects small writes over TLS for one turn of the real reactor
    server.talks(upstream)
    (asked,) = messages(server.received)
    assert asked.target == b"/slots"
    assert asked.field(b"host") == b"127.0.0.1:8443"
    wire.passes(6)
    server.talks(upstream, answer(200, b"[]"))
    assert client.answer.status == 200
    assert client.answer.body == b"[]"


def test_certificate_that_nobody_trusts(open_wire: OpenWire, certificate: tuple[Server, Path]) -> None:
    """A certificate that is not trusted is a 502 that says so, and nothing of the request is sent."""
    server, _ = certificate
    wire = open_wire(models=None, upstream=HTTPS)
    client = wire.client()
    client.gets("/slots")
    server.talks(wire.connections[0])
    assert server.received == b""
    assert client.answer.status == 502
    assert client.answer.json["error"]["code"] == "upstream_tls"
    assert "certificate verify failed" in client.answer.json["error"]["message"]


def test_certificate_of_the_system_alone(
    open_wire: OpenWire, certificate: tuple[Server, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where --upstream-ca names other certificates, the system's are trusted no longer."""
    server, file = certificate
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    other = self_signed().write_certificate(tmp_path / "other.pem")
    wire = open_wire(models=None, upstream=HTTPS, upstream_ca=str(other))
    wire.client().gets("/slots")
    server.talks(wire.connections[0])
    assert "certificate verify failed" in told_of_tls(wire)


def told_of_tls(wire: Wire) -> str:
    client = wire.clients[-1]
    assert client.answer.status == 502
    error = client.answer.json["error"]
    assert error["code"] == "upstream_tls"
    assert HTTPS in error["message"]
    return str(error["message"])


def test_plain_server_that_answers(open_wire: OpenWire) -> None:
    """A server that answers the handshake in plain HTTP is told as a handshake that failed."""
    wire = open_wire(models=None, upstream=HTTPS)
    wire.client().gets("/slots")
    (upstream,) = wire.connections
    assert upstream.received.startswith(b"\x16\x03"), "the beginning of a handshake"
    upstream.sends(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    told_of_tls(wire)


def test_plain_server_that_waits(open_wire: OpenWire) -> None:
    """A server that says nothing to the handshake is given up after --connect-timeout."""
    wire = open_wire(models=None, upstream=HTTPS, connect_timeout="2")
    wire.client().gets("/slots")
    (upstream,) = wire.connections
    wire.passes(1.9)
    assert wire.clients[-1].received == b""
    wire.passes(0.2)
    assert upstream.transport.aborted
    assert "does it speak TLS, or plain http?" in told_of_tls(wire)


def test_server_that_closes_inside_the_handshake(open_wire: OpenWire) -> None:
    """A connection that closes inside the handshake is a 502, and leaves no deadline behind."""
    wire = open_wire(models=None, upstream=HTTPS)
    wire.client().gets("/slots")
    wire.connections[0].leaves()
    assert wire.clients[-1].answer.status == 502


@pytest.mark.parametrize(
    ("upstream", "host", "port"),
    [
        ("http://127.0.0.1:1", "127.0.0.1", 1),
        ("http://[::1]:2", "::1", 2),
        ("https://10.0.0.1", "10.0.0.1", 443),
    ],
)
def test_literal_addresses(open_wire: OpenWire, upstream: str, host: str, port: int) -> None:
    """An address in numbers is dialled at once, with --connect-timeout as the limit."""
    wire = open_wire(models=None, upstream=upstream, connect_timeout="3")
    wire.silent = True
    wire.client().gets("/slots")
    (dialled,) = wire.clock.tcpClients
    assert (dialled[0], dialled[1], dialled[3]) == (host, port, 3.0)


@implementer(IHostnameResolver)
class NoSuchHost:
    """Finds no address for any name."""

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[type[IAddress]] | None = None,
        transportSemantics: str = "TCP",
    ) -> Any:
        resolutionReceiver.resolutionBegan(cast(Any, None))
        resolutionReceiver.resolutionComplete()


def named(open_wire: OpenWire) -> Wire:
    """A proxy whose upstream has a name: there it takes 0.3 s to see a refusal, at the start twice."""
    wire = open_wire(models=None, upstream="http://gpu:1")
    wire.refusal = error.ConnectionRefusedError()
    for _ in range(2):
        wire.passes(0.4)
    wire.refusal = None
    return wire


def test_host_name(open_wire: OpenWire) -> None:
    """A host's name is looked up, and its address dialled."""
    wire = named(open_wire)
    client = wire.client()
    client.gets("/slots")
    (upstream,) = wire.asked
    assert upstream.request.field(b"host") == b"gpu:1"
    upstream.answers(200, b"[]")
    assert client.answer.status == 200


def test_host_name_without_an_address(open_wire: OpenWire) -> None:
    """A host that has no address is a 502 that says so."""
    wire = named(open_wire)
    wire.clock.nameResolver = cast(IHostnameResolver, NoSuchHost())
    client = wire.client()
    client.gets("/slots")
    assert client.answer.status == 502
    assert client.answer.json["error"]["code"] == "upstream_dns"


def test_unix_socket(open_wire: OpenWire) -> None:
    """A socket's path is dialled as one, within --connect-timeout."""
    wire = open_wire(models=None, upstream="unix:/run/llama.sock", connect_timeout="3")
    wire.silent = True
    client = wire.client()
    client.gets("/slots")
    (dialled,) = wire.clock.unixClients
    assert (dialled[0], dialled[2]) == ("/run/llama.sock", 3.0)
    wire.silent = False
    wire.turn()
    wire.asked[0].answers(200, b"[]")
    assert client.answer.status == 200


def test_no_socket_there(open_wire: OpenWire) -> None:
    """A path at which there is no socket is told like a port on which nobody listens."""
    wire = open_wire(models=None, upstream="unix:/run/llama.sock")
    wire.refusal = error.BadFileError(string="/run/llama.sock")
    client = wire.client()
    client.gets("/slots")
    assert client.answer.json["error"]["code"] == "upstream_refused"
    assert "unix:/run/llama.sock" in client.answer.json["error"]["message"]
