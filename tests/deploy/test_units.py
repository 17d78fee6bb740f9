"""Do the units of deploy/systemd hold what they promise, by systemd's own judgement?"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from copilot_proxy.settings import OPTIONS
from tests.deploy.files import END

UNITS = Path(__file__).parents[2] / "deploy" / "systemd"
SERVICES = sorted(path.name for path in UNITS.glob("*.service"))
SOCKETS = sorted(path.name for path in UNITS.glob("*.socket"))
INSTALLED = "/opt/copilot-proxy/bin"  # where docs/deploy.md has the proxy installed

EXPOSURE = 2  # of 10: what a service could do to the rest of the machine, were it taken over


def analyze(*words: str | Path) -> tuple[int, str]:
    """The exit status of systemd-analyze, and all that it prints."""
    program = shutil.which("systemd-analyze")
    assert program, "systemd-analyze is missing: install Debian's package systemd"
    done = subprocess.run([program, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.returncode, done.stdout


def shared(unit: str) -> str:
    """A service's section from where it is the same in all of them: how it runs and what it may."""
    text = (UNITS / unit).read_text()
    return text[text.index("# Ready when") : text.index("[Install]")]


def values(unit: str, key: str) -> list[str]:
    return re.findall(rf"^{key}=(.*)$", (UNITS / unit).read_text(), re.MULTILINE)


def test_there_are_units() -> None:
    assert len(SERVICES) == 4
    assert len(SOCKETS) == 2


@pytest.mark.parametrize("unit", SERVICES)
def test_exposure(unit: str) -> None:
    """systemd-analyze finds little that a service could do if somebody took it over."""
    status, text = analyze(
        "security", "--no-pager", "--offline=yes", f"--threshold={EXPOSURE * 10}", UNITS / unit
    )
    assert status == 0, text
    told = re.search(r"Overall exposure level for \S+: (\d+\.\d+)", text)
    assert told is not None, text
    assert float(told[1]) < EXPOSURE


@pytest.mark.parametrize("unit", [*SERVICES, *SOCKETS])
def test_units_are_understood(unit: str, tmp_path: Path) -> None:
    """systemd-analyze knows every key and value, and finds every program and every unit that is named."""
    for path in UNITS.glob("*.*"):
        here = path.read_text().replace(INSTALLED, str(Path(sys.executable).parent))
        (tmp_path / path.name).write_text(here)
    assert analyze("verify", "--man=no", tmp_path / unit) == (0, "")


@pytest.mark.parametrize("unit", SERVICES)
def test_services_are_alike(unit: str) -> None:
    """What is not the start itself is the same in each of them."""
    assert shared(unit) == shared("copilot-proxy.service")
    (start,) = values(unit, "ExecStart")
    assert start.startswith(f"{INSTALLED}/twist")
    assert ("systemd:domain=INET:index=0" in start) == (unit.replace(".service", ".socket") in SOCKETS)


def test_there_is_time_to_end() -> None:
    """systemd kills the proxy later than it ends by itself, and tells no one else to end before it."""
    assert values("copilot-proxy.service", "KillMode") == ["mixed"]
    (patience,) = values("copilot-proxy.service", "TimeoutStopSec")
    assert float(patience) > END


@pytest.mark.parametrize("unit", SOCKETS)
def test_sockets_are_private(unit: str) -> None:
    """A socket is one of 127.0.0.1, as the proxy's own would be; the template's share their port."""
    assert values(unit, "ListenStream") == ["127.0.0.1:11434"]
    assert values(unit, "ReusePort") == (["yes"] if "@" in unit else [])


def test_settings() -> None:
    """The file of settings names variables that there are, with their defaults where they have one."""
    lines = (UNITS / "copilot-proxy.env").read_text().splitlines()
    named = dict(line[1:].split("=", 1) for line in lines if re.match(r"#[A-Z]", line))
    known = {option.environment: option.default for option in OPTIONS}
    assert named == {name: known[name] or "1" for name in named}
