"""Does llama-server get the images of an Ollama client with the type that they have?"""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copilot_proxy.dialects.ollama.images import checked, data_uri, part
from copilot_proxy.errors import BadRequest

PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.mark.parametrize(
    ("data", "mime"),
    [
        (PNG, "image/png"),
        (b"\xff\xd8\xff\xe0" + bytes(20), "image/jpeg"),
        (b"\xff\xd8\xff", "image/jpeg"),
        (b"GIF87a" + bytes(20), "image/gif"),
        (b"GIF89a" + bytes(20), "image/gif"),
        (b"RIFF\n\0\0\0WEBPVP8 ", "image/webp"),
        (b"BM" + bytes(20), "image/bmp"),
        (b"", "image/jpeg"),
        (b"what is this?", "image/jpeg"),
        (b"RIFF\0\0\0\0AVI ", "image/jpeg"),
        (b" \x89PNG\r\n\x1a\n", "image/jpeg"),
    ],
)
def test_images(data: bytes, mime: str) -> None:
    """The first bytes tell the type; what nobody knows is called a JPEG, as by Ollama."""
    uri = f"data:{mime};base64,{text(data)}"
    assert data_uri(text(data)) == uri
    assert part(text(data)) == {"type": "image_url", "image_url": {"url": uri}}


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"RIFF\n\0\0\0WAVEfmt ", "wav"),
        (b"ID3\x04" + bytes(20), "mp3"),
        (b"\xff\xfb\x90\x64" + bytes(20), "mp3"),
        (b"\xff\xe0", "mp3"),
    ],
)
def test_audio(data: bytes, name: str) -> None:
    """WAV and MP3 among the images become parts of sound."""
    assert part(text(data)) == {"type": "input_audio", "input_audio": {"data": text(data), "format": name}}


def test_line_ends() -> None:
    """Line ends inside the base64 are no error, and go."""
    wrapped = base64.encodebytes(bytes(100)).decode().replace("\n", "\r\n")
    assert data_uri(wrapped) == f"data:image/jpeg;base64,{text(bytes(100))}"


@pytest.mark.parametrize(
    ("bad", "byte"),
    [
        ("data:image/png;base64,QUJD", 4),
        ("QUJD!", 4),
        ("QU-_", 2),  # the alphabet for URLs
        ("QUJDé", 4),
        ("QUJD RUZH", 4),
        ("QUJDR", 4),  # unfinished: where the last four began
        ("QUJDRU", 4),
        ("QUJDRUZ", 4),
        ("QU\nJDR", 5),
        ("=", 0),
        ("Q===", 1),
        ("QUJD=", 4),
        ("QQ=", 3),
        ("QQ=\n", 4),
        ("QQ=x", 2),
        ("QQ=\nx", 3),
        ("QQ==QUJD", 4),
        ("QQ==\nQ", 5),
        ("QUI=x", 4),
        ("QUI==", 4),
    ],
)
def test_refusals(bad: str, byte: int) -> None:
    """What is no base64 is refused at the byte at which Go stops."""
    with pytest.raises(BadRequest) as caught:
        data_uri(bad)
    assert caught.value.message == f"illegal base64 data at input byte {byte}"
    with pytest.raises(BadRequest):
        part(bad)


@given(st.binary(), st.integers(1, 9))
def test_whatever_is_encoded_is_taken(data: bytes, width: int) -> None:
    """Base64 passes, with line ends or without, and means the same bytes."""
    whole = text(data)
    wrapped = "\n".join(whole[at : at + width] for at in range(0, len(whole), width))
    assert checked(whole) == checked(wrapped) == whole


def outcome(given_text: str) -> str | int:
    try:
        return checked(given_text)
    except BadRequest as refusal:
        return int(refusal.message.rsplit(" ", 1)[1])


@given(st.text(alphabet="QUJD+/=-\r\n é", max_size=12))
def test_any_text(given_text: str) -> None:
    """A text is base64 of something, or is refused at a byte inside it or at its end."""
    found = outcome(given_text)
    if isinstance(found, int):
        assert 0 <= found <= len(given_text)
    else:
        assert len(base64.b64decode(found, validate=True)) == len(found) // 4 * 3 - found.count("=")
