"""Who has to show a key?"""

from __future__ import annotations

import pytest
from twisted.web.http_headers import Headers

from copilot_proxy.keys import Keys

KEYS = Keys(["first-key", "second-key"], open_listings=False)


def headers(**fields: str) -> Headers:
    return Headers({name.replace("_", "-"): [value] for name, value in fields.items()})


@pytest.mark.parametrize(
    "fields",
    [
        {"authorization": "Bearer first-key"},
        {"authorization": "bearer second-key"},
        {"authorization": "BEARER   second-key "},
        {"x_api_key": "first-key"},
        {"x_api_key": " second-key"},
        {"authorization": "Bearer", "x_api_key": "first-key"},
        {"authorization": "Bearer first-key", "x_api_key": "other"},
    ],
)
def test_right_keys(fields: dict[str, str]) -> None:
    """Each key is right in either header, whatever the case of the scheme's name."""
    assert KEYS.allow(headers(**fields))


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"authorization": "Bearer"},
        {"authorization": "Bearer "},
        {"authorization": "Bearer first-ke"},
        {"authorization": "Bearer first-key2"},
        {"authorization": "Bearer first-key second-key"},
        {"authorization": "first-key"},
        {"authorization": "Basic first-key"},
        {"x_api_key": ""},
        {"x_api_key": "Bearer first-key"},
        {"api_key": "first-key"},
    ],
)
def test_wrong_keys(fields: dict[str, str]) -> None:
    """What is no key, or another one, is none of them."""
    assert not KEYS.allow(headers(**fields))


def test_no_keys() -> None:
    """Without keys everybody may come."""
    assert Keys([], open_listings=False).allow(headers())


def test_every_key_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """All keys are compared whichever is right, and by what they are digested to: equally long, none kept."""
    import hmac

    seen: list[tuple[bytes, bytes]] = []
    right = hmac.compare_digest

    def compared(one: bytes, other: bytes) -> bool:
        seen.append((one, other))
        return right(one, other)

    monkeypatch.setattr("copilot_proxy.keys.hmac.compare_digest", compared)
    assert KEYS.allow(headers(x_api_key="first-key"))
    assert len(seen) == 2
    assert {len(digest) for pair in seen for digest in pair} == {32}
    assert "first-key" not in str(vars(KEYS))
