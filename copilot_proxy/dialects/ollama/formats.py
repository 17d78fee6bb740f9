"""How does llama-server hear which `format` an answer has to have? (llm/llama_server.go)"""

from __future__ import annotations

import json
from typing import Any, Final

from msgspec import Raw

from ...errors import BadOption
from ..jsontext import OBJECT, kind

_JSON: Final = b'"json"'
# What a schema for "any JSON object" is
_ANY_OBJECT: Final = Raw(b'{"type":"object"}')


def response_format(wanted: Raw | None) -> dict[str, Any] | None:
    """What a chat says; None where any text will do. Raises BadOption in Ollama's words."""
    said = _said(wanted)
    if said is None:
        return None
    if bytes(said) == _JSON:
        return {"type": "json_object"}
    return {"type": "json_schema", "json_schema": {"name": "schema", "schema": said}}


def json_schema(wanted: Raw | None) -> Raw | None:
    """What /completion and /infill are told; None where any text will do. Raises BadOption likewise."""
    said = _said(wanted)
    return _ANY_OBJECT if said is not None and bytes(said) == _JSON else said


def _said(wanted: Raw | None) -> Raw | None:
    if wanted is None or bytes(wanted) in (b"null", b'""'):
        return None
    if bytes(wanted) != _JSON and kind(wanted) != OBJECT:
        quoted = json.dumps(bytes(wanted).decode(), ensure_ascii=False)
        raise BadOption(
            f'invalid format: {quoted}; expected "json" or a valid JSON Schema object',
            logged="format is neither a schema nor json",
        )
    return wanted
