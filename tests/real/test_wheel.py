"""The wheel: built from the files of the project, installed where nothing else is, and started there."""

import shutil
import signal
import subprocess
import sys
import venv
from importlib.metadata import version
from pathlib import Path
from zipfile import ZipFile

import pytest

from copilot_proxy import __version__
from tests.real.client import ask
from tests.real.processes import ROOT, Server, environment

PATIENCE = 300  # seconds: what the package needs may have to be fetched
MODERN_SETUPTOOLS = 77  # as pyproject.toml says


def run(*command: str | Path, cwd: Path) -> str:
    """What a command prints, its errors too; it has to succeed."""
    done = subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env=environment(PYTHONPATH=""),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy: a build leaves files beside the sources."""
    tree = tmp_path_factory.mktemp("tree")
    for name in ("copilot_proxy", "twisted"):
        shutil.copytree(
            ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__", "dropin.cache")
        )
    for name in ("pyproject.toml", "setup.cfg", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    here = [] if int(version("setuptools").partition(".")[0]) < MODERN_SETUPTOOLS else ["--no-isolation"]
    run(sys.executable, "-m", "build", "--wheel", *here, tree, cwd=tree)
    (built,) = (tree / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def scripts(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the programs of a fresh environment with the wheel in it."""
    fresh = tmp_path_factory.mktemp("fresh")
    venv.create(fresh)
    python = fresh / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", wheel, cwd=fresh)
    return python.parent


def way(name: str, scripts: Path) -> list[str | Path]:
    ways: dict[str, list[str | Path]] = {
        "twist": [scripts / "twist", "--log-format=text"],
        "twistd": [scripts / "twistd", "--nodaemon", "--pidfile="],
        "python -m twisted": [scripts / "python", "-m", "twisted", "--log-format=text"],
    }
    return [*ways[name], "copilot-proxy"]


def test_its_name(wheel: Path) -> None:
    """It has our version, and a name of its own: the plugin's is another project's on the package index."""
    assert wheel.name == f"llama_copilot_proxy-{__version__}-py3-none-any.whl"


@pytest.mark.parametrize("name", ["twist", "twistd", "python -m twisted"])
def test_it_runs_where_it_is_installed(name: str, scripts: Path, tmp_path: Path) -> None:
    """From the wheel alone the plugin tells its options and its version, starts, and answers."""
    command = way(name, scripts)
    assert "--upstream" in run(*command, "--help", cwd=tmp_path)
    assert run(*command, "--version", cwd=tmp_path) == f"copilot-proxy {__version__}\n"
    server = Server(
        r"listens on (http://127\.0\.0\.1:\d+)\n",
        *command,
        "--port=tcp:0:interface=127.0.0.1",
        "--upstream=http://127.0.0.1:1",
        env={"PYTHONPATH": ""},
        cwd=tmp_path,
    )
    try:
        assert ask(server, "GET", "/api/version").json.keys() == {"version"}
        server.signal(signal.SIGTERM)
        server.wait()
    finally:
        server.end()
    server.assert_clean_log()


def test_it_has_every_file(wheel: Path) -> None:
    """Each file of the package is in the wheel, and the plugin; no test is."""
    with ZipFile(wheel) as archive:
        packed = set(archive.namelist())
    files = [path for path in (ROOT / "copilot_proxy").rglob("*") if path.is_file()]
    ours = {str(path.relative_to(ROOT)) for path in files if path.suffix != ".pyc"}
    assert ours <= packed
    assert {"copilot_proxy/py.typed", "twisted/plugins/copilot_proxy_plugin.py"} <= packed
    assert not any(name.startswith(("tests", "bench")) for name in packed)


def test_demo_says_what_it_needs(scripts: Path, tmp_path: Path) -> None:
    """Without llama.cpp's wheel, demo: is one line that tells how to install it, and status 64."""
    done = subprocess.run(
        [*map(str, way("twist", scripts)), "--upstream=demo:"],
        cwd=tmp_path,
        env=environment(PYTHONPATH=""),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 64
    assert "pip install 'llama-copilot-proxy[embedded]'" in done.stderr
    assert done.stderr.count("\n") == 1
