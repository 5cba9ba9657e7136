"""Who calls most, and who is refused most, in one worker: of the last one to two minutes, in bounded memory.

A caller is a partition of a limit. Calls cost next to nothing here: they are only collected, and counted some hundreds
at a time. What is not asked any limit is not seen.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from operator import attrgetter
from typing import Any

from gateway.core.ask import Ask
from gateway.core.heavy import Heavy
from gateway.record import CallRecord

MOST = 1_000
"""Partitions that are kept: whoever makes up a thousandth of the calls is among them."""
AT_ONCE = 4_096
WINDOW_S = 60.0
BY = ("requests", "rejected", "shadow_rejected")
_REFUSING = {"limited": "rejected", "shadow_limited": "shadow_rejected"}
_facts = attrgetter("ask", "verdict", "limit_fired")


class HeavyCallers:
    """Of one worker."""

    def __init__(self) -> None:
        self._seen: list[Any] = []
        self._now, self._before = _empty(), _empty()
        self._loop = asyncio.get_running_loop()
        self._began_s = self._before_began_s = self._loop.time()

    def take(self, records: Sequence[CallRecord]) -> None:
        """Calls that have ended."""
        self._seen += map(_facts, records)
        if len(self._seen) >= AT_ONCE:
            self.count()

    def count(self) -> None:
        """Bring the counts up to date."""
        seen, self._seen = self._seen, []
        self._turn_over()
        requests = self._now["requests"].counts
        for (ask, verdict, fired), times in Counter(seen).items():
            for _, key, _ in ask.charges:
                requests[key] = requests.get(key, 0) + times
            if verdict in _REFUSING:
                self._refused(ask, _REFUSING[verdict], fired, times)
        for heavy in self._now.values():
            heavy.prune()

    def _refused(self, ask: Ask, how: str, fired: str, times: int) -> None:
        for limit, key, _ in ask.charges:
            if limit.name == fired:
                self._now[how].add(key, times)

    def _turn_over(self) -> None:
        now_s = self._loop.time()
        if now_s >= self._began_s + WINDOW_S:
            fresh = now_s < self._began_s + 2 * WINDOW_S
            self._before = self._now if fresh else _empty()
            self._before_began_s = self._began_s if fresh else now_s
            self._now, self._began_s = _empty(), now_s

    def found(self, by: str) -> dict[str, Any]:
        """What can be added up with what other workers found: counts by partition, and how much they may lack."""
        self.count()
        both = Heavy[str](MOST)
        for heavy in (self._before[by], self._now[by]):
            both.merge(heavy.counts, heavy.missed)
        both.prune()
        return {"counts": both.counts, "missed": both.missed, "over_s": self._loop.time() - self._before_began_s}


def _empty() -> dict[str, Heavy[str]]:
    return {by: Heavy(MOST) for by in BY}
