"""Where an SSE event ends, found on bytes: at a blank line, with lines ending in LF, CRLF or CR.

Source: WHATWG HTML, section 9.2.5.
"""

from __future__ import annotations

# a blank line, and how many of its bytes belong to the event before it
_BLANK_LINES = (b"\n\n", b"\n\r\n", b"\r\r")


def whole_events(data: bytes) -> int:
    """The length of the part of `data` that ends with an event's end; 0 where no event ends in it."""
    if data.endswith(b"\n\n"):
        return len(data)
    return max(
        (at + len(blank) for blank in _BLANK_LINES if (at := data.rfind(blank)) >= 0),
        default=0,
    )
