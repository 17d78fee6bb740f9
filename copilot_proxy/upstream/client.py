"""How llama-server is asked: one request at a time over few kept connections, with every failure named.

treq sends; below it stands an agent that keeps bodies and URLs as they are. Facts that decide the numbers:
cpp-httplib closes a connection after 5 s of idleness, and with more than 8 idle ones llama-server was seen to
delay a new one by seconds (llama.cpp b11549).
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final, cast

from treq.client import HTTPClient
from treq.cookies import IndexableCookieJar
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.http_headers import Headers
from twisted.web.iweb import IResponse

from .. import errors
from ..headers import VIA
from . import failures, whole
from .agent import ENCODING, Body, Connections, Plain, Target

IDLE_CONNECTIONS: Final = 4
IDLE_SECONDS: Final = 4


class _NoCookies(IndexableCookieJar):
    """Takes no cookie: none may reach another client, and the one that it is for gets it in its answer."""

    def extract_cookies(self, response: Any, request: Any) -> None:
        """Read nothing; http.cookiejar raises over a cookie that is not ASCII."""


class Upstream:
    """llama-server at one address. `shown` names it to people, `base` stands before each path and query.

    `endpoint` opens connections to it; `key` is sent as bearer in place of the client's.
    """

    def __init__(
        self,
        reactor: Any,
        endpoint: IStreamClientEndpoint,
        *,
        base: str,
        shown: str,
        key: str | None = None,
        connect_timeout: float = 5.0,
        first_byte_timeout: float = 600.0,
    ) -> None:
        self._reactor = reactor
        self._base = base
        self.shown = shown
        self._stopped = False
        self._asked: set[Deferred[Any]] = set()
        self._authorization = b"Bearer " + key.encode("ascii") if key else None
        self._connect_timeout = connect_timeout
        self._first_byte_timeout = first_byte_timeout
        self._pool = HTTPConnectionPool(reactor)
        self._pool.maxPersistentPerHost = IDLE_CONNECTIONS
        self._pool.cachedConnectionTimeout = IDLE_SECONDS
        self._pool.retryAutomatically = False
        self._connections = connections = Connections(endpoint)
        agent = Agent.usingEndpointFactory(reactor, connections, pool=self._pool)
        fresh = Agent.usingEndpointFactory(reactor, connections, pool=HTTPConnectionPool(reactor, False))
        self._client = HTTPClient(Plain(agent, fresh, connections), _NoCookies())

    async def send(
        self,
        method: bytes,
        target: bytes,
        headers: Headers | None = None,
        body: bytes = b"",
    ) -> IResponse:
        """Upstream's answer with its head read and its body not: the caller has to deliver it somewhere.

        `target` is path and query as they go on the wire. Raises an UpstreamError; cancelling closes the
        connection.
        """
        if self._stopped:
            raise self.lost()
        headers = headers.copy() if headers else Headers()
        headers.addRawHeader(b"via", VIA)
        if self._authorization:
            headers.setRawHeaders(b"authorization", [self._authorization])
            headers.removeHeader(b"x-api-key")
        producer = Body(body)
        asked = self._client.request(
            method.decode("ascii"),
            Target(self._base + target.decode("ascii")),
            headers=headers,
            data=producer if body else None,
            allow_redirects=False,
            unbuffered=True,
            reactor=self._reactor,
        )
        asked.addTimeout(self._first_byte_timeout, self._reactor, onTimeoutCancel=self._slow)
        self._asked.add(asked)
        try:
            response = cast(IResponse, await asked)
        except Exception as e:
            raise (
                self.lost() if self._stopped else failures.named(e, self.shown, self._connect_timeout)
            ) from None
        finally:
            self._asked.discard(asked)
        producer.release()
        encodings = response.headers.getRawHeaders(ENCODING)
        if encodings:
            response.headers.removeHeader(ENCODING)
            response.headers.setRawHeaders(b"content-encoding", encodings)
        elif response.headers.getRawHeaders(b"content-encoding") == [b""]:
            response.headers.removeHeader(b"content-encoding")  # treq leaves it there
        return response

    async def fetch(
        self,
        method: bytes,
        target: bytes,
        headers: Headers | None = None,
        body: bytes = b"",
        *,
        timeout: float,
    ) -> tuple[int, bytes]:
        """The status and the whole of a small answer, within `timeout` seconds; raises an UpstreamError."""
        answer = Deferred.fromCoroutine(self._fetch(method, target, headers, body))
        answer.addTimeout(timeout, self._reactor, onTimeoutCancel=partial(self._silent, target))
        return await answer

    async def _fetch(
        self, method: bytes, target: bytes, headers: Headers | None, body: bytes
    ) -> tuple[int, bytes]:
        response = await self.send(method, target, headers, body)
        return response.code, await self.whole(response, target)

    async def whole(self, response: IResponse, target: bytes, largest: int = whole.LARGEST) -> bytes:
        """The body, of at most `largest` bytes, of an answer to a request for `target`.

        Raises an UpstreamError; cancelling closes the connection.
        """
        try:
            return await whole.read(response, largest)
        except CancelledError:
            raise
        except whole.TooLong as e:
            raise errors.UpstreamError(f"{self.shown}{target.decode('ascii')}: {e}") from None
        except Exception:
            raise self.lost() from None

    def lost(self) -> errors.UpstreamError:
        """The error for an answer that broke off."""
        if self._stopped:
            return errors.Stopped(
                "copilot-proxy was stopped before this answer was whole: ask again when it is back",
                logged="the proxy was stopped",
            )
        return errors.UpstreamLost(
            f"llama-server at {self.shown} broke off in the middle of its answer: its log may tell why"
        )

    def stop(self) -> None:
        """Break off what is under way, and take nothing more: every request fails with Stopped."""
        self._stopped = True
        for asked in tuple(self._asked):
            asked.cancel()
        self._connections.abort()

    def close(self) -> Deferred[None]:
        """Close the idle connections."""
        return cast("Deferred[None]", self._pool.closeCachedConnections())

    def _slow(self, _: object, seconds: float) -> Any:
        raise errors.UpstreamSlow(
            f"llama-server at {self.shown} did not answer in {seconds:g} s: all its slots may be busy, or "
            "the prompt is long; --first-byte-timeout sets how long to wait"
        )

    def _silent(self, target: bytes, _: object, seconds: float) -> Any:
        raise errors.UpstreamSlow(
            f"{self.shown} was asked for {target.decode('ascii')} and did not answer in {seconds:g} s: is it "
            "a llama-server?"
        )
