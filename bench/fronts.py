"""How do the reverse proxies of deploy/ run here: the shipped files with ports and paths of ours in them?

Each is a part that a machine's own file takes in; that file is made here, as small as it can be.
"""

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

DEPLOY = Path(__file__).parents[1] / "deploy"

NAME = "copilot.example.com"
"""The name that stands in the shipped files."""


class Certificate(NamedTuple):
    """Files in PEM; `both` is the chain and the key in one."""

    chain: Path
    key: Path
    both: Path


Front = Callable[[int, Sequence[int], Path, Certificate | None], list[str]]
"""The command of a reverse proxy that listens on a port of 127.0.0.1, in front of proxies on others.

The folder is its own, to write in. Without a certificate it speaks plain HTTP, as only measurements want.
"""


def find(program: str) -> str | None:
    """Where it is; Debian keeps nginx and haproxy in /usr/sbin, which a user's PATH lacks."""
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


def put(text: str, changes: Mapping[str, str]) -> str:
    """The text with each key replaced; raises ValueError where one does not stand there exactly once."""
    for old, new in changes.items():
        if text.count(old) != 1:
            raise ValueError(f"{old!r} stands there {text.count(old)} times, and not once")
        text = text.replace(old, new)
    return text


def shipped(path: str, changes: Mapping[str, str], folder: Path) -> Path:
    """A file of deploy/ with the changes, written into the folder."""
    written = folder / Path(path).name
    written.write_text(put((DEPLOY / path).read_text(), changes))
    return written


def nginx(port: int, proxies: Sequence[int], folder: Path, certificate: Certificate | None) -> list[str]:
    """nginx in front of one proxy."""
    (proxy,) = proxies
    chain = "ssl_certificate /etc/ssl/copilot-proxy/certificate.pem;"
    key = "ssl_certificate_key /etc/ssl/copilot-proxy/key.pem;"
    site = shipped(
        "nginx/copilot-proxy.conf",
        {
            "listen 443 ssl;": f"listen 127.0.0.1:{port}{' ssl' if certificate else ''};",
            chain: f"ssl_certificate {certificate.chain};" if certificate else "",
            key: f"ssl_certificate_key {certificate.key};" if certificate else "",
            "server 127.0.0.1:11434;": f"server 127.0.0.1:{proxy};",
        },
        folder,
    )
    paths = "".join(
        f"{what}_temp_path {folder}/{what};" for what in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    machine = folder / "nginx.conf"
    machine.write_text(
        f"daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log stderr warn;"
        f" events {{ }} http {{ access_log off; {paths} include {site}; }}\n"
    )
    return [find("nginx") or "nginx", "-e", "stderr", "-p", str(folder), "-c", str(machine)]


def haproxy(port: int, proxies: Sequence[int], folder: Path, certificate: Certificate | None) -> list[str]:
    """HAProxy in front of two proxies; one named twice is one."""
    first, second = proxies
    tls = "ssl crt /etc/haproxy/copilot-proxy.pem ssl-min-ver TLSv1.2 alpn h2,http/1.1"
    site = shipped(
        "haproxy/copilot-proxy.cfg",
        {
            tls: tls.replace("/etc/haproxy/copilot-proxy.pem", str(certificate.both)) if certificate else "",
            "bind :443 ": f"bind 127.0.0.1:{port} ",
            **{
                f"{name} 127.0.0.1:{shipped_port} ": f"{name} 127.0.0.1:{proxy} "
                for start, shipped_port, proxy in (("first", 11434, first), ("second", 11435, second))
                for name in (start, f"{start}-not-ready")
            },
        },
        folder,
    )
    machine = folder / "haproxy.cfg"
    machine.write_text("global\n    log stdout format raw local0\n")
    return [find("haproxy") or "haproxy", "-db", "-f", str(machine), "-f", str(site)]


def caddy(port: int, proxies: Sequence[int], folder: Path, certificate: Certificate | None) -> list[str]:
    """Caddy in front of one proxy. It answers to its names only: with TLS the shipped one and localhost."""
    (proxy,) = proxies
    names = f"https://{NAME}:{port}, https://localhost:{port}" if certificate else f"http://:{port}"
    tls = "tls /etc/ssl/copilot-proxy/certificate.pem /etc/ssl/copilot-proxy/key.pem"
    site = shipped(
        "caddy/Caddyfile",
        {
            f"https://{NAME} {{": f"{names} {{",
            tls: f"tls {certificate.chain} {certificate.key}" if certificate else "",
            "reverse_proxy 127.0.0.1:11434": f"reverse_proxy 127.0.0.1:{proxy}",
        },
        folder,
    )
    machine = folder / "machine.caddyfile"
    machine.write_text(
        "{\n\tadmin off\n\tdefault_bind 127.0.0.1\n\tauto_https disable_redirects\n}\n" + f"import {site}\n"
    )
    own = [f"{variable}={folder}" for variable in ("XDG_CONFIG_HOME", "XDG_DATA_HOME")]
    program = find("caddy") or "caddy"
    return ["env", *own, program, "run", "--config", str(machine), "--adapter", "caddyfile"]


FRONTS: dict[str, Front] = {"nginx": nginx, "haproxy": haproxy, "caddy": caddy}
