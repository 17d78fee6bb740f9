"""The running proxy: its parts put together, started, announced and stopped."""

from __future__ import annotations

import os
import sys
from typing import Any, cast

from twisted.application import service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IStreamClientEndpoint, IStreamServerEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import IResource

from . import __version__, errors
from .address import Transport
from .chat import Chats
from .cors import Cors
from .door import Door
from .drain import Drain
from .embedded.endpoint import EmbeddedEndpoint
from .embedded.supervisor import EmbeddedServer
from .forward import Forward
from .hosts import Hosts
from .journal import Journal
from .keys import Keys
from .loading import Loading
from .memory import Memory
from .notify import Manager
from .ollama.api import Ollama
from .ollama.chats import NativeChats
from .ollama.delivery import Delivery
from .ollama.embed import Embeddings
from .ollama.generates import NativeGenerates
from .ollama.server import Server
from .repairs import Repairs
from .routes import Routes
from .settings import EX_USAGE, Settings
from .status.health import Health
from .upstream import dial
from .upstream.client import Upstream
from .upstream.models import Models


class Proxy(service.MultiService):
    """Listens while it runs. A port that cannot be had ends the process at the start, with one line."""

    log = Logger()

    def __init__(
        self,
        endpoint: IStreamServerEndpoint,
        door: Door,
        drain: Drain,
        upstream: Upstream,
        models: Models,
        health: Health,
        manager: Manager,
        port: str,
    ) -> None:
        super().__init__()
        self._endpoint = endpoint
        self._door = door
        self._drain = drain
        self._upstream = upstream
        self._models = models
        self._health = health
        self._manager = manager
        self._port_text = port
        self._scheme = "https" if port.startswith("ssl:") else "http"
        self._port: IListeningPort | None = None

    def startService(self) -> None:
        failed: list[Failure] = []
        maybeDeferred(self._endpoint.listen, self._door).addCallbacks(self._listening, failed.append)
        for failure in failed:
            busy = failure.check(CannotListenError) is not None
            blamed = "" if busy else "--port: "
            print(
                f"copilot-proxy: {blamed}cannot listen on {self._port_text}: {failure.value}", file=sys.stderr
            )
            raise SystemExit(1 if busy else EX_USAGE)
        super().startService()  # an embedded llama.cpp, once it is known that somebody can ask it

    def _listening(self, port: IListeningPort) -> None:
        self._port = port
        self._door.hosts.listens(port.getHost())
        self.log.info(
            "copilot-proxy {version} listens on {address}",
            version=__version__,
            address=shown(port.getHost(), self._scheme),
        )
        self.log.info("VS Code: {hint}", hint=vs_code_hint(port.getHost(), self._scheme))
        self._manager.ready(f"listens on {shown(port.getHost(), self._scheme)}")
        Deferred.fromCoroutine(self._announce()).addErrback(
            lambda failure: self.log.failure("the start could not be announced", failure)
        )

    async def _announce(self) -> None:
        await self._health.look()
        try:
            await self._models.listing()
        except errors.UpstreamError:
            pass  # it is in the log, and requests work as soon as upstream is there

    def stopService(self) -> Deferred[None]:
        """Stop listening, let what is under way end, then end an embedded llama.cpp; fires after all that."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self._manager.stopping()
        self._health.draining = True
        port, self._port = self._port, None
        if port is not None:
            await maybeDeferred(port.stopListening)
        await self._drain.run()
        await self._upstream.close()
        await maybeDeferred(super().stopService)


def shown(address: Any, scheme: str = "http") -> str:
    """The address as a URL, for people."""
    host = getattr(address, "host", None)
    if host is None:
        return f"unix:{os.fsdecode(getattr(address, 'name', str(address)))}"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{address.port}"


def vs_code_hint(address: Any, scheme: str = "http") -> str:
    """What to do in VS Code for the models to appear (as of 1.139)."""
    url = "the URL of the server before this socket"
    if getattr(address, "port", None):
        url = shown(address, scheme).replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//127.0.0.1:")
    return f'install the extension Ollama.ollama; its "ollama.endpoint" is {url}'


def compose(reactor: Any, endpoint: IStreamServerEndpoint, settings: Settings) -> Proxy:
    """The whole proxy, not yet started."""
    address = settings.upstream
    child: EmbeddedServer | None = None
    client: IStreamClientEndpoint
    if address.transport is Transport.EMBEDDED:
        child = EmbeddedServer(reactor, list(address.child))
        client = cast(IStreamClientEndpoint, EmbeddedEndpoint(reactor, child, settings.connect_timeout))
    else:
        client = dial.endpoint(reactor, address, settings.connect_timeout, settings.upstream_ca)
    upstream = Upstream(
        reactor,
        client,
        base=address.base,
        shown=address.shown,
        key=settings.upstream_key,
        connect_timeout=settings.connect_timeout,
        first_byte_timeout=settings.first_byte_timeout,
    )
    manager = Manager(reactor, os.environ)
    models = Models(upstream, reactor, headroom=settings.context_headroom, tell=manager.news)
    journal = Journal(settings.verbose)
    health = Health(upstream, reactor)
    loading = Loading(upstream, journal, reactor, settings.load_timeout)
    chats = Chats(upstream, Repairs(), journal, reactor, loading, settings.reasoning)
    forward = Forward(upstream, models, chats, journal, reactor)
    server = Server(upstream, models, chats, loading, forward.ask)
    delivery = Delivery(server, journal, reactor, upstream.lost)
    ollama = Ollama(
        models,
        Embeddings(server, reactor),
        NativeChats(server, delivery, Memory()),
        NativeGenerates(server, delivery),
    )
    routes = Routes(models, health, forward, ollama, journal, settings.api_dialect)
    door = Door(
        cast(IResource, routes.app.resource()),
        reactor,
        body_limit=settings.body_limit,
        stall_timeout=settings.stall_timeout,
        cors=Cors(settings.cors_origins),
        hosts=Hosts(settings.allowed_hosts),
        keys=Keys(settings.api_keys, open_listings=settings.open_listings),
        journal=journal,
    )
    drain = Drain(door.clients, upstream, reactor, settings.drain)
    proxy = Proxy(endpoint, door, drain, upstream, models, health, manager, settings.port)
    if child is not None:
        child.setServiceParent(proxy)
    return proxy
