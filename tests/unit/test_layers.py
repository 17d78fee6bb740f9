"""Do imports point one way?"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import copilot_proxy

ROOT = Path(copilot_proxy.__file__).parent

# part -> what it may import of the project; a package stands for its modules, which may import each other
MAY: dict[str, set[str]] = {
    "errors": set(),
    "headers": {""},
    "cards": set(),
    "names": set(),
    "exchange": {"errors"},
    "cors": {"errors"},
    "hosts": {"errors"},
    "channel": set(),
    "journal": {"exchange", "stream"},
    "keys": {"errors"},
    "dialects": {"errors", "cards"},
    "stream": {"errors", "exchange", "headers"},
    "address": {"embedded"},
    "parse": {"errors", "stream"},
    "settings": {"address", "errors", "parse", "stream"},
    "upstream": {"errors", "cards", "headers", "names", "address"},
    "status": {"", "errors", "upstream"},
    "repairs": {"dialects"},
    "drain": {"channel", "upstream"},
    "door": {"channel", "cors", "dialects", "errors", "exchange", "headers", "hosts", "journal", "keys"},
    "loading": {"errors", "journal", "upstream"},
    "chat": {"dialects", "door", "errors", "journal", "loading", "repairs", "stream", "upstream"},
    "memory": set(),
    "forward": {"chat", "dialects", "door", "headers", "journal", "repairs", "stream", "upstream"},
    "ollama": {
        "cards", "chat", "dialects", "door", "errors", "journal", "loading", "memory", "names", "stream",
        "upstream",
    },
    "routes": {"dialects", "door", "errors", "forward", "journal", "ollama", "status", "upstream"},
    "embedded": {"", "errors"},
    "notify": set(),
    "activation": set(),
    "service": {
        "", "address", "cards", "chat", "cors", "door", "drain", "embedded", "errors", "forward", "hosts",
        "journal", "keys", "loading", "memory", "notify", "ollama", "repairs", "routes",
        "settings", "status", "upstream",
    },
    "tap": {"", "activation", "settings", "service"},
}  # fmt: skip

MODULES = sorted(path for path in ROOT.rglob("*.py") if "tiny" not in path.parts)


def part_of(path: Path) -> str:
    """The package or module of the first level; "" is the package itself."""
    name = path.relative_to(ROOT).parts[0].removesuffix(".py")
    return "" if name == "__init__" else name


def imported(path: Path) -> set[str]:
    """The parts of the project that a module imports, at its top or inside a function."""
    depth = len(path.relative_to(ROOT).parts)
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            assert not any(alias.name.startswith("copilot_proxy") for alias in node.names), path
        if not isinstance(node, ast.ImportFrom) or node.level == 0:
            continue
        assert node.level <= depth, path
        if node.level < depth:
            found.add(part_of(path))
        elif node.module:
            found.add(node.module.split(".")[0])
        else:
            parts = {child.stem for child in ROOT.iterdir()}
            found |= {alias.name if alias.name in parts else "" for alias in node.names}
    return found


def id_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", MODULES, ids=id_of)
def test_imports_point_one_way(path: Path) -> None:
    """A module imports only what stands before it on the way of a request, and its neighbours."""
    part = part_of(path)
    assert imported(path) <= MAY.get(part, set()) | {part}


def test_no_circle() -> None:
    """The table itself has an order: nothing leads back to where it came from."""
    left = {part: allowed - {""} for part, allowed in MAY.items()}
    while left:
        free = {part for part, needs in left.items() if not needs & left.keys()}
        assert free, f"these lead back to each other: {sorted(left)}"
        left = {part: needs for part, needs in left.items() if part not in free}


@pytest.mark.parametrize("path", MODULES, ids=id_of)
def test_nobody_imports_the_reactor(path: Path) -> None:
    """Importing any module installs no reactor: it is imported inside a function, where at all."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ImportFrom) and node.module == "twisted.internet":
            assert "reactor" not in {alias.name for alias in node.names}
        if isinstance(node, ast.Import):
            assert "twisted.internet.reactor" not in {alias.name for alias in node.names}


def test_dialects_know_no_network() -> None:
    """Dialects are functions over bytes and documents: nothing of Twisted is imported there."""
    for path in (ROOT / "dialects").rglob("*.py"):
        assert "twisted" not in path.read_text().lower()
