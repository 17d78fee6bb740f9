"""Over TLS on either side: the same bytes as without it, as soon as they come."""

import json
import signal
import ssl
import time
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPSConnection
from pathlib import Path

import pytest

from tests.real.client import JSON, Answer, ask, chat, chunks, first_event, pieces, told_alike
from tests.real.processes import DEADLINE, Server, proxy
from tests.unit.certificates import self_signed

PATH = "/v1/chat/completions"


class Identity:
    """The files of one server."""

    def __init__(self, folder: Path) -> None:
        identity = self_signed()
        self.key = identity.write_key(folder / "key.pem")
        self.certificate = identity.write_certificate(folder / "certificate.pem")


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    return Identity(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def secure(llama: Server, identity: Identity) -> Iterator[Server]:
    """The proxy, which clients reach over TLS."""
    port = f"ssl:0:interface=127.0.0.1:privateKey={identity.key}:certKey={identity.certificate}"
    with proxy(llama.url, port=port) as server:
        yield server


def connection(server: Server, identity: Identity) -> HTTPSConnection:
    context = ssl.create_default_context(cafile=str(identity.certificate))
    context.set_alpn_protocols(["h2", "http/1.1"])
    return HTTPSConnection("127.0.0.1", server.port, timeout=DEADLINE, context=context)


def test_what_is_announced(secure: Server) -> None:
    """The address that is printed, and the one for VS Code, is one of https."""
    assert secure.url.startswith("https://127.0.0.1:")
    secure.expect(f"VS Code: .* is {secure.url}\n")


def test_streams(secure: Server, running: Server, identity: Identity) -> None:
    """A stream over TLS is the same stream, by HTTP/1.1, and its first event comes while the rest is made."""
    asked = chat("TALK_LONG", max_tokens=300)
    with closing(connection(secure, identity)) as client:
        client.request("POST", PATH, json.dumps(asked), JSON)
        with client.getresponse() as response:
            assert client.sock.selected_alpn_protocol() == "http/1.1"
            first = first_event(response) + b"\n"
            parts = list(pieces(response))
    assert len(parts) > 10, "it did not come in one lump"
    plain = ask(running, "POST", PATH, asked)
    assert told_alike(first + b"".join(parts)) == told_alike(plain.body)
    assert len(chunks(plain.body)) > 300


def test_several_requests_on_a_connection(secure: Server, identity: Identity) -> None:
    """A connection over TLS is kept for the next request."""
    with closing(connection(secure, identity)) as client:
        for _ in range(3):
            client.request("GET", "/v1/models")
            with client.getresponse() as response:
                assert response.status == 200
                response.read()
            used = client.sock
            assert used is not None


def test_upstream_with_a_certificate_of_its_own(secure: Server, identity: Identity) -> None:
    """An https upstream is reached with --upstream-ca, and refused without it."""
    with proxy(secure.url, "--upstream-ca", str(identity.certificate)) as server:
        answer: Answer = ask(server, "GET", "/slots")
        assert answer.status == 200
        assert len(chunks(ask(server, "POST", PATH, chat("Who are you?")).body)) > 3
    with proxy(secure.url) as server:
        answer = ask(server, "GET", "/slots")
        assert answer.status == 502
        assert answer.json["error"]["code"] == "upstream_tls"


def test_a_stop_with_an_idle_connection(llama: Server, identity: Identity) -> None:
    """A client that does not see the end of its idle connection holds up a stop for five seconds at most."""
    port = f"ssl:0:interface=127.0.0.1:privateKey={identity.key}:certKey={identity.certificate}"
    with proxy(llama.url, port=port) as server, closing(connection(server, identity)) as client:
        client.request("GET", "/api/version")
        client.getresponse().read()
        begun = time.monotonic()
        server.signal(signal.SIGTERM)
        assert server.wait() == -signal.SIGTERM
        assert time.monotonic() - begun < 10
