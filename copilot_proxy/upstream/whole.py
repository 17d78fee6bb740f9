"""A small answer, read whole."""

from __future__ import annotations

from typing import Any, Final, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.iweb import IResponse

# Bytes. An answer about models is some KiB; a chat template in it may be some hundred.
LARGEST: Final = 16 * 1024 * 1024


class TooLong(Exception):
    """The body is longer than any that is read whole."""


class _Collector(Protocol):
    def __init__(self, largest: int) -> None:
        self._largest = largest
        self.finished: Deferred[bytes] = Deferred(lambda _: self._stop())
        self._body = bytearray()

    def _stop(self) -> None:
        if self.transport is not None:
            cast(IPushProducer, self.transport).stopProducing()

    def dataReceived(self, data: bytes) -> None:
        self._body += data
        if len(self._body) > self._largest and not self.finished.called:
            self._stop()
            self.finished.errback(TooLong(f"the answer is longer than {self._largest} bytes"))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.finished.called:
            return
        if reason.check(ResponseDone, PotentialDataLoss):
            self.finished.callback(bytes(self._body))
        else:
            self.finished.errback(reason)


def read(response: IResponse, largest: int) -> Deferred[bytes]:
    """The body; fails with TooLong for more than `largest` bytes, or with why it broke off.

    Cancelling closes the connection.
    """
    collector = _Collector(largest)
    response.deliverBody(cast(Any, collector))
    return collector.finished
