"""What does one SSE event say? Its comments, its data, and whether that data is an error.

Source: WHATWG HTML, section 9.2.6. Besides, llama-server wrote a failure inside a stream as a field of its
own, `error: {...}`, until September 2025 (ggml-org/llama.cpp#16104), and others name such an event `error`.
"""

from __future__ import annotations

import codecs
from typing import NamedTuple

PREFIX = b"data: "
END = b"\n\n"


class Event(NamedTuple):
    """One event, read. `data` is None where it has none; `plain`: one `data: ` line is all of it."""

    data: bytes | None
    comments: bytes = b""
    is_error: bool = False
    plain: bool = False


def read(event: bytes) -> Event:
    """The event whose lines, ended by LF, are these; the blank line after them may be left away.

    `comments` are whole lines with the blank line that ends them. `id`, `retry` and unknown fields are left
    out.
    """
    if event.startswith(PREFIX) and b"\n" not in event:
        return Event(event[len(PREFIX) :], plain=True)
    comments: list[bytes] = []
    data: list[bytes] = []
    is_error = False
    for line in event.removeprefix(codecs.BOM_UTF8).split(b"\n"):
        if line.startswith(b":"):
            comments.append(line + b"\n")
            continue
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field in (b"data", b"error"):
            data.append(value)
        is_error = is_error or field == b"error" or (field, value) == (b"event", b"error")
    if comments:
        comments.append(b"\n")
    return Event(b"\n".join(data) if data else None, b"".join(comments), is_error)
