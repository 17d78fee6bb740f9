"""Whose signals are heard while the proxy stops?"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from copilot_proxy.channel import Channel, Clients
from copilot_proxy.drain import Drain, answers, hear_again
from copilot_proxy.upstream.client import Upstream

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Reactor:
    """What of a reactor has to do with signals."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], None]] = []

    def sigTerm(self, number: int, frame: Any) -> None: ...

    def callFromThread(self, call: Callable[[], None]) -> None:
        self.calls.append(call)


@pytest.fixture(autouse=True)
def kept() -> Iterator[None]:
    """The process has its own handlers again afterwards."""
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


def test_a_second_signal() -> None:
    """The second signal makes the call in the thread of the reactor; a third one would end the process."""
    reactor, heard = Reactor(), []
    for number in SIGNALS:
        signal.signal(number, reactor.sigTerm)
    hear_again(reactor, lambda: heard.append(1))
    signal.raise_signal(signal.SIGTERM)
    (call,) = reactor.calls
    assert heard == []
    call()
    assert heard == [1]
    assert all(signal.getsignal(number) == signal.SIG_DFL for number in SIGNALS)


def test_signals_of_somebody_else() -> None:
    """Where the reactor does not handle signals, nothing about them is changed."""
    handlers = [signal.getsignal(number) for number in SIGNALS]
    hear_again(Reactor(), lambda: None)
    assert [signal.getsignal(number) for number in SIGNALS] == handlers


def test_answers() -> None:
    """One is one, and others are several."""
    assert [answers(count) for count in (1, 2)] == ["1 answer", "2 answers"]


class Busy:
    """A connection on which an answer is under way that does not end."""

    requests = ("one",)
    given_up = ""

    def last(self) -> None: ...

    def give_up(self, why: str) -> None:
        self.given_up = why


class Stoppable:
    """An upstream that can be stopped."""

    stopped = False

    def stop(self) -> None:
        self.stopped = True


def test_hurry() -> None:
    """Whoever is in a hurry cuts both waits short; before and after them it does nothing."""
    clients, channel, upstream = Clients(), Busy(), Stoppable()
    clients.came(cast(Channel, channel))
    clock = Clock()
    drain = Drain(clients, cast(Upstream, upstream), clock, 25.0)
    drain.hurry()
    done = Deferred.fromCoroutine(drain.run())
    assert not upstream.stopped
    drain.hurry()
    assert upstream.stopped
    assert not channel.given_up
    drain.hurry()
    assert channel.given_up == "the proxy was stopped"
    assert done.called
    drain.hurry()
    assert clock.getDelayedCalls() == []
