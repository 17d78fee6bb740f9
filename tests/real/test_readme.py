"""What the README tells a newcomer to type works as it is written there."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.real.processes import DEADLINE, Server

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
CURLS = [
    command
    for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    for command in re.split(r"\n(?=curl )", block.strip())
    if command.startswith("curl ")
]

# what the answer to each holds, in the order in which they stand in the README
ANSWERS = (
    '"tools"',
    '"model_info"',
    '"data":[',
    "data: [DONE]",
    "data: [DONE]",
    '"get_time"',
    '"reachable":',
    '{"minified":{"a":1.0,"b":[1,2]}}',
)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize(("command", "answer"), list(zip(CURLS, ANSWERS, strict=True)))
def test_curl_examples(running: Server, command: str, answer: str) -> None:
    """Each curl command of the README gets the answer that it is there to show."""
    here = command.replace("http://localhost:11434", running.url).replace('"demo"', '"tiny"')
    done = subprocess.run(
        ["sh", "-c", here.replace("curl ", "curl --silent --show-error --fail ", 1)],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    assert done.returncode == 0, done.stderr
    assert answer in done.stdout
