"""What the shipped configurations of reverse proxies say, and that they are used as they are shipped."""

from pathlib import Path

import pytest

from bench.fronts import DEPLOY, put

# Each line with the reason why a stream needs it is in the file itself.
SAID = {
    "nginx/copilot-proxy.conf": [
        "client_max_body_size 100m;",
        "proxy_http_version 1.1;",
        "proxy_set_header Host localhost;",
        "proxy_buffering off;",
        "proxy_request_buffering off;",
        "proxy_read_timeout 1h;",
    ],
    "haproxy/copilot-proxy.cfg": [
        "option http-no-delay",
        "option abortonclose",
        "option redispatch 1",
        "timeout server 1h",
        "balance leastconn",
        "http-request set-header Host localhost",
    ],
    "caddy/Caddyfile": ["header_up Host localhost"],
}
NOT_SAID = {
    "nginx/copilot-proxy.conf": "proxy_ignore_client_abort",
    "caddy/Caddyfile": "flush_interval",
}


def directives(path: str) -> list[str]:
    """The lines of a shipped file without comments and indentation."""
    lines = (line.partition("#")[0].strip() for line in (DEPLOY / path).read_text().splitlines())
    return [line for line in lines if line]


@pytest.mark.parametrize(("path", "wanted"), SAID.items(), ids=list(SAID))
def test_what_streams_need_is_said(path: str, wanted: list[str]) -> None:
    """The directives without which tokens come late, or a client that leaves is not noticed."""
    assert [line for line in wanted if line not in directives(path)] == []


@pytest.mark.parametrize(("path", "unwanted"), NOT_SAID.items(), ids=list(NOT_SAID))
def test_what_keeps_a_slot_busy_is_not_said(path: str, unwanted: str) -> None:
    """No directive tells to stay with an answer whose client has left."""
    assert not any(unwanted in line for line in directives(path))


def test_haproxy_tells_its_frontend_of_clients_that_leave() -> None:
    """abortonclose stands in the defaults, which the frontend has, too."""
    said = directives("haproxy/copilot-proxy.cfg")
    assert said.index("option abortonclose") < said.index("frontend copilot-proxy-tls from copilot-proxy")


def test_a_port_is_put_in_once() -> None:
    assert put("listen 443;\n", {"listen 443;": "listen 21400;"}) == "listen 21400;\n"


@pytest.mark.parametrize("text", ["listen 80;", "listen 443; listen 443;"])
def test_what_is_not_there_once_is_not_put_in(text: str) -> None:
    """A file that was changed so that ours no longer fits is noticed."""
    with pytest.raises(ValueError, match=r"'listen 443;' stands there \d times"):
        put(text, {"listen 443;": ""})


def test_every_shipped_file_is_run() -> None:
    """Beside those that are named here, nothing is shipped for these three."""
    found = {
        str(path.relative_to(DEPLOY))
        for name in ("nginx", "haproxy", "caddy")
        for path in Path(DEPLOY / name).iterdir()
    }
    assert found == SAID.keys()
