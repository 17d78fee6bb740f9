"""What the README tells a newcomer to type works as it is written there."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from copilot_proxy.embedded.tiny.vocabulary import FIRST_SENTENCE
from tests.real.processes import DEADLINE, Server

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
CURLS = [
    command
    for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    for command in re.split(r"\n(?=curl )", block.strip())
    if command.startswith("curl ")
]
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)

# what the answer to each holds, in the order in which they stand in the README
ANSWERS = (
    '"tools"',
    '"model_info"',
    '"data":[',
    "data: [DONE]",
    "data: [DONE]",
    '"done":true',
    '"done_reason":"',
    '"success"',
    "which has tiny",
    '"get_time"',
    '"reachable":',
    '{"status":"ok"}',
    '{"minified":{"a":1.0,"b":[1,2]}}',
)


def pointed_at(server: Server, example: str) -> str:
    return example.replace("http://localhost:11434", server.url).replace('"demo"', '"tiny"')


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize(("command", "answer"), list(zip(CURLS, ANSWERS, strict=True)))
def test_curl_examples(running: Server, command: str, answer: str) -> None:
    """Each curl command of the README gets the answer that it is there to show."""
    here = pointed_at(running, command)
    done = subprocess.run(
        ["sh", "-c", here.replace("curl ", "curl --silent --show-error --fail ", 1)],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    assert done.returncode == 0, done.stderr
    assert answer in done.stdout


def test_python_example(running: Server) -> None:
    """The program with Ollama's SDK prints what the model says."""
    (program,) = PYTHON
    command = [sys.executable, "-c", pointed_at(running, program)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE)
    assert done.returncode == 0, done.stderr
    assert done.stdout == FIRST_SENTENCE
