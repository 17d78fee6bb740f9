"""Which upstream addresses mean an embedded llama.cpp, and how is it to be started?

`demo:` is the tiny demo model, `llama:/path/to/model.gguf` a model of the user's. Both take settings:
`llama:model.gguf?ctx=8192&parallel=2&threads=8&alias=my-model`.
"""

import os
from importlib.util import find_spec
from typing import NamedTuple
from urllib.parse import parse_qsl

DEMO = "demo:"
LLAMA = "llama:"


class _Setting(NamedTuple):
    """A key of the query: the option of `serve` that it becomes, and the least number that it takes."""

    option: str
    least: int | None = None


SETTINGS = {
    "ctx": _Setting("--ctx-size", least=0),
    "parallel": _Setting("--parallel", least=1),
    "threads": _Setting("--threads", least=1),
    "alias": _Setting("--alias"),
}

NEEDED = {DEMO: ("xllamacpp", "gguf", "numpy"), LLAMA: ("xllamacpp",)}

# llama.cpp answers any web site by default. The proxy decides who may ask, and the port behind it must not
# be a way round.
PRIVATE = ["--cors-origins", "http://127.0.0.1"]


def parse(text: str) -> list[str]:
    """Give what follows `python -m copilot_proxy.embedded.serve` for an upstream `demo:...` or `llama:...`.

    A model's path becomes absolute, as a daemon changes its directory before it starts a child.
    Raises ValueError, with one line for the user, where the address cannot be served here.
    """
    address, _, query = text.partition("?")
    kind, colon, path = address.partition(":")
    kind += colon
    if kind not in NEEDED:
        raise ValueError(f"{text}: not an embedded upstream; write demo: or llama:/path/to/model.gguf")
    model = _demo(path) if kind == DEMO else _file(path)
    settings = _settings(query)
    if any(find_spec(module) is None for module in NEEDED[kind]):
        raise ValueError(
            f"{kind} needs the embedded llama.cpp: pip install 'llama-copilot-proxy[embedded]', or "
            "'.[embedded]' in a clone"
        )
    return [model, *PRIVATE, *settings]


def _demo(path: str) -> str:
    if path:
        raise ValueError(f"{DEMO}{path}: demo: takes no path; for a model of yours write {LLAMA}{path}")
    return DEMO


def _file(path: str) -> str:
    if not path:
        raise ValueError("llama: needs the path of a model: llama:/path/to/model.gguf")
    model = os.path.abspath(os.path.expanduser(path))
    if not os.path.isfile(model):
        raise ValueError(f"llama: there is no model file {model}")
    with open(model, "rb") as file:
        if file.read(4) != b"GGUF":
            raise ValueError(f"llama: {model} is no GGUF file")
    return model


def _settings(query: str) -> list[str]:
    arguments = []
    for key, value in parse_qsl(query, keep_blank_values=True):
        setting = SETTINGS.get(key)
        if setting is None:
            raise ValueError(f"{key}: an embedded upstream knows {', '.join(SETTINGS)}, and not this")
        if setting.least is None:
            if not value:
                raise ValueError(f"{key}= needs a value")
        elif not (value.isascii() and value.isdecimal() and int(value) >= setting.least):
            raise ValueError(f"{key}={value}: needs a whole number from {setting.least} on")
        arguments += [f"{setting.option}={value}"]
    return arguments
