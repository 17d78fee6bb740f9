"""How do these tests read the files that deploy the proxy?"""

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml import YAML

from copilot_proxy.drain import LAST_WORDS
from copilot_proxy.embedded.supervisor import TERM_GRACE
from copilot_proxy.settings import OPTIONS

ROOT = Path(__file__).parents[2]

(_DRAIN,) = (float(option.default) for option in OPTIONS if option.name == "drain")
END = _DRAIN + LAST_WORDS + TERM_GRACE
"""Seconds in which a proxy that is told to stop has ended: streams, last words, a llama.cpp of its own."""


class Instruction(NamedTuple):
    """One instruction of a Dockerfile; `text` has its continued lines in one."""

    name: str
    text: str

    @property
    def words(self) -> list[str]:
        """The words, options left out."""
        return [word for word in self.text.split() if not word.startswith("--")]


class Stage(NamedTuple):
    """A stage of the Dockerfile, with what it takes over from the stages below it."""

    parent: str
    own: list[Instruction]
    whole: list[Instruction]

    def last(self, name: str) -> str:
        """What the last instruction of this name says: it counts, and not those before it."""
        return [instruction.text for instruction in self.whole if instruction.name == name][-1]

    @property
    def variables(self) -> dict[str, str]:
        """What ENV sets."""
        pairs = [pair for line in self.whole if line.name == "ENV" for pair in line.text.split()]
        return dict(pair.split("=", 1) for pair in pairs)


def stages() -> dict[str, Stage]:
    """The stages of the Dockerfile, in their order."""
    text = re.sub(r"(?m)^#.*\n", "", (ROOT / "Dockerfile").read_text()).replace("\\\n", " ")
    found: dict[str, Stage] = {}
    for line in filter(str.strip, text.splitlines()):
        instruction = Instruction(*line.split(maxsplit=1))
        if instruction.name == "FROM":
            parent, _, name = instruction.text.split()
            below = found[parent].whole if parent in found else []
            stage = found[name] = Stage(parent, [], [*below])
        else:
            stage.own.append(instruction)
            stage.whole.append(instruction)
    return found


def exec_form(text: str) -> list[str]:
    """The words of a command that no shell runs; raises ValueError where it is not written so."""
    words: list[str] = json.loads(text)
    return words


def compose() -> dict[str, Any]:
    """The Compose file."""
    document: dict[str, Any] = YAML(typ="safe", pure=True).load(ROOT / "docker-compose.yml")
    return document
