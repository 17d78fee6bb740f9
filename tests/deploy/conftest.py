"""The reverse proxies that these tests put in front of copilot-proxy, as processes and with TLS."""

import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import trustme

from bench.fronts import FRONTS, NAME, Certificate, find
from tests.real.conftest import llama, pytest_runtest_makereport, running, start_proxy, unused_port
from tests.real.processes import Process, Server, listens, until

__all__ = ["llama", "pytest_runtest_makereport", "running", "start_proxy", "unused_port"]


class Front(Server):
    """A reverse proxy that listens with TLS when the constructor returns."""

    def __init__(self, port: int, trust: ssl.SSLContext, *command: str) -> None:
        Process.__init__(self, *command)
        self.port = port
        self.url = f"https://localhost:{port}"
        self.trust = trust
        try:
            until(lambda: self.ended or listens(port), f"{self.name} listens")
            assert not self.ended, self.log
        except BaseException:
            self.end()
            raise


StartFront = Callable[..., Front]


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """Who signs the certificates."""
    return trustme.CA()


@pytest.fixture(scope="session")
def certificate(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """A certificate for localhost and for the name in the shipped files."""
    folder = tmp_path_factory.mktemp("certificate")
    made = authority.issue_cert("localhost", NAME)
    files = Certificate(folder / "certificate.pem", folder / "key.pem", folder / "both.pem")
    for blob in made.cert_chain_pems:
        blob.write_to_path(files.chain, append=True)
    made.private_key_pem.write_to_path(files.key)
    made.private_key_and_cert_chain_pem.write_to_path(files.both)
    return files


@pytest.fixture(params=list(FRONTS))
def kind(request: pytest.FixtureRequest) -> str:
    """Each reverse proxy for which a configuration is shipped."""
    name: str = request.param
    return name


@pytest.fixture
def start_front(
    authority: trustme.CA, certificate: Certificate, tmp_path: Path, unused_port: int
) -> Iterator[StartFront]:
    """Start one reverse proxy by its name, in front of proxies."""
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    with ExitStack() as started:

        def start(kind: str, *proxies: Server) -> Front:
            assert find(kind), f"{kind} is missing: scripts/setup installs it, as root on Debian"
            ports = [proxy.port for proxy in proxies]
            if kind == "haproxy" and len(ports) == 1:
                ports *= 2  # the shipped file has two
            front = Front(unused_port, trust, *FRONTS[kind](unused_port, ports, tmp_path, certificate))
            started.callback(front.end)
            return front

        yield start


@pytest.fixture
def front(kind: str, start_front: StartFront, running: Server) -> Front:
    """Each of them in turn, in front of the proxy that needs no options."""
    return start_front(kind, running)
