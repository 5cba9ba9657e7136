"""`builtin:echo`: a small real HTTP server on loopback, so that the first call works before there is any upstream."""

import asyncio
from dataclasses import replace

import orjson
from aiohttp import web

from gateway.core.upstream import Upstream


class EchoUpstream:
    """Answers every request with what arrived: method, target, headers, and the size of the body."""

    def __init__(self) -> None:
        self._server = web.Server(_echo, access_log=None)
        self._listening: asyncio.Server | None = None
        self._port = 0

    async def start(self) -> None:
        """Listen on a free loopback port."""
        loop = asyncio.get_running_loop()
        self._listening = await loop.create_server(self._server, "127.0.0.1", 0)
        self._port = self._listening.sockets[0].getsockname()[1]

    def as_upstream(self, upstream: Upstream) -> Upstream:
        """The configured upstream with this server's address."""
        return replace(upstream, scheme="http", host="127.0.0.1", port=self._port, authority="echo.invalid")

    async def close(self) -> None:
        """Stop listening and close every socket."""
        if self._listening is not None:
            self._listening.close()
        await self._server.shutdown(timeout=0.1)


async def _echo(request: web.BaseRequest) -> web.Response:
    size = 0
    async for chunk in request.content.iter_any():
        size += len(chunk)
    seen = {
        "method": request.method,
        "target": request.raw_path,
        "headers": {str(name): _text(value) for name, value in request.headers.items() if name != "Authorization"},
        "body_bytes": size,
    }
    return web.Response(
        body=orjson.dumps(seen, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE), content_type="application/json"
    )


def _text(value: str) -> str:
    """A field's value; bytes that are not UTF-8, which JSON cannot hold, as escapes."""
    return value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
