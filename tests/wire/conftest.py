"""Each test over a wire ends with a log without errors, and with nothing left that waits."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest
from twisted.logger import LogEvent, LogLevel, formatEvent

from tests.wire.llama import server
from tests.wire.pair import OpenWire, Wire


def complaints(log: list[LogEvent]) -> list[str]:
    """The events that are errors; a Deferred whose failure nobody took is one too."""
    return [
        f"{formatEvent(event)} {event.get('log_failure', '')}"
        for event in log
        if event["log_level"] in (LogLevel.error, LogLevel.critical)
    ]


@pytest.fixture
def open_wire() -> Iterator[OpenWire]:
    """Makes a Wire of the options that a test needs; with `models=None` upstream is away at the start."""
    wires: list[Wire] = []
    gc.freeze()  # so that the collection below looks at this test's objects alone

    def opened(models: Any = ("tiny",), **flags: Any) -> Wire:
        wire = Wire(None if models is None else server(*models), **flags)
        wires.append(wire)
        return wire

    yield opened
    try:
        for wire in wires:
            wire.ends()
        gc.collect()
        for wire in wires:
            assert complaints(wire.log) == []
    finally:
        gc.unfreeze()
        for wire in wires:
            wire.forget()


@pytest.fixture
def wire(open_wire: OpenWire) -> Wire:
    """The proxy with its defaults, in front of a llama-server with one model."""
    return open_wire()


@pytest.fixture
def fresh(open_wire: OpenWire) -> Wire:
    """A proxy that knows nothing of upstream yet."""
    return open_wire(models=None)
