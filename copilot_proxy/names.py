"""What may a model be called, and which spellings name the same one?

The rules are Ollama's (types/model/name.go and internal/modelref of 0.33): `[host/][namespace/]model[:tag]`,
where registry.ollama.ai, library and latest are what is left out, and case does not count.
"""

from __future__ import annotations

import re
from typing import Final

_LATEST: Final = ":latest"
_DEFAULT: Final = re.compile(r":latest\Z", re.IGNORECASE)
_LEFT_OUT: Final = re.compile(r"(?:registry\.ollama\.ai/)?(?:library/)?", re.IGNORECASE)
# The tag `local` says that the model must not be one of Ollama's cloud, and every model here is local.
_LOCAL: Final = re.compile(r":local\Z", re.IGNORECASE)
_CLOUD: Final = re.compile(r":(?:[^/:]*-)?cloud\Z", re.IGNORECASE)

_VALID: Final = re.compile(
    r"""
    (?: (?: [a-z0-9_][a-z0-9_.:-]{0,349} / )?   # host
        [a-z0-9_][a-z0-9_-]{0,79} / )?          # namespace
    [a-z0-9_][a-z0-9_.-]{0,79}                  # model
    (?: : [a-z0-9_][a-z0-9_.-]{0,79} )?         # tag
    """,
    re.IGNORECASE | re.VERBOSE | re.ASCII,
)


def is_valid(name: str) -> bool:
    """Whether Ollama could have a model of that name. llama-server may have others, such as a path."""
    return _VALID.fullmatch(name) is not None


def is_cloud(name: str) -> bool:
    """Whether the tag asks for a model that runs at ollama.com: `:cloud`, `:120b-cloud`."""
    return _CLOUD.search(name) is not None


def spellings(name: str) -> tuple[str, ...]:
    """What a model that a client calls `name` may be called in a list, the likeliest first."""
    plain = _plain(name)
    bare = _DEFAULT.sub("", plain)
    return tuple(dict.fromkeys((name, plain, bare, bare + _LATEST))) if bare else (name,)


def shown(name: str) -> str:
    """The name as Ollama shows it: without what may be left out, and always with its tag."""
    plain = _plain(name)
    return plain if ":" in plain.rpartition("/")[2] else plain + _LATEST


def _plain(name: str) -> str:
    return _LEFT_OUT.sub("", _LOCAL.sub("", name), count=1)
