"""Probes of breakers hold permits that lapse by themselves within seconds, and are renewed while the probe is out.

So a permit that nobody knows of costs a connection only these seconds: its gateway has died, or the answer with which
the store gave it came too late, to a caller who has left, or not at all.
"""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from gateway.core.guards import Report
from gateway.store import StoreDown
from gateway.waiting import end

if TYPE_CHECKING:
    from gateway.guards.breakers import Judge, Passage

RENEW_S = 1.0
"""Between two renewals: a fifth of what a permit lasts."""
MOST_RENEWED = 25
"""In one command, and the next one when that was answered: decisions get their turn in the store."""


class Permits:
    """Those of a worker's probes that are out. Whoever forgets a passage gives up its permit."""

    def __init__(self) -> None:
        self._since_s: WeakKeyDictionary[Passage, float] = WeakKeyDictionary()
        self._renewing: asyncio.Task[None] | None = None

    def hold(self, passage: "Passage") -> None:
        """Renew this one's permit until `drop`. It was given just now."""
        self._since_s[passage] = asyncio.get_running_loop().time()
        if self._renewing is None:
            self._renewing = asyncio.create_task(self._renew(), name="permits of probes")

    def drop(self, passage: "Passage") -> None:
        """Its probe is over: the report of that gives the permit back."""
        self._since_s.pop(passage, None)

    async def close(self) -> None:
        """Renew no more. Idempotent."""
        renewing, self._renewing = self._renewing, None
        if renewing is not None:
            await end(renewing)

    async def _renew(self) -> None:
        while self._since_s:
            await asyncio.sleep(RENEW_S)  # holding none of them
            await self._renew_all()
        self._renewing = None

    async def _renew_all(self) -> None:
        by_judge: defaultdict[Judge, list[Passage]] = defaultdict(list)
        for passage in self._since_s:
            by_judge[passage.judge].append(passage)
        for judge, passages in by_judge.items():
            for first in range(0, len(passages), MOST_RENEWED):
                some = [passage for passage in passages[first : first + MOST_RENEWED] if passage in self._since_s]
                await self._renew_some(judge, some)

    async def _renew_some(self, judge: "Judge", passages: "Sequence[Passage]") -> None:
        """What ends meanwhile is told behind this, by the permit's new name. If the store cannot be told, both stay."""
        now_s = asyncio.get_running_loop().time()
        before, reports = [], []
        for passage in passages:
            standing, since_s = passage.standing, self._since_s[passage]
            longer_us = int((now_s - since_s) * 1e6)
            before.append((passage, standing, since_s))
            reports.append(Report(passage.guard, standing.generation, standing.probe, longer_us=longer_us))
            passage.standing = standing._replace(probe=standing.probe + longer_us)
            self._since_s[passage] = now_s
        try:
            await judge.report(reports)
        except StoreDown:
            for passage, standing, since_s in before:
                if passage in self._since_s:
                    passage.standing, self._since_s[passage] = standing, since_s
