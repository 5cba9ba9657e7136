"""However many requests reach the admin listener, calls keep most of the processor.

There are a few places, and each rests behind a request for a multiple of what that took. Whoever asks now and then does
not notice; a flood waits, and beyond a bound is sent away. Probes of health never are, and need no place: beyond so
many a second they wait a moment, shorter than whoever probes has patience. The streams are bounded by themselves.
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
PROBES = frozenset({"/livez", "/readyz", "/healthz", "/-/health"})
PROBES_PER_S = 100
MOST_AT_ONCE = 100
MOST_PROBE_WAIT_S = 0.5
FREE = frozenset({"/-/stream", "/live"})


class Bulkhead:
    """Lets so many requests to one worker's admin listener at a time, and so often."""

    def __init__(self) -> None:
        self._places = asyncio.Semaphore(PLACES)
        self._waiting = 0
        self._probed_until_s = 0.0

    def _probe_wait_s(self, now_s: float) -> float:
        """How long a probe waits: as far as there were more than `PROBES_PER_S`, some at once not counted."""
        latest_s = now_s + MOST_AT_ONCE / PROBES_PER_S + MOST_PROBE_WAIT_S
        self._probed_until_s = min(latest_s, max(now_s, self._probed_until_s) + 1 / PROBES_PER_S)
        return max(0.0, self._probed_until_s - now_s - MOST_AT_ONCE / PROBES_PER_S)

    @asynccontextmanager
    async def place(self, path: str) -> AsyncIterator[None]:
        """For one request. Raises AdminProblem when too many wait already."""
        loop = asyncio.get_running_loop()
        if path in PROBES:
            wait_s = self._probe_wait_s(loop.time())
            if wait_s:
                await asyncio.sleep(wait_s)
        if path in PROBES or path in FREE:
            yield
            return
        if self._waiting >= MOST_WAITING:
            raise AdminProblem(429, "TOO_MANY_REQUESTS", "Too many requests wait already.", {"Retry-After": "1"})
        self._waiting += 1
        try:
            await self._places.acquire()
        finally:
            self._waiting -= 1
        began_s = loop.time()
        try:
            yield
        finally:
            loop.call_later(min(MOST_REST_S, REST * (loop.time() - began_s)), self._places.release)
