"""How a client that waits for a stream knows that it is still coming.

VS Code 0.44 gave up 120 s after the head without a first chunk, and after 60 s without a byte; remote windows
and the Copilot CLI after 300 s. Comments are skipped by every client that reads SSE, and count as bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime

# Seconds for upstream's head, so that an early error is a status of its own and not an event in a 200.
HEAD_WAIT: Final = 3.0
# Seconds of silence until a beat. Silence is looked for every TICK, so that a token costs no timer.
SILENCE: Final = 15.0
TICK: Final = 5.0

COMMENT: Final = b": keep-alive\n\n"


class Heartbeat:
    """From `start` to `stop`: a head after 3 s without one, and a beat after each 10 to 15 s of silence.

    `begin` sends the head of a stream to the client, and `beat` what says behind it that more will come.
    """

    def __init__(self, clock: IReactorTime, begin: Callable[[], None], beat: Callable[[], None]) -> None:
        self._clock = clock
        self._begin = begin
        self._beat = beat
        self._silent = 0.0
        self._timer: IDelayedCall | None = None
        self.began = False
        """The client has the head, and is told everything else inside the stream."""

    def start(self, since: float) -> None:
        """Wait for upstream's head, for a client that waits since that time of the clock."""
        waited = self._clock.seconds() - since
        self._timer = self._clock.callLater(max(0.0, HEAD_WAIT - waited), self._head_is_late)

    def answered(self) -> None:
        """Upstream's head is there, and a stream: it is the client's as well."""
        if not self.began:
            self._cancel()
            self._open()

    def heard(self) -> None:
        """Something was sent to the client."""
        self._silent = 0.0

    def stop(self) -> None:
        """Nothing more is sent; a second call does nothing."""
        self._cancel()

    def _head_is_late(self) -> None:
        self._open()
        self._beat()

    def _open(self) -> None:
        self.began = True
        self._begin()
        self._timer = self._clock.callLater(TICK, self._tick)

    def _tick(self) -> None:
        self._timer = self._clock.callLater(TICK, self._tick)
        self._silent += TICK
        if self._silent >= SILENCE:
            self._silent = 0.0
            self._beat()

    def _cancel(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
