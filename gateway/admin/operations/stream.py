"""Calls and events as they happen, from all workers: Server-Sent Events (WHATWG HTML §9.2).

A listener that reads too slowly loses lines, and is told how many. One that does not read at all is cut.
"""

import asyncio
import itertools
import os
from collections import deque
from collections.abc import Mapping
from functools import partial
from typing import Any

from aiohttp import hdrs, web

from gateway.admin.endpoint import STALLED_S, Endpoint, Query, stream_events
from gateway.admin.problems import AdminProblem
from gateway.admin.view import AdminView
from gateway.admin.watching.listening import MOST_WAITING
from gateway.admin.watching.tap import EVERY_S, LEASE_S
from gateway.siblings import Siblings
from gateway.waiting import happens_within

MOST_LISTENERS = 32
"""At one worker: each costs every worker a little."""
MOST_QUEUED = 500
MOST_EVENTS = 32
LEAST_PER_S, MOST_PER_S = round(1 / EVERY_S), round(MOST_WAITING / EVERY_S)
OFTEN_PER_S, SELDOM = 100, 5
"""A listener that wants fewer lines than these gets them in fewer messages."""
QUIET_S = LEASE_S / 4
DROPPED = "stream.dropped"


class _Reader:
    """One listener's queue."""

    def __init__(self) -> None:
        self.lines: deque[str] = deque()
        self.dropped = 0
        self.something = asyncio.Event()

    def take(self, lines: list[str], dropped: int) -> None:
        self.dropped += dropped
        for line in lines:
            if len(self.lines) < MOST_QUEUED:
                self.lines.append(line)
            else:
                self.dropped += 1
        self.something.set()

    def taken(self) -> bytes:
        """Everything that waits, as it is written."""
        self.something.clear()
        written = [f"data: {line}\n\n" for line in self.lines]
        self.lines.clear()
        if self.dropped:
            written.append(f'data: {{"event_name":"{DROPPED}","count":{self.dropped}}}\n\n')
            self.dropped = 0
        return "".join(written).encode()


class Streams:
    """The listeners that are connected to one worker."""

    def __init__(self, siblings: Siblings) -> None:
        self._siblings = siblings
        self._readers: dict[str, _Reader] = {}
        self._numbers = itertools.count()
        siblings.on("stream.lines", self._lines)

    async def serve(self, request: web.Request, wanted: Mapping[str, Any]) -> web.StreamResponse:
        """Until the listener goes, or does not read any more. Raises AdminProblem when there are too many."""
        if len(self._readers) >= MOST_LISTENERS:
            retry = {"Retry-After": "5"}
            raise AdminProblem(503, "TOO_MANY_LISTENERS", f"{MOST_LISTENERS} listen to this worker already.", retry)
        name, reader = f"{self._siblings.index}-{os.getpid()}-{next(self._numbers)}", _Reader()
        self._readers[name] = reader
        try:
            listening = {"id": name, "home": self._siblings.index, **wanted}
            return await stream_events(request, partial(self._pass_on, reader, listening))
        finally:
            del self._readers[name]
            self._siblings.tell_all("stream.end", {"id": name})

    async def _pass_on(self, reader: _Reader, listening: Mapping[str, Any], response: web.StreamResponse) -> None:
        """Tells all workers now and then that somebody listens: they forget it otherwise."""
        loop = asyncio.get_running_loop()
        told_s = -QUIET_S
        await response.write(b": listening\n\n")
        while True:
            if loop.time() >= told_s + QUIET_S:
                told_s = loop.time()
                self._siblings.tell_all("stream.listen", listening)
            await happens_within(reader.something, QUIET_S)
            async with asyncio.timeout(STALLED_S):
                await response.write(reader.taken() or b":\n\n")

    def _lines(self, told: dict[str, Any]) -> None:
        reader = self._readers.get(told["id"])
        if reader is not None:
            reader.take(told["lines"], told["dropped"])


async def stream(view: AdminView, request: web.Request) -> web.StreamResponse:
    """`GET /-/stream`: calls and events from now on, as Server-Sent Events."""
    names = [name for text in request.query.getall("event", []) for name in text.split(",") if name]
    if len(names) > MOST_EVENTS:
        raise AdminProblem(400, "BAD_QUESTION", f"`event` may name at most {MOST_EVENTS}.")
    limited = request.query.get("limited", "0") not in ("0", "false", "")
    about = {name: request.query.get(name) for name in ("tenant", "connection")}
    wanted = {"events": names, "limited": limited, **about, **_pace(request)}
    if request.method == hdrs.METH_HEAD:
        return web.Response(content_type="text/event-stream")
    return await view.lookout.streams.serve(request, wanted)


def _pace(request: web.Request) -> dict[str, int]:
    text = request.query.get("per_s", str(MOST_PER_S))
    if not (text.isascii() and text.isdigit() and len(text) < 6 and LEAST_PER_S <= int(text) <= MOST_PER_S):
        raise AdminProblem(400, "BAD_QUESTION", f"`per_s` must be a number from {LEAST_PER_S} to {MOST_PER_S}.")
    ticks = 1 if int(text) >= OFTEN_PER_S else SELDOM
    return {"most": round(int(text) * EVERY_S * ticks), "ticks": ticks}


ENDPOINTS = (
    Endpoint(
        "GET",
        "/-/stream",
        stream,
        "Calls and events of all workers as they happen, as Server-Sent Events.",
        query=(
            Query(
                "event", {"type": "string"}, "Only events of these names, separated by commas; `breaker.*`: of a kind."
            ),
            Query(
                "limited", {"type": "string"}, "`1`: only calls that a limit, breaker or pause refused or would have."
            ),
            Query("tenant", {"type": "string"}, "Only what is about this tenant."),
            Query("connection", {"type": "string"}, "Only what is about this connection."),
            Query(
                "per_s",
                {"type": "integer", "minimum": LEAST_PER_S, "maximum": MOST_PER_S},
                "At most so many lines a second from each worker; the rest is counted.",
            ),
        ),
        answers={200: {"type": "string"}},
        content="text/event-stream",
        errors=(400, 503),
    ),
)
