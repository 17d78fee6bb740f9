"""What of a request in Ollama's dialect is held while llama-server answers it?"""

from __future__ import annotations

import gc
from typing import Any

import pytest

from copilot_proxy.dialects.ollama.requests import Request
from copilot_proxy.door import ProxyRequest
from tests.unit.stream_writer import text
from tests.wire.ollama import HI, asks, streams
from tests.wire.pair import Wire


def held() -> int:
    """How many objects hold the words of a request: the request as it was read, or its body."""
    gc.collect()
    return sum(
        isinstance(found, Request) or (isinstance(found, ProxyRequest) and bool(found.body))
        for found in gc.get_objects()
    )


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("path", "members"),
    [
        ("/api/chat", {"messages": HI}),
        ("/api/generate", {"prompt": "hi", "images": ["QUJD"]}),
        ("/api/generate", {"prompt": "hi", "raw": True}),
    ],
)
def test_an_answered_request_is_let_go(wire: Wire, path: str, members: Any, stream: bool) -> None:
    """Hundreds of streams may run for minutes: while they do, nobody holds their prompts."""
    before = held()
    client = asks(wire, path, stream=stream, **members)
    assert held() > before
    streams(wire.asked[-1], text("I"))
    assert held() == before
    client.leaves()
