"""Who calls most, and who is refused most, in one worker: of the last one to two minutes, in bounded memory.

A caller is a partition of a limit. Calls cost next to nothing here: each is one more of its `Ask`, at hand by then, and
those of an ask are counted together. What is not asked any limit is not seen.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from operator import attrgetter, itemgetter
from time import time
from typing import Any, NamedTuple

from gateway.core.ask import Ask
from gateway.core.limits import Mode
from gateway.core.watching.heavy_hitters import HeavyHitters
from gateway.record import CallRecord

MOST = 1_000
"""Partitions that are kept: whoever makes up a thousandth of the calls is among them."""
AT_ONCE = 512
MOST_SEEN = 16_384
"""Asks whose calls are not counted yet. With more of them the oldest are counted, `AT_ONCE` at a time, and so are those
of a minute that is over: to count all of them takes tens of milliseconds."""
WINDOW_S = 60.0
MINUTES, MOST_A_MINUTE = 15, 200
"""What is remembered of minutes that are over, and of how many callers each: a megabyte at most."""
RANKS = 3
"""So many of a limit have a gauge."""
BY = ("requests", "rejected", "shadow_rejected")
_facts, _outcome = attrgetter("limit_fired", "verdict", "ask", "decision"), itemgetter(0, 1, 2)


class Minute(NamedTuple):
    """The heaviest of one minute that is over. `number`: minutes since 1970, when it began."""

    number: int
    counts: Mapping[str, Mapping[str, int]]


class HeavyCallers:
    """Counts one worker's calls by partition: in this minute and the one before; of older ones, the heaviest."""

    def __init__(self) -> None:
        self._seen: deque[Ask] = deque()  # those with calls that are not counted, in the order of the first of these
        self._fired: list[Any] = []
        self._later: list[CallRecord] = []  # of the next minute, while this one's are being counted
        self._now, self._before = _empty(), _empty()
        self._past: deque[Minute] = deque(maxlen=MINUTES)
        self._loop = asyncio.get_running_loop()
        self._began_s = self._before_began_s = self._loop.time()
        self._ends_s = self._began_s + WINDOW_S

    def take(self, records: Sequence[CallRecord]) -> None:
        """Take calls that have ended; they are counted together with others."""
        if self._loop.time() < self._ends_s:
            self._see(records)
            return
        if not self._later:
            self._loop.call_soon(self._end_minute)
        self._later += records

    def _end_minute(self) -> None:
        """In as many turns of the loop as it takes, unless somebody who asked has done it."""
        if not self._later:
            return
        self._count_seen(AT_ONCE)
        if self._seen:
            self._loop.call_soon(self._end_minute)
        else:
            self._turn_over()

    def _see(self, records: Sequence[CallRecord]) -> None:
        for record in records:
            ask = record.ask
            if not ask.uncounted:
                self._seen.append(ask)
                if len(self._seen) > MOST_SEEN:
                    self._count_seen(AT_ONCE)
            ask.uncounted += 1
            if record.limit_fired:
                self._fired.append(_facts(record))
                if len(self._fired) >= AT_ONCE:
                    self._count_fired()

    def count(self) -> None:
        """Bring the counts up to date."""
        self._count_seen(len(self._seen))
        if self._loop.time() >= self._ends_s:
            self._turn_over()
            self._count_seen(len(self._seen))
        self._count_fired()

    def _count_seen(self, most: int) -> None:
        """Count the calls of so many asks."""
        requests, seen = self._now["requests"], self._seen
        for _ in range(min(most, len(seen))):
            ask = seen.popleft()
            requests.add_each(ask.keys, ask.uncounted)
            ask.uncounted = 0
        requests.prune()

    def _count_fired(self) -> None:
        """Count whom limits refused, or would have."""
        fired, self._fired = self._fired, []
        outcomes = Counter(map(_outcome, fired))
        for (name, verdict, ask), times in outcomes.items():
            if verdict == "limited":
                self._refused(ask, name, times)
        if any(verdict == "shadow_limited" for _, verdict, _ in outcomes):
            self._refused_in_shadow(fired)
        self._now["rejected"].prune()
        self._now["shadow_rejected"].prune()

    def _refused(self, ask: Ask, fired: str, times: int) -> None:
        for limit, key, _ in ask.charges:
            if limit.name == fired:
                self._now["rejected"].add(key, times)

    def _refused_in_shadow(self, fired: Sequence[Any]) -> None:
        """Each limit in shadow that would have refused counts: whoever enforces one of them has to know its callers."""
        would = self._now["shadow_rejected"]
        for _, verdict, ask, decision in fired:
            if verdict == "shadow_limited":
                for (limit, key, _), found in zip(ask.charges, decision.verdicts, strict=True):
                    if limit.mode is Mode.SHADOW and not found.admitted:
                        would.add(key, 1)

    def _turn_over(self) -> None:
        """A minute is over, and all its calls are counted."""
        self._count_fired()
        now_s = self._loop.time()
        fresh = now_s < self._ends_s + WINDOW_S
        self._remember(now_s)
        self._before = self._now if fresh else _empty()
        self._before_began_s = self._began_s if fresh else now_s
        self._now, self._began_s, self._ends_s = _empty(), now_s, now_s + WINDOW_S
        later, self._later = self._later, []
        self._see(later)

    def _remember(self, now_s: float) -> None:
        number = int((time() - (now_s - self._began_s)) // WINDOW_S)
        counts = {by: dict(heavy.top(MOST_A_MINUTE)) for by, heavy in self._now.items() if heavy.counts}
        self._past.append(Minute(number, counts))

    def minutes(self, partition: str) -> list[list[int]]:
        """[minute since 1970, calls, refused, refused in shadow] of one caller, the oldest first, the present one last.

        A minute in which it was not among the heaviest has zeros.
        """
        self.count()
        present = {by: heavy.counts for by, heavy in self._now.items()}
        number = int((time() - (self._loop.time() - self._began_s)) // WINDOW_S)
        return [
            [minute, *(counts.get(by, {}).get(partition, 0) for by in BY)]
            for minute, counts in (*self._past, Minute(number, present))
        ]

    def found(self, by: str) -> dict[str, Any]:
        """What can be added up with what other workers found: counts by partition, and how much they may lack."""
        if by == "requests" or self._loop.time() >= self._ends_s:
            self.count()
        else:
            self._count_fired()
        both = HeavyHitters[str](MOST)
        for heavy in (self._before[by], self._now[by]):
            both.merge(heavy.counts, heavy.missed)
        both.prune()
        return {"counts": both.counts, "missed": both.missed, "over_s": self._loop.time() - self._before_began_s}

    def ranked(self, by: str) -> dict[tuple[str, str], int]:
        """Counts of the heaviest of each limit, by limit and rank (1 is the heaviest of all)."""
        limits: dict[str, list[int]] = {}
        for partition, count in self.found(by)["counts"].items():
            limits.setdefault(limit_of(partition), []).append(count)
        return {
            (limit, str(rank)): count
            for limit, counts in limits.items()
            for rank, count in enumerate(sorted(counts, reverse=True)[:RANKS], 1)
        }


def limit_of(partition: str) -> str:
    """The name of the limit that a partition key belongs to."""
    return partition.partition(":{")[0]


def _empty() -> dict[str, HeavyHitters[str]]:
    return {by: HeavyHitters(MOST) for by in BY}
