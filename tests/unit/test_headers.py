"""Which header fields pass?"""

from __future__ import annotations

import pytest
from twisted.web.http_headers import Headers

from copilot_proxy.headers import HOP_BY_HOP, end_to_end


def names(headers: Headers) -> set[bytes]:
    return {name.lower() for name, _ in headers.getAllRawHeaders()}


@pytest.mark.parametrize("name", sorted(HOP_BY_HOP))
def test_hop_by_hop(name: bytes) -> None:
    """A field of one connection does not pass, in whatever case it is written."""
    for written in (name, name.title(), name.upper()):
        assert names(end_to_end(Headers({written: [b"x"], b"X-Kept": [b"y"]}))) == {b"x-kept"}


def test_fields_that_connection_names() -> None:
    """What any Connection field names does not pass (RFC 9110 section 7.6.1)."""
    headers = Headers(
        {
            b"Connection": [b"close, X-One", b" x-TWO ,, "],
            b"X-One": [b"1"],
            b"X-Two": [b"2"],
            b"X-Three": [b"3"],
        }
    )
    assert names(end_to_end(headers)) == {b"x-three"}


def test_without() -> None:
    """What the caller names does not pass either."""
    headers = Headers({b"Host": [b"p"], b"Accept": [b"*/*"]})
    assert names(end_to_end(headers, without={b"host"})) == {b"accept"}


def test_values_stay() -> None:
    """Values keep their bytes and their order, and those that are there twice stay twice."""
    headers = Headers({b"Set-Cookie": [b"a=1; Path=/", b"b=2"], b"X-Bytes": [b"\xff"]})
    passed = end_to_end(headers)
    assert passed.getRawHeaders(b"set-cookie") == [b"a=1; Path=/", b"b=2"]
    assert passed.getRawHeaders(b"x-bytes") == [b"\xff"]


def test_a_copy() -> None:
    """The fields given are not changed, and neither are they when the copy is."""
    headers = Headers({b"X-One": [b"1"], b"Connection": [b"close"]})
    passed = end_to_end(headers)
    passed.addRawHeader(b"X-One", b"2")
    assert headers.getRawHeaders(b"x-one") == [b"1"]
    assert headers.hasHeader(b"connection")
