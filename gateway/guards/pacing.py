"""Pacing: attempts that come faster than an upstream wants wait for their turn, instead of being refused.

Each worker paces by itself, with a leaky bucket of aiolimiter for every value of the key. Attempts get their turn in
the order in which they came, as long as not too many wait and none would wait too long.
"""

import asyncio
from collections.abc import Collection, Sequence
from itertools import islice

from aiolimiter import AsyncLimiter

from gateway.core.upstream import Pace, Upstream
from gateway.upstream.failure import UpstreamFailed
from gateway.waiting import Waits

MAX_LINES = 10_000
LOOKS = 4
"""For each line that is added beyond them, so many others are looked at: to look at all would take a caller 50 ms."""


class _Line:
    """Those who wait for one limiter."""

    __slots__ = ("_interval_s", "_limiter", "_pace", "_waits", "waiting")

    def __init__(self, pace: Pace, waits: Waits) -> None:
        self._interval_s = pace.per_us / pace.rate / 1e6
        self._limiter = AsyncLimiter(pace.burst, pace.burst * self._interval_s)
        self._pace = pace
        self._waits = waits
        self.waiting = 0

    @property
    def resting(self) -> bool:
        """Whether a fresh line would do just the same."""
        return not self.waiting and self._limiter.has_capacity(self._pace.burst)

    async def turn(self) -> None:
        """Wait for the next turn. Raises UpstreamFailed when the line is too long."""
        if not self.waiting and self._limiter.has_capacity():
            await self._limiter.acquire()
            return
        longest_s = self._pace.max_wait_us / 1e6
        places = min(self._pace.queue - 1, int(longest_s / self._interval_s))
        if self.waiting > places:
            again_s = (self.waiting - places) * self._interval_s
            raise UpstreamFailed("busy", f"{self.waiting} attempts wait for their turn", again_s=again_s)
        self.waiting += 1
        began = asyncio.get_running_loop().time()
        try:
            await asyncio.create_task(self._within(longest_s))
        except TimeoutError:
            waited_s = min(asyncio.get_running_loop().time() - began, longest_s)
            detail = f"no turn within {waited_s * 1000:.0f} ms"
            raise UpstreamFailed("busy", detail, again_s=self._interval_s) from None
        finally:
            self.waiting -= 1

    async def _within(self, longest_s: float) -> None:
        """In a task of its own, which `asyncio.timeout` needs."""
        async with self._waits.within(longest_s):
            await self._limiter.acquire()


class Pacing:
    """All lines of a worker. Bounded by those that are in use: from MAX_LINES on, lines that rest are dropped.

    waits  end those for a turn that does not come before the end of a drain
    """

    def __init__(self, waits: Waits) -> None:
        self._waits = waits
        self._lines: dict[tuple[object, ...], _Line] = {}

    def __len__(self) -> int:
        return len(self._lines)

    def keep(self, paces: Collection[Pace]) -> None:
        """Forget the lines of other paces, except where somebody waits."""
        self._lines = {key: line for key, line in self._lines.items() if key[1] in paces or line.waiting}

    async def turn(self, upstream: Upstream, whose: Sequence[str | None]) -> None:
        """Wait until an attempt at this upstream may begin. Raises UpstreamFailed when it would take too long.

        whose  the caller's values of the pace's key; those who lack one are paced together
        """
        pace = upstream.pace
        if pace is None:
            return
        key = (upstream.name, pace, *whose)
        line = self._lines.get(key)
        if line is None:
            if len(self._lines) >= MAX_LINES:
                self._make_room()
            line = self._lines[key] = _Line(pace, self._waits)
        await line.turn()

    def _make_room(self) -> None:
        """Look at those that have not been looked at for longest."""
        for key in [*islice(self._lines, LOOKS)]:
            line = self._lines.pop(key)
            if not line.resting:
                self._lines[key] = line
