"""Is a document what Ollama would have answered? JSON Schemas of its answers, one a file, tell.

They are written after the contract that clients of Ollama 0.33 rely on, and as strict as it is: a key that
is not known there is refused, but for those that this proxy adds on purpose to a model in a listing.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.validators import extend
from referencing import Registry
from referencing.jsonschema import DRAFT202012

_FOLDER = Path(__file__).with_name("ollama")

_FILES = {path.name: json.loads(path.read_text(encoding="utf-8")) for path in _FOLDER.glob("*.json")}
_REGISTRY: Registry[Any] = Registry().with_resources(
    (name, DRAFT202012.create_resource(schema)) for name, schema in _FILES.items()
)

NAMES = sorted(name.removesuffix(".json") for name in _FILES if name != "common.json")
"""What `check` knows."""


def _is_integer(_: Any, value: object) -> bool:
    """JSON Schema takes 1.0 for an integer; Ollama's own command line does not."""
    return isinstance(value, int) and not isinstance(value, bool)


_STRICT = extend(
    Draft202012Validator, type_checker=Draft202012Validator.TYPE_CHECKER.redefine("integer", _is_integer)
)


@cache
def _validator(name: str) -> Any:
    schema = _FILES[f"{name}.json"]
    Draft202012Validator.check_schema(schema)
    return _STRICT(schema, registry=_REGISTRY)


def check(name: str, document: object) -> None:
    """Raise AssertionError where the document is not as the schema `name`, one of NAMES, wants it.

    The text has a line for each thing that is wrong, with its place in the document. KeyError: there is no
    such schema.
    """
    errors = [f"{name}, at {e.json_path}: {e.message}" for e in _validator(name).iter_errors(document)]
    if errors:
        raise AssertionError("\n".join(errors))
