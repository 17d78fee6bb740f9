"""Is docker-compose.yml right, as far as that can be told without an engine?"""

import re
import subprocess
import sys
from typing import Any
from urllib.parse import urlsplit

import pytest

from bench.fronts import find
from copilot_proxy.settings import OPTIONS, read
from tests.deploy.files import END, ROOT, compose, stages

SERVICES: dict[str, Any] = compose()["services"]
OURS = [name for name, service in SERVICES.items() if "build" in service]
HAPROXY = (ROOT / "deploy" / "compose" / "haproxy.cfg").read_text()

# what Compose puts in the place of ${NAME:-default}, with an empty .env
VARIABLE = re.compile(r"\$\{(\w+):-([^}]*)\}")


def set_by(service: str) -> dict[str, str]:
    """The variables of a service."""
    environment = SERVICES[service]["environment"]
    return {name: VARIABLE.sub(r"\2", value) for name, value in environment.items()}


def test_its_schema() -> None:
    """It is a Compose file, by the schema of the Compose specification."""
    command = ["-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", "docker-compose.yml"]
    done = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_what_can_be_set() -> None:
    """.env.example names each variable that is asked for, with its default, and no other."""
    asked = set(VARIABLE.findall((ROOT / "docker-compose.yml").read_text()))
    shown = set(re.findall(r"(?m)^#?([A-Z_]+)=(.*)$", (ROOT / ".env.example").read_text()))
    assert {name for name, _ in asked} == {name for name, _ in shown}
    # the other build of llama-server is the only thing that one would not set to its default
    assert {name for name, _ in asked ^ shown} == {"LLAMA_IMAGE"}


@pytest.mark.parametrize("name", OURS)
def test_our_services(name: str) -> None:
    """Each builds a stage that there is, with options that there are, set to what they take."""
    assert SERVICES[name]["build"]["target"] in stages()
    assert set_by(name).keys() <= {option.environment for option in OPTIONS}
    read({}, set_by(name))


@pytest.mark.parametrize("name", ["proxy", "proxies"])
def test_the_way_to_llama_server(name: str) -> None:
    """The proxy asks llama-server where it listens, and starts when that is known to answer."""
    upstream = urlsplit(set_by(name)["UPSTREAM"])
    assert upstream.hostname is not None
    server = SERVICES[upstream.hostname]
    port = server["command"][server["command"].index("--port") + 1]
    assert str(upstream.port) == port
    assert f":{port}/health" in server["healthcheck"]["test"][-1]
    assert "--jinja" in server["command"]
    assert SERVICES[name]["depends_on"][upstream.hostname]["condition"] == "service_healthy"


def test_who_waits_for_whom() -> None:
    """Who waits for a service to be healthy waits for one that says so."""
    for service in SERVICES.values():
        for name in service.get("depends_on", {}):
            assert name in OURS or "healthcheck" in SERVICES[name]


def test_nothing_is_open_to_the_network() -> None:
    """What is published is published on 127.0.0.1 alone."""
    ports = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert len(ports) == 3
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_running_streams_may_end() -> None:
    """The engine kills the proxy, and HAProxy before it, later than the proxy ends by itself."""
    for name in [*OURS, "haproxy"]:
        assert int(SERVICES[name]["stop_grace_period"].removesuffix("s")) > END


def test_haproxy_knows_the_proxies() -> None:
    """It looks for the service by its name and port, with room for more, and finds its configuration."""
    template = re.search(r"server-template proxy (\d+) (\w+):(\d+)", HAPROXY)
    assert template is not None
    room, name, port = template.groups()
    assert int(room) > SERVICES[name]["deploy"]["replicas"]
    assert port == stages()["prod"].last("EXPOSE")
    (volume,) = SERVICES["haproxy"]["volumes"]
    assert (ROOT / volume.partition(":")[0]).read_text() == HAPROXY


def test_haproxy_reads_it() -> None:
    """HAProxy itself finds no fault with its configuration."""
    command = [find("haproxy") or "haproxy", "-c", "-f", "deploy/compose/haproxy.cfg"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr.lower()
