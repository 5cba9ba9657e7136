"""A receiver of webhooks: a real server that keeps what it got and answers as it is told."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import NamedTuple

from aiohttp import web

from tests.fakes.waiting import for_ever, turns

Answer = int | Mapping[str, str | int]


class Got(NamedTuple):
    """One request."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]


class Receiver:
    """What it got, in order, unless `keep` says not to. `answer` says what to answer: a status, or None to wait until
    the peer has gone."""

    def __init__(self) -> None:
        self.got: list[Got] = []
        self.answer: Callable[[Got], int | None] = lambda _got: 204
        self.fields: dict[str, str] = {}
        self.keep = True
        self.port = 0
        self.at_once = self.most_at_once = 0
        self._more = asyncio.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    async def wait(self, count: int) -> list[Got]:
        """Until it has got so many."""
        while len(self.got) < count:
            self._more.clear()
            await self._more.wait()
        return self.got

    async def handle(self, request: web.Request) -> web.Response:
        got = Got(request.path, request.headers, await request.read())
        if self.keep:
            self.got.append(got)
        self._more.set()
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            status = self.answer(got)
            if status is None:
                await for_ever()
            await turns()
        finally:
            self.at_once -= 1
        return web.Response(status=status or 500, headers=self.fields)


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """A started one."""
    receiver = Receiver()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", receiver.handle)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    receiver.port = runner.addresses[0][1]
    try:
        yield receiver
    finally:
        await runner.cleanup()
