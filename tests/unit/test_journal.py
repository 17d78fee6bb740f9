"""What is masked, and what is shown of a body?"""

from __future__ import annotations

import json

import pytest
from twisted.web.http_headers import Headers

from copilot_proxy.journal import masked_body, masked_headers, visible


@pytest.mark.parametrize(
    "name", ["Authorization", "PROXY-AUTHORIZATION", "x-api-key", "Cookie", "Set-Cookie", "Api-Key"]
)
def test_masked_headers(name: str) -> None:
    """A header that proves somebody's identity shows its name alone, as often as it is there."""
    headers = Headers()
    headers.addRawHeader(name, "secret-1")
    headers.addRawHeader(name, "secret-2")
    headers.addRawHeader("Accept", "*/*")
    shown = masked_headers(headers)
    assert "secret" not in shown
    assert shown.count("***") == 2
    assert "  Accept: */*" in shown.splitlines()


@pytest.mark.parametrize(
    "key",
    ["api_key", "apiKey", "api-key", "API_KEY", "openai_api_key", "authorization", "access_token", "password",
     "client_secret", "auth_token"],
)  # fmt: skip
@pytest.mark.parametrize("value", ["sk-hidden", 'sk-hidden "and" more', "sk-hidden\\"])
def test_masked_members(key: str, value: str) -> None:
    """The value of a member that is called like a key is masked, wherever it stands and whatever is in it."""
    body = json.dumps({"outer": [{key: value, "max_tokens": 7}]}).encode()
    shown = masked_body(body)
    assert "hidden" not in shown
    assert json.loads(shown) == {"outer": [{key: "***", "max_tokens": 7}]}


def test_masked_bearer() -> None:
    """A bearer's token is masked in any text."""
    text = masked_body(b"curl -H 'Authorization: Bearer sk-hidden1234' and bearer of news")
    assert "sk-hidden" not in text
    assert "Bearer ***" in text
    assert "bearer of news" in text


def test_json_is_indented() -> None:
    """JSON is shown as people read it, with numbers and order as they were written."""
    assert masked_body(b'{"b":1.0,"a":[]}') == '{\n  "b": 1.0,\n  "a": []\n}'


@pytest.mark.parametrize("body", [b"", b"{", b"data: {}\n\ndata: [DONE]\n\n", b"[" * 5000])
def test_other_bodies_are_shown_as_they_are(body: bytes) -> None:
    """What is no JSON is not changed."""
    assert masked_body(body) == body.decode()


def test_bytes_that_are_no_text() -> None:
    """Bytes that are no UTF-8 are escaped."""
    assert masked_body(b"\xff\xfe") == "\\xff\\xfe"


def test_long_bodies_are_cut() -> None:
    """Of a body over 64 Ki characters the rest is counted, not shown."""
    shown = masked_body(b"x" * 65537)
    assert shown == "x" * 65536 + "\n... and 1 characters more"
    assert masked_body(b"x" * 65536) == "x" * 65536


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("qwen3:8b", "qwen3:8b"),
        ("caf\xe9", "caf\xe9"),
        ("a\nb\r\x1b[31m\x00", "a\\nb\\r\\x1b[31m\\x00"),
        ("\u202ex\u2028", "\\u202ex\\u2028"),
        ("x" * 100, "x" * 80),
    ],
)
def test_visible(text: str, shown: str) -> None:
    """A client's text stays on its line: what does not print is escaped, and what is long is cut."""
    assert visible(text) == shown
