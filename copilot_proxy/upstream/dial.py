"""How a connection to upstream is opened, for each kind of address."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import (
    HostnameEndpoint,
    TCP4ClientEndpoint,
    TCP6ClientEndpoint,
    UNIXClientEndpoint,
    wrapClientTLS,
)
from twisted.internet.interfaces import IHandshakeListener, IStreamClientEndpoint, ITCPTransport
from twisted.internet.protocol import connectionDone
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from ..address import Transport, UpstreamAddress
from ..errors import UpstreamTLS


def _tcp(reactor: Any, address: UpstreamAddress, timeout: float) -> IStreamClientEndpoint:
    # HostnameEndpoint takes 0.3 s to tell a refusal, since it would try the host's next address first
    for is_literal, endpoint in ((isIPAddress, TCP4ClientEndpoint), (isIPv6Address, TCP6ClientEndpoint)):
        if is_literal(address.host):
            return cast(IStreamClientEndpoint, endpoint(reactor, address.host, address.port, timeout=timeout))
    return cast(IStreamClientEndpoint, HostnameEndpoint(reactor, address.host, address.port, timeout=timeout))


@implementer(IHandshakeListener)
class _Handshake(ProtocolWrapper):
    """Aborts the connection where the TLS handshake takes too long.

    To a plain HTTP server the handshake is the beginning of a request, and it waits for the rest.
    """

    def connectionMade(self) -> None:
        super().connectionMade()
        factory = cast(_Handshaking, self.factory)
        self._deadline = factory.reactor.callLater(
            factory.timeout, cast(ITCPTransport, self.transport).abortConnection
        )

    def handshakeCompleted(self) -> None:
        self._deadline.cancel()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        factory = cast(_Handshaking, self.factory)
        if self._deadline.active():
            self._deadline.cancel()
        elif self._deadline.called:
            reason = Failure(
                UpstreamTLS(
                    f"no TLS handshake with {factory.shown} in {factory.timeout:g} s: does it speak TLS, or "
                    "plain http?"
                )
            )
        super().connectionLost(reason)


class _Handshaking(WrappingFactory):
    protocol = _Handshake
    noisy = False

    def __init__(self, factory: Any, reactor: Any, shown: str, timeout: float) -> None:
        super().__init__(factory)
        self.reactor = reactor
        self.shown = shown
        self.timeout = timeout


@implementer(IStreamClientEndpoint)
class _TLSEndpoint:
    """TLS over `plain`, with the handshake done within `timeout` seconds or not at all."""

    def __init__(
        self,
        reactor: Any,
        address: UpstreamAddress,
        plain: IStreamClientEndpoint,
        timeout: float,
        trusted: Sequence[bytes],
    ) -> None:
        from twisted.internet import ssl  # costs 15 MB, which plain HTTP need not pay

        trust = ssl.trustRootFromCertificates(map(ssl.Certificate.loadPEM, trusted)) if trusted else None
        self._reactor = reactor
        self._shown = address.shown
        self._timeout = timeout
        self._endpoint = wrapClientTLS(ssl.optionsForClientTLS(address.host, trust), plain)

    def connect(self, protocolFactory: Any) -> Deferred[Any]:
        watched = _Handshaking(protocolFactory, self._reactor, self._shown, self._timeout)
        connected: Deferred[Any] = self._endpoint.connect(watched)
        return connected.addCallback(lambda wrapper: wrapper.wrappedProtocol)


def endpoint(
    reactor: Any, address: UpstreamAddress, timeout: float, trusted: Sequence[bytes] = ()
) -> IStreamClientEndpoint:
    """Opens connections to `address`, each within `timeout` seconds; not for an embedded upstream.

    Over TLS the server has to show a certificate that one of `trusted`, in PEM, vouches for; with none of
    them, one that the system trusts.
    """
    if address.transport is Transport.UNIX:
        return cast(IStreamClientEndpoint, UNIXClientEndpoint(reactor, address.socket, timeout=timeout))
    plain = _tcp(reactor, address, timeout)
    if address.transport is Transport.TLS:
        return cast(IStreamClientEndpoint, _TLSEndpoint(reactor, address, plain, timeout, trusted))
    return plain
