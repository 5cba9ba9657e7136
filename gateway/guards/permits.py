"""Probes of breakers hold permits that lapse by themselves within seconds, and are renewed while the probe is out.

So a permit that nobody knows of costs a connection only these seconds: its gateway has died, or the answer with which
the store gave it came too late, to a caller who has left, or not at all.
"""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple
from weakref import WeakKeyDictionary

from gateway.core.guards import Report
from gateway.guards.passages import Judge, Passage
from gateway.lasting import lasting
from gateway.store import StoreDown
from gateway.waiting import end

RENEW_S = 1.0
"""Between two renewals: a fifth of what a permit lasts."""
MOST_RENEWED = 25
"""In one command, and the next one when that was answered: decisions get their turn in the store."""


class _Held(NamedTuple):
    """Since when a permit lasts, and until when at most."""

    since_s: float
    until_s: float


class Permits:
    """Those of a worker's probes that are out. Whoever forgets a passage gives up its permit, and so does a probe that
    takes longer than any may: a caller could send its body for ever."""

    def __init__(self) -> None:
        self._out: WeakKeyDictionary[Passage, _Held] = WeakKeyDictionary()
        self._renewing: asyncio.Task[None] | None = None

    def hold(self, passage: Passage, longest_us: int) -> None:
        """Renew this one's permit, which was given just now, until `drop`; for so long at most."""
        now_s = asyncio.get_running_loop().time()
        self._out[passage] = _Held(now_s, now_s + longest_us / 1e6)
        if self._renewing is None:
            self._renewing = lasting("permits of probes", self._renew)

    def drop(self, passage: Passage) -> None:
        """Its probe is over: the report of that gives the permit back."""
        self._out.pop(passage, None)

    async def close(self) -> None:
        """Renew no more. Idempotent."""
        renewing, self._renewing = self._renewing, None
        await end(renewing)

    async def _renew(self) -> None:
        while self._out:
            await asyncio.sleep(RENEW_S)  # holding none of them
            await self._renew_all()
        self._renewing = None

    async def _renew_all(self) -> None:
        now_s, by_judge = asyncio.get_running_loop().time(), defaultdict(list)
        for passage, held in [*self._out.items()]:
            if held.until_s < now_s:
                self.drop(passage)
            else:
                by_judge[passage.judge].append(passage)
        for judge, passages in by_judge.items():
            for first in range(0, len(passages), MOST_RENEWED):
                some = [passage for passage in passages[first : first + MOST_RENEWED] if passage in self._out]
                if some:
                    await self._renew_some(judge, some)

    async def _renew_some(self, judge: Judge, passages: Sequence[Passage]) -> None:
        """What ends meanwhile is told behind this, by the permit's new name. If the store cannot be told, both stay."""
        now_s = asyncio.get_running_loop().time()
        before, reports = [], []
        for passage in passages:
            standing, held = passage.standing, self._out[passage]
            longer_us = int((now_s - held.since_s) * 1e6)
            before.append((passage, standing, held))
            reports.append(Report(passage.guard, standing.generation, standing.probe, longer_us=longer_us))
            passage.standing = standing._replace(probe=standing.probe + longer_us)
            self._out[passage] = held._replace(since_s=now_s)
        try:
            await judge.report(reports)
        except StoreDown:
            for passage, standing, held in before:
                if passage in self._out:
                    passage.standing, self._out[passage] = standing, held
