"""What is known of one request and its answer, for the access log: filled in on the way, read at the end."""

from __future__ import annotations

from collections import deque

from attrs import Factory, define

from .errors import ProxyError

# llama-server sends the last chunk, the usage and `[DONE]` as separate segments; one more for luck
_TAIL_SEGMENTS = 4


@define(eq=False)
class Exchange:
    """One request and its answer. Times are seconds of the reactor's clock."""

    started: float
    model: str | None = None
    first_byte: float | None = None
    """When the first byte of upstream's body came, not its head: for a stream, the first event."""
    tail: deque[bytes] = Factory(lambda: deque(maxlen=_TAIL_SEGMENTS))
    """The last segments of the answer's body, which tell the tokens."""
    failure: ProxyError | None = None
    """Why the answer is an error, or was cut."""
    left: str = "the client left"
    """What the log says where the connection ended before the answer did."""
    gone: bool = False
    """The connection to the client is closed, and nothing can be told it any more."""
