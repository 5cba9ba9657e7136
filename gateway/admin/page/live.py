"""The overview as it changes, for everybody who has it open: Server-Sent Events (WHATWG HTML §9.2).

What it says is put together once a second for all of them, and not at all while nobody looks. Only parts that have
changed are sent, and the more pages are open the more seldom each gets them.
"""

import asyncio
from typing import Any

import orjson
from aiohttp import web

from gateway.admin.endpoint import STALLED_S, stream_events
from gateway.admin.page.overview import gathered, sections
from gateway.admin.problems import AdminProblem
from gateway.admin.view import AdminView
from gateway.observe.log.logger import event
from gateway.waiting import happens_within

EVERY_S = 1.0
MOST_A_SECOND = 100
"""Messages that one worker sends, to all pages together."""
MOST_PAGES = 2_000
QUIET_S = 10.0


class Snapshot:
    """The parts of the page, each with the number of the moment at which it changed last."""

    def __init__(self) -> None:
        self.number = 0
        self._parts: dict[str, tuple[int, str]] = {}
        self._messages: dict[int, bytes] = {}

    def take(self, parts: dict[str, Any]) -> None:
        """Take the page's parts as they are now; those that changed get a new number."""
        self.number += 1
        self._messages = {}
        for name, html in parts.items():
            if name not in self._parts or self._parts[name][1] != html:
                self._parts[name] = (self.number, html)

    def since(self, number: int) -> bytes:
        """The message for a page that knows the moment of this number; 0 = that knows nothing."""
        if number not in self._messages:
            changed = {name: html for name, (at, html) in self._parts.items() if at > number}
            data = orjson.dumps({"number": self.number, "parts": changed}).decode()
            self._messages[number] = f"data: {data}\n\n".encode()
        return self._messages[number]


class Live:
    """The open pages of one worker."""

    def __init__(self, view: AdminView) -> None:
        self._view = view
        self._snapshot = Snapshot()
        self._renewed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._pages = 0

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Until the page is closed. Raises AdminProblem when too many are open."""
        if self._pages >= MOST_PAGES:
            raise AdminProblem(
                503, "TOO_MANY_LISTENERS", f"{MOST_PAGES} pages are open already.", {"Retry-After": "10"}
            )
        self._pages += 1
        try:
            return await stream_events(request, self._pass_on)
        finally:
            self._pages -= 1
            if not self._pages and self._task is not None:
                self._task.cancel()
                self._task = None

    async def _pass_on(self, response: web.StreamResponse) -> None:
        self._task = self._task or asyncio.create_task(self._renew())
        known = 0
        await response.write(b"retry: 2000\n\n")
        while True:
            await happens_within(self._renewed, QUIET_S)
            message = self._snapshot.since(known) if self._snapshot.number > known else b":\n\n"
            known = self._snapshot.number
            async with asyncio.timeout(STALLED_S):
                await response.write(message)
            await asyncio.sleep(max(EVERY_S / 2, self._pages / MOST_A_SECOND))

    async def _renew(self) -> None:
        while True:
            try:
                self._snapshot.take(sections(self._view, await gathered(self._view)))
            except Exception:
                event("admin.failed", "Dashboard could not be renewed", "error", path="/live", exc_info=True)
            renewed, self._renewed = self._renewed, asyncio.Event()
            renewed.set()
            await asyncio.sleep(EVERY_S)
