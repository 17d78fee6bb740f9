"""Does the service manager that started the process know how the proxy is?"""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping
from typing import Any, Final

from twisted.internet.task import LoopingCall
from twisted.logger import Logger

# Seconds that the reactor may stand still for the manager to take a message. It reads them at once.
_PATIENCE: Final = 1.0


class Manager:
    """The service manager, told in the datagrams of sd_notify(3); where there is none, nobody is told.

    Takes the manager's variables out of `environ`, as sd_notify(3) advises: a llama.cpp that the proxy starts
    is not to speak for it. `reactor` is IReactorCore and IReactorTime.
    """

    log = Logger()

    def __init__(self, reactor: Any, environ: MutableMapping[str, str]) -> None:
        self._reactor = reactor
        address = environ.pop("NOTIFY_SOCKET", "")
        # "@" stands for the zero byte of Linux's abstract addresses
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._watchdog = _watchdog(environ)
        self._listens = ""

    def ready(self, listens: str) -> None:
        """Tell that the proxy is ready once the reactor runs, and to a watchdog that it still does.

        `listens` is where the proxy listens, for people.
        """
        self._listens = listens
        self._reactor.callWhenRunning(self._ready)

    def _ready(self) -> None:
        self._tell("READY=1", f"STATUS={self._listens}")
        if self._address and self._watchdog:
            alive = LoopingCall(self._tell, "WATCHDOG=1")
            alive.clock = self._reactor
            alive.start(self._watchdog)  # until the process ends: it is watched while streams end, too

    def news(self, text: str) -> None:
        """Show `text`, one line, beside where the proxy listens."""
        self._tell(f"STATUS={self._listens}; {' '.join(text.split())}")

    def stopping(self) -> None:
        """Tell that the proxy has begun to stop."""
        self._tell("STOPPING=1", "STATUS=ends what still runs")

    def _tell(self, *assignments: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
                out.settimeout(_PATIENCE)
                out.sendto("\n".join(assignments).encode(), self._address)
        except OSError as e:  # a proxy that cannot say how it is still works
            self.log.warn("the service manager cannot be told {what}: {why}", what=assignments[0], why=e)


def _watchdog(environ: MutableMapping[str, str]) -> float:
    """Seconds between two signs of life, half of what the manager waits (sd_watchdog_enabled(3)), or 0."""
    microseconds = environ.pop("WATCHDOG_USEC", "")
    process = environ.pop("WATCHDOG_PID", "") or str(os.getpid())
    wanted = microseconds.isascii() and microseconds.isdigit() and process == str(os.getpid())
    return int(microseconds) / 2e6 if wanted else 0.0
