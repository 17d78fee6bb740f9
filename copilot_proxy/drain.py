"""How are the answers that are under way ended, when the process is told to stop?

They end by themselves, for as long as `--drain` allows. Whoever is not whole then is told so in its own
dialect: upstream's connections are closed, and what follows is what a llama-server that dies sets off.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.defer import CancelledError
from twisted.internet.defer import TimeoutError as TookTooLong
from twisted.logger import Logger

from .channel import Clients
from .upstream.client import Upstream

# Seconds in which the last word has to reach a client's kernel. A chat that waits for a model to load sees
# within one that it waits in vain.
LAST_WORDS: Final = 2.0


def answers(count: int) -> str:
    """The number, with its noun."""
    return f"{count} answer{'' if count == 1 else 's'}"


class Drain:
    """Ends what is under way between `clients` and `upstream`, within `patience` seconds and LAST_WORDS."""

    log = Logger()

    def __init__(self, clients: Clients, upstream: Upstream, reactor: Any, patience: float) -> None:
        self._clients = clients
        self._upstream = upstream
        self._reactor = reactor
        self._patience = patience
        self._hurry: Callable[[], None] | None = None

    async def run(self) -> None:
        """Return when no client is connected any more. Nobody may come while this runs."""
        begun = self._reactor.seconds()
        hear_again(self._reactor, self.hurry)
        self._clients.drain()
        busy = self._clients.busy
        if busy and self._patience:
            self.log.info(
                "draining: {answers} under way, at most {patience:g} s; a second signal cuts them off",
                answers=answers(busy),
                patience=self._patience,
            )
        if self._patience and await self._gone_within(self._patience):
            if busy:
                self.log.info("drained: all have ended after {s:.1f} s", s=self._reactor.seconds() - begun)
            return
        if cut := self._clients.busy:
            self.log.info("{answers} cut: the clients are told that the proxy stops", answers=answers(cut))
        self._upstream.stop()
        if not await self._gone_within(LAST_WORDS):
            self._clients.give_up("the proxy was stopped")

    def hurry(self) -> None:
        """Wait no longer."""
        if self._hurry is not None:
            self._hurry()

    async def _gone_within(self, seconds: float) -> bool:
        """Whether all have left, when they have or it is too late."""
        gone = self._clients.gone().addTimeout(seconds, self._reactor)
        self._hurry = gone.cancel
        try:
            await gone
        except (TookTooLong, CancelledError):
            return False
        finally:
            self._hurry = None
        return True


def hear_again(reactor: Any, call: Callable[[], None]) -> None:
    """Have `call` made by a second SIGINT or SIGTERM; a third ends the process as if nobody listened.

    The reactor would log a traceback about it and go on. Where it does not handle signals itself, in a thread
    or in a test, they stay what they are.
    """
    ours = [
        number
        for number in (signal.SIGINT, signal.SIGTERM)
        if getattr(signal.getsignal(number), "__self__", None) is reactor
    ]

    def heard(*_: object) -> None:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)
        reactor.callFromThread(call)

    for number in ours:
        signal.signal(number, heard)
