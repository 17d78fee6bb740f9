"""The GitHub Copilot CLI itself does an agent's turn through the proxy."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.real.conftest import StartProxy
from tests.real.processes import environment

MINUTES = 60.0  # seconds


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed")
def test_an_agent_turn(start_llama: StartProxy, start_proxy: StartProxy, tmp_path: Path) -> None:
    """Its request of 28,000 tokens is answered, a tool is called, and the answer is shown at the end."""
    cli = tmp_path / "cli"
    subprocess.run(
        ["npm", "install", "--prefix", cli, "--no-audit", "--no-fund", "--silent", "@github/copilot@1.0.102"],
        check=True,
        timeout=10 * MINUTES,
    )
    running = start_proxy(start_llama("--temp", "0").url)
    home = tmp_path / "home"
    home.mkdir()
    done = subprocess.run(
        [cli / "node_modules/.bin/copilot", "-p", "Who are you?", "--allow-all-tools"],
        env=environment(
            HOME=str(home),
            COPILOT_OFFLINE="true",
            COPILOT_PROVIDER_BASE_URL=f"{running.url}/v1",
            COPILOT_MODEL="tiny",
            COPILOT_PROVIDER_MAX_PROMPT_TOKENS="100000",
        ),
        cwd=home,
        capture_output=True,
        text=True,
        timeout=5 * MINUTES,
    )
    assert "I am a tiny language model running locally on your own machine." in done.stdout, done.stderr
    assert running.log.count("POST /v1/chat/completions 200 model=tiny") >= 2
