"""The images, built and run: by Docker, by Podman, or as root on Debian by buildah and the kernel.

    scripts/test -m slow tests/real/test_container.py

The first build takes some minutes.
"""

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from copilot_proxy.embedded.tiny.vocabulary import FIRST_SENTENCE
from tests.real.client import ask, asking, chat, chunks, first_event, pieces, text_of
from tests.real.processes import ROOT, Process, Server

pytestmark = pytest.mark.slow

CONTAINER = ROOT / "scripts" / "container"
PATIENCE = 1800  # seconds for a build: the base image is made and all that is installed is fetched
CHAT = "/v1/chat/completions"
LONG = chat("TALK_LONG", max_tokens=6000)  # three seconds and more of tokens, and then an end

# What a program in the image finds. A path is one where a program might want to write.
LOOK = """
import json, os, shutil, sys
def refused(path):
    try:
        open(path + "/x", "w").close()
    except OSError as error:
        return error.strerror
here = sys.prefix + "/lib/python3.%d/site-packages/twisted/plugins/dropin.cache" % sys.version_info[1]
print(json.dumps({
    "user": [os.getuid(), os.getgid(), *os.getgroups()],
    "capabilities": [line.split()[1] for line in open("/proc/self/status") if line.startswith("CapEff")],
    "programs": [name for name in ("gcc", "cc", "curl", "git") if shutil.which(name)],
    "pip": os.path.exists(sys.prefix + "/bin/pip"),
    "sources": os.path.exists("/src"),
    "caches": [path for path in ("/root/.cache", "/tmp/pip") if os.path.exists(path)],
    "refused": [refused(path) for path in ("/", sys.prefix, "/var/tmp", os.path.dirname(here))],
    "tmp": refused("/tmp"),
    "plugins": os.path.getsize(here),
}))
"""


def image(stage: str) -> str:
    """Build a stage; skips the test where nothing is there to build it with."""
    done = subprocess.run([CONTAINER, "build", stage], capture_output=True, text=True, timeout=PATIENCE)
    if "neither docker nor podman" in done.stderr:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stdout + done.stderr
    return stage


@pytest.fixture(scope="module")
def prod() -> str:
    return image("prod")


@pytest.fixture(scope="module")
def embedded() -> str:
    return image("embedded")


@contextmanager
def container(stage: str, *options: str, **variables: str) -> Iterator[Server]:
    """The image as it is, on a root that cannot be written to; its log has to be clean at the end."""
    settings = [f"--env={name}={value}" for name, value in variables.items()]
    announcement = r"listens on (http://\S+)\n"
    server = Server(announcement, CONTAINER, "run", "--read-only", *options, *settings, stage)
    try:
        # A container's process 1 does not get signals that it does not handle, and Twisted handles them only
        # when its reactor runs.
        server.expect(r"Models#\w+\] upstream ")
        yield server
    finally:
        server.end()
    server.assert_clean_log()
    assert "plugin cache" not in server.log, "the list of plugins is there, and has not to be written"


def run(stage: str, *command: str, **variables: str) -> tuple[int, str]:
    """The status and the output of another program than the proxy, in a container of its own."""
    settings = [f"--env={name}={value}" for name, value in variables.items()]
    program, *arguments = command
    process = Process(
        CONTAINER, "run", "--read-only", *settings, f"--entrypoint={program}", stage, *arguments
    )
    try:
        return process.wait(), process.log
    finally:
        process.end()


def test_what_is_in_it(prod: str) -> None:
    """Who runs it is no root and can write nowhere but in /tmp; there is no compiler, no pip, no leftover."""
    status, text = run(prod, "python", "-c", LOOK)
    assert status == 0, text
    found = json.loads(text)
    assert found.pop("plugins") > 0
    assert set(found.pop("refused")) == {"Read-only file system"}
    assert found == {
        "user": [10001, 10001],
        "capabilities": ["0000000000000000"],
        "programs": [],
        "pip": False,
        "sources": False,
        "caches": [],
        "tmp": None,
    }


def test_a_chat_through_it(prod: str, llama: Server, unused_port: int) -> None:
    """It is healthy, lists the model, and streams a chat; its log is readable."""
    where = {"LISTEN_PORT": str(unused_port), "LISTEN_INTERFACE": "127.0.0.1"}
    probe = ("python", "-m", "copilot_proxy.status.probe")
    with container(prod, **where, UPSTREAM=llama.url) as server:
        assert run(prod, *probe, **where) == (0, "")
        assert ask(server, "GET", "/health").json["upstream"]["reachable"]
        assert ask(server, "GET", "/api/tags").json["models"][0]["name"] == "tiny"
        assert text_of(chunks(ask(server, "POST", CHAT, chat("Who are you?")).body)) == FIRST_SENTENCE
        server.expect(r"#info\] 127\.0\.0\.1 POST /v1/chat/completions 200 model=tiny")
    status, complaint = run(prod, *probe, **where)
    assert status == 1
    assert f"http://127.0.0.1:{unused_port}/health/live: " in complaint


def test_sigterm_in_the_middle_of_a_stream(prod: str, llama: Server, unused_port: int) -> None:
    """SIGTERM ends it with status 0, and a stream that is under way comes whole, with its `[DONE]`."""
    where = {"LISTEN_PORT": str(unused_port), "LISTEN_INTERFACE": "127.0.0.1"}
    with (
        container(prod, **where, UPSTREAM=llama.url) as server,
        asking(server, "POST", CHAT, LONG) as response,
    ):
        body = first_event(response) + b"\n"
        server.signal(signal.SIGTERM)
        body += b"".join(pieces(response))
        assert chunks(body)[-1]["choices"][0]["finish_reason"] == "length"
        server.expect("drained: all have ended")
        # process 1 of a container is not ended by the signal that Twisted sends to itself at last
        assert server.wait() == 0


def test_it_listens_on_every_interface(prod: str) -> None:
    """Unasked it listens where what is published arrives, and LISTEN_PORT is only another port there."""
    for variables in ({"LISTEN_PORT": ""}, {"LISTEN_PORT": "8080"}):
        with container(prod, "--network=none", **variables) as server:
            assert server.url == f"http://0.0.0.0:{variables['LISTEN_PORT'] or 11434}"


def test_demo_needs_nothing(embedded: str, unused_port: int) -> None:
    """The image with llama.cpp serves its demo model unasked, and writes it nowhere."""
    with container(embedded, LISTEN_PORT=str(unused_port), LISTEN_INTERFACE="127.0.0.1") as server:
        assert text_of(chunks(ask(server, "POST", CHAT, chat("Who are you?")).body)) == FIRST_SENTENCE
