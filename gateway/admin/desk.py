"""However many requests come to the admin listener, calls keep most of the processor.

There are a few places, and each rests behind a request for a multiple of what that took. Whoever asks now and then does
not notice; a flood waits, and beyond a bound is sent away. Probes of health and the streams do not come here: they are
cheap, or bounded by themselves.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.admin.problems import AdminProblem

PLACES = 4
REST = 9
"""Times as long as the request took: with all places taken, requests get four tenths of the time."""
MOST_REST_S = 0.25
MOST_WAITING = 64
FREE = frozenset({"/livez", "/readyz", "/healthz", "/-/health", "/-/stream", "/live"})


class Desk:
    """Of one worker."""

    def __init__(self) -> None:
        self._places = asyncio.Semaphore(PLACES)
        self._waiting = 0

    @asynccontextmanager
    async def place(self, path: str) -> AsyncIterator[None]:
        """For one request. Raises AdminProblem when too many wait already."""
        if path in FREE:
            yield
            return
        if self._waiting >= MOST_WAITING:
            raise AdminProblem(429, "TOO_MANY_REQUESTS", "Too many requests wait already.", {"Retry-After": "1"})
        self._waiting += 1
        try:
            await self._places.acquire()
        finally:
            self._waiting -= 1
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        try:
            yield
        finally:
            loop.call_later(min(MOST_REST_S, REST * (loop.time() - began_s)), self._places.release)
