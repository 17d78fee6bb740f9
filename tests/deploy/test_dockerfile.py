"""Is the Dockerfile right, as far as that can be told without building it?

tests/real/test_container.py builds it.
"""

import re
import tomllib

import pytest

from copilot_proxy import __version__
from copilot_proxy.settings import OPTIONS, read
from copilot_proxy.status import probe
from tests.deploy.files import END, ROOT, exec_form, stages

STAGES = stages()
RUN = ["prod", "embedded"]  # what people run; dev is for tests


def test_what_is_built_unasked() -> None:
    """`docker build .` makes prod."""
    assert list(STAGES)[-1] == "prod"
    assert {"dev", "embedded"} <= STAGES.keys()


def test_nothing_comes_from_elsewhere() -> None:
    """Stages build on stages before them, and on one image by its name, of a Python that we support."""
    known = list(STAGES)
    outside = {
        stage.parent for name, stage in STAGES.items() if stage.parent not in known[: known.index(name)]
    }
    (image,) = outside
    version = re.fullmatch(r"python:(3\.\d+)-slim-\w+", image)
    assert version is not None, image
    least = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert tuple(map(int, version[1].split("."))) >= tuple(map(int, least.removeprefix(">=").split(".")))


@pytest.mark.parametrize("name", STAGES)
def test_what_is_copied_is_there(name: str) -> None:
    """Each COPY names files of the project, or a stage that was built before."""
    before = list(STAGES)[: list(STAGES).index(name)]
    for instruction in STAGES[name].own:
        if instruction.name != "COPY":
            continue
        if source := re.search(r"--from=(\S+)", instruction.text):
            assert source[1] in before
        else:
            assert all((ROOT / path).exists() for path in instruction.words[:-1])


def test_wheels_alone() -> None:
    """Nothing that is installed is compiled: the images have no compiler."""
    commands = [line.text for stage in STAGES.values() for line in stage.own if line.name == "RUN"]
    installs = [
        part for text in commands for part in text.split("&&") if re.search(r"pip\b.* install ", part)
    ]
    assert len(installs) >= 2
    assert all("--only-binary :all:" in part for part in installs)


@pytest.mark.parametrize("name", [*RUN, "dev"])
def test_nobody_runs_as_root(name: str) -> None:
    """The user is a number other than 0, which Kubernetes' runAsNonRoot can check."""
    user, _, group = STAGES[name].last("USER").partition(":")
    assert int(user) > 0
    assert int(group) > 0


@pytest.mark.parametrize("name", RUN)
def test_the_process_gets_its_signals(name: str) -> None:
    """No shell stands between the engine's SIGTERM and twist, and the log is readable without a terminal."""
    assert exec_form(STAGES[name].last("ENTRYPOINT")) == ["twist", "--log-format=text", "copilot-proxy"]
    assert STAGES[name].last("STOPSIGNAL") == "SIGTERM"


@pytest.mark.parametrize("name", RUN)
def test_what_it_is_set_to(name: str) -> None:
    """Its variables are options of ours with values that they take, and it listens where EXPOSE says."""
    variables = STAGES[name].variables
    ours = {option.environment for option in OPTIONS}
    assert variables.keys() - ours <= {"PATH", "PYTHONUNBUFFERED", "XDG_CACHE_HOME"}
    assert read({}, variables).port == f"tcp:{STAGES[name].last('EXPOSE')}:interface=0.0.0.0"


@pytest.mark.parametrize("name", RUN)
def test_its_health_check(name: str) -> None:
    """It runs a module that we have, gives it the time that it takes, and finds no fault with draining."""
    options, _, command = STAGES[name].last("HEALTHCHECK").partition("CMD ")
    python, dash_m, module = exec_form(command)
    assert (python, dash_m) == ("python", "-m")
    assert module == probe.__name__
    words = dict(re.findall(r"--([a-z-]+)=(\d+)", options))
    assert float(words["timeout"]) > probe.PATIENCE
    assert int(words["interval"]) * (int(words["retries"]) - 1) > END


def test_dev_has_what_the_tests_run() -> None:
    """Nobody is root in dev, so it has what scripts/setup would install: programs and OpenMP."""
    setup = (ROOT / "scripts" / "setup").read_text()
    (programs,) = re.findall(r'(?m)^ *test\) programs="(.*)"', setup)
    installed = next(line for line in STAGES["dev"].own if "apt-get install" in line.text).words
    assert {program.partition(":")[2] for program in programs.split()} | {"libgomp1"} <= set(installed)


def test_its_label_tells_our_version() -> None:
    """org.opencontainers.image.version is the version of the code."""
    assert f'org.opencontainers.image.version="{__version__}"' in STAGES["prod"].last("LABEL")


def test_what_git_ignores_stays_out() -> None:
    """Whatever is no part of the project is no part of an image: .env and its keys, models, environments."""
    ignored = set((ROOT / ".dockerignore").read_text().splitlines())
    assert ".git" in ignored
    assert {f"**/{line}" for line in (ROOT / ".gitignore").read_text().splitlines()} <= ignored
