"""Is a body read as Ollama reads it?"""

from __future__ import annotations

from typing import Any

import pytest

from copilot_proxy import errors
from copilot_proxy.dialects.ollama.body import Named, read
from copilot_proxy.ollama.library import Created, Pulled


@pytest.mark.parametrize(
    ("body", "called"),
    [
        (b'{"model":"a"}', "a"),
        (b'{"name":"a"}', "a"),
        (b'{"model":"","name":"a"}', "a"),
        (b'{"model":"a","name":"b"}', "a"),
        (b'{"MODEL":"a"}', "a"),
        (b'{"Name":"a","other":[1]}', "a"),
        (b'{"model":null,"name":"a"}', "a"),
        (b"null", ""),
    ],
)
def test_named(body: bytes, called: str) -> None:
    """Keys are read in any case, what is unknown is ignored, and null is as good as not there."""
    assert read(body, Named).called == called


@pytest.mark.parametrize(
    ("body", "error", "text"),
    [
        (b"", errors.BadRequest, "missing request body"),
        (b"[]", errors.BadRequest, "an array"),
        (b'"x"', errors.BadRequest, "a string"),
        (b'{"model":7}', errors.BadRequest, "model: a string is expected, this is an integer"),
        (b'{"stream":"yes"}', errors.BadRequest, "stream: a boolean is expected, this is a string"),
    ],
)
def test_wrong(body: bytes, error: Any, text: str) -> None:
    """What cannot be read is an error that tells where, and has status 400."""
    with pytest.raises(error) as raised:
        read(body, Pulled)
    assert text in str(raised.value)
    assert raised.value.status == 400


def test_defaults() -> None:
    """Progress is streamed unless the request says otherwise, and `from` is a word of Python's."""
    assert read(b'{"stream":null}', Pulled).stream
    assert not read(b'{"stream":false}', Pulled).stream
    assert read(b'{"FROM":"x"}', Created).from_ == "x"
