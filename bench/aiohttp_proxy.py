"""The peer: a pass-through in aiohttp; ``python -m bench.aiohttp_proxy PORT UPSTREAM`` runs it."""

import sys
from collections.abc import AsyncIterator

from aiohttp import ClientSession, ClientTimeout, TCPConnector, web

_SESSION = web.AppKey("session", ClientSession)
_KEPT = ("Content-Type", "Accept", "User-Agent")


async def _session(app: web.Application) -> AsyncIterator[None]:
    async with ClientSession(
        sys.argv[2], connector=TCPConnector(limit=0), timeout=ClientTimeout()
    ) as session:
        app[_SESSION] = session
        yield


async def _relay(request: web.Request) -> web.StreamResponse:
    headers = {name: request.headers[name] for name in _KEPT if name in request.headers}
    body = await request.read()
    async with request.app[_SESSION].request(
        request.method, request.path_qs, headers=headers, data=body
    ) as upstream:
        response = web.StreamResponse(status=upstream.status, headers={"Content-Type": upstream.content_type})
        await response.prepare(request)
        async for data in upstream.content.iter_any():
            await response.write(data)
        await response.write_eof()
        return response


if __name__ == "__main__":
    app = web.Application(client_max_size=1 << 24)
    app.cleanup_ctx.append(_session)
    app.router.add_route("*", "/{path:.*}", _relay)
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None)
