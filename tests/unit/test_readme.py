"""The README tells of the options and of the clients what the code does."""

import re
from pathlib import Path

from copilot_proxy import __version__
from copilot_proxy.settings import OPTIONS

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def cell(text: str) -> str:
    return text.strip().strip("`")


def test_the_table_of_options_is_the_table_of_the_code() -> None:
    """Each option stands in the README with its short form, its environment name and its default."""
    rows = {
        cell(option): (cell(environment), cell(default))
        for option, environment, default, *_ in (
            line.strip("|").split("|") for line in README.splitlines() if line.startswith("| `--")
        )
    }
    assert rows == {
        f"--{option.name}" + (f"`, `-{option.short}" if option.short else ""): (
            option.environment,
            option.default,
        )
        for option in OPTIONS
    }


def test_the_version_shown_is_ours() -> None:
    """What the README shows of a start names the version that starts."""
    assert re.findall(r"copilot-proxy (\d[\d.]*) listens", README) == [__version__]
