"""What is in the base64 of `images`, and how does llama-server take it?"""

from __future__ import annotations

import binascii
import re
from typing import Any, Final

from ...errors import BadRequest

# Signatures of the images that Go's http.DetectContentType knows among those that clients send
_IMAGES: Final = (
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "image/png"),
    (re.compile(rb"\xff\xd8\xff"), "image/jpeg"),
    (re.compile(rb"GIF8[79]a"), "image/gif"),
    (re.compile(rb"RIFF....WEBPVP", re.DOTALL), "image/webp"),
    (re.compile(rb"BM"), "image/bmp"),
)
# Ollama takes whatever has no signature for a JPEG (llm/llama_server.go)
_UNKNOWN: Final = "image/jpeg"

# Ollama takes audio among the images (llm/media.go)
_AUDIO: Final = (
    (re.compile(rb"RIFF....WAVE", re.DOTALL), "wav"),
    (re.compile(rb"ID3|\xff[\xe0-\xff]"), "mp3"),
)

_SNIFFED: Final = 24  # characters of base64, which are 18 bytes: more than the longest signature

# Right where the length is a multiple of four, too. (binascii's strict mode in Python 3.11 takes "QUJD=".)
_BASE64: Final = re.compile(r"[A-Za-z0-9+/]*={0,2}")

_ALPHABET: Final = re.compile(r"[A-Za-z0-9+/\r\n]*")
_LINE_ENDS: Final = re.compile(r"[\r\n]*")


def part(base64_text: str) -> dict[str, Any]:
    """The part of an OpenAI message: `input_audio` for WAV and MP3, `image_url` for all else.

    Raises what `checked` does.
    """
    text = checked(base64_text)
    head = _head(text)
    for signature, name in _AUDIO:
        if signature.match(head):
            return {"type": "input_audio", "input_audio": {"data": text, "format": name}}
    return {"type": "image_url", "image_url": {"url": _uri(text, head)}}


def data_uri(base64_text: str) -> str:
    """The image as a data: URI, with the type that its first bytes tell; raises what `checked` does."""
    text = checked(base64_text)
    return _uri(text, _head(text))


def checked(base64_text: str) -> str:
    """The base64 without its line ends.

    Raises BadRequest where it is not the standard alphabet with padding, which is all that Ollama takes: a
    data: URI is refused at its colon, byte 4.
    """
    text = base64_text
    if "\n" in text or "\r" in text:
        text = text.replace("\n", "").replace("\r", "")
    if len(text) % 4 or not _BASE64.fullmatch(text):
        raise BadRequest(f"illegal base64 data at input byte {_first_bad(base64_text)}")
    return text


def _head(text: str) -> bytes:
    return binascii.a2b_base64(text[:_SNIFFED])


def _uri(text: str, head: bytes) -> str:
    mime = next((mime for signature, mime in _IMAGES if signature.match(head)), _UNKNOWN)
    return f"data:{mime};base64,{text}"


def _first_bad(text: str) -> int:
    """Where Go's encoding/base64 stops: at the first wrong character, or where what is unfinished begins."""
    end = _end_of(_ALPHABET, text, 0)
    unfinished = len(_LINE_ENDS.sub("", text[:end])) % 4
    if end == len(text):
        return end - unfinished
    if text[end] != "=" or unfinished < 2:
        return end
    after = end + 1
    if unfinished == 2:
        second = _end_of(_LINE_ENDS, text, after)
        if second == len(text):
            return second
        if text[second] != "=":
            return second - 1
        after = second + 1
    return _end_of(_LINE_ENDS, text, after)


def _end_of(pattern: re.Pattern[str], text: str, start: int) -> int:
    found = pattern.match(text, start)
    return start if found is None else found.end()
