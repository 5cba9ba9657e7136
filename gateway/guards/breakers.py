"""How calls ended is told the breakers that let them through, and what breakers do is told everybody else.

A failure is told at once, and so is what a breaker waits for: the outcome of a probe, a success while failures are
remembered. All other successes are counted here and told together every `FLUSH_S`, or with the next failure of the
same breaker; a breaker that only counts failures in a row does not even hear of those. Of hundreds of breakers they are
told one command after the other, so that decisions get their turn in the store between them.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from itertools import islice
from typing import Protocol

from gateway.core.ask import Ask
from gateway.core.classes import Counts
from gateway.core.guards import CLEAR, Breaker, Change, Guard, Reason, Report, Standing, State
from gateway.core.limits import Decision
from gateway.core.tuples import made
from gateway.guards.permits import Permits
from gateway.store.local.store import LocalStore

FLUSH_S = 0.1
_SUCCESS = Counts.SUCCESS  # before Python 3.12, naming a member costs as much as several lines
MOST_REPORTS = 8
"""In one command: a script is not to hold the store up for longer than some decisions do."""

Changes = tuple[Change | None, ...]
OnChange = Callable[[Guard, Change], None]


def ignore_change(_guard: Guard, _change: Change) -> None:
    """Tell nobody of a transition."""


class Judge(Protocol):
    """Where a breaker's state is: the store, or this worker's own memory."""

    def report(self, reports: Sequence[Report]) -> Awaitable[Changes]:
        """See `gateway.store.Store.report`."""


class Passage:
    """A breaker let a call through, and waits to hear how it ended. Nothing in it is the call's own while nothing is
    known against the breaker's calls: then all that one caller makes share one.

    calls, slow  successes that the breaker was not told of yet; this passage counts them for others of its kind, too
    """

    __slots__ = ("__weakref__", "calls", "guard", "judge", "slow", "standing")

    def __init__(self, guard: Guard, standing: Standing, judge: Judge) -> None:
        self.guard = guard
        self.standing = standing
        self.judge = judge
        self.calls = self.slow = 0

    def joins(self, other: "Passage") -> bool:
        """Whether the breaker is to hear of both in one: it is the same generation, and is kept at the same place."""
        return self.judge is other.judge and self.standing.generation == other.standing.generation

    def told(self) -> Report:
        """The successes that were counted, which are not counted any more."""
        report: Report = made(Report, (self.guard, self.standing.generation, 0, self.calls, 0, self.slow, 0))
        self.calls = self.slow = 0
        return report


def _counts_rates(guard: Guard) -> bool:
    """Whether the breaker remembers successes. Who counts failures in a row has none, or they would ask."""
    return isinstance(guard.rule, Breaker) and guard.rule.counts_rates


class Breakers:
    """A worker's side of all breakers.

    own        where breakers with `scope: local` live, and the others while the store is down
    on_change  told of each transition that this worker caused: the only one in the fleet to know
    """

    def __init__(self, own: LocalStore, on_change: OnChange = ignore_change) -> None:
        self.on_change = on_change
        self.own = own
        self._permits = Permits()
        self._counting: dict[str, Passage] = {}  # by the breaker's key
        self._telling: set[asyncio.Future[Changes]] = set()
        self._timer: asyncio.TimerHandle | None = None  # of the next flush; until it is over, of the last one
        self._flushing: asyncio.Task[None] | None = None

    async def ask_own(self, guard: Guard) -> Decision:
        """Ask a breaker that each worker has for itself. Does not wait for anything."""
        return await self.own.admit(Ask((), (guard,)), "")

    def let_in(self, guard: Guard, standings: Sequence[Standing], judge: Judge | None = None) -> Passage:
        """A call was admitted. `standings` end with the breaker's, or are empty; None = it is one of our own."""
        judge = self.own if judge is None else judge  # an empty local store is false
        if not standings:
            return Passage(guard, CLEAR, judge)
        standing = standings[-1]
        if standing.moved:
            self.on_change(guard, Change(State.HALF_OPEN, Reason.OPEN_TIME_OVER))
        passage = Passage(guard, standing, judge)
        if standing.probe:
            assert isinstance(guard.rule, Breaker), "pauses let nobody probe"
            self._permits.hold(passage, guard.rule.probe_us)
        return passage

    def ended(self, passage: Passage, counts: Counts, took_s: float) -> None:
        """A call that was let through has ended, after so long upstream. Once for each passage."""
        guard, standing, judge = passage.guard, passage.standing, passage.judge
        breaker = guard.rule
        assert isinstance(breaker, Breaker), "pauses hear of no outcomes"
        slow = int(breaker.slow_ppm > 0 and counts is not Counts.IGNORE and took_s * 1e6 > breaker.slow_us)
        if counts is _SUCCESS and not standing.urgent:
            counting = passage if passage.calls else self._counting_for(passage)
            counting.calls += 1
            counting.slow += slow
        elif counts is not Counts.IGNORE or standing.probe:
            self._permits.drop(passage)
            other, passed = self._counting.pop(guard.key, None), int(counts is Counts.SUCCESS)
            if other is not None and other.joins(passage):
                before = other.told()
                passed += before.passed
                slow += before.slow
            elif other is not None:
                self._part(other)
            failed = int(counts is Counts.FAILURE)
            self._tell(judge, [Report(guard, standing.generation, standing.probe, passed, failed, slow)])

    async def close(self) -> None:
        """Report to the store what was not reported yet. Idempotent."""
        await self._permits.close()
        if self._flushing is not None:
            await self._flushing
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._counting:
            await self._flush()
        if self._telling:
            await asyncio.wait(self._telling)

    def _counting_for(self, passage: Passage) -> Passage:
        """The passage that counts what this one has to tell."""
        if self._timer is None:
            self._flush_later()
        counting = self._counting.setdefault(passage.guard.key, passage)
        if counting is passage or counting.joins(passage):
            return counting
        self._part(counting)
        self._counting[passage.guard.key] = passage
        return passage

    def _part(self, counting: Passage) -> None:
        """Somebody else counts from now on."""
        report = counting.told()
        if _counts_rates(counting.guard):
            self._tell(counting.judge, [report])

    def _flush_later(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(FLUSH_S, self._begin_flush)

    def _begin_flush(self) -> None:
        self._flushing = asyncio.ensure_future(self._flush_on_time())

    async def _flush_on_time(self) -> None:
        await self._flush()
        self._timer = None
        if self._counting:
            self._flush_later()

    async def _flush(self) -> None:
        """Tell what was counted until now, the oldest first. What waits for its command goes on counting."""
        left = len(self._counting)
        while left > 0:
            telling = [self._tell(judge, reports) for judge, reports in self._take(min(left, MOST_REPORTS)).items()]
            left -= MOST_REPORTS
            if left > 0 and telling:
                await asyncio.wait(telling)

    def _take(self, most: int) -> dict[Judge, list[Report]]:
        """What is counted for so many breakers, which is not counted any more. What none remembers is forgotten."""
        reports: defaultdict[Judge, list[Report]] = defaultdict(list)
        for key in [*islice(self._counting, most)]:
            passage = self._counting.pop(key)
            report = passage.told()
            if _counts_rates(passage.guard):
                reports[passage.judge].append(report)
        return reports

    def _tell(self, judge: Judge, reports: Sequence[Report]) -> "asyncio.Future[Changes]":
        telling = asyncio.ensure_future(judge.report(reports))
        self._telling.add(telling)
        telling.add_done_callback(partial(self._told, reports))
        return telling

    def _told(self, reports: Sequence[Report], telling: "asyncio.Future[Changes]") -> None:
        """What a store that is down was told is lost: meanwhile our own breakers decide."""
        self._telling.discard(telling)
        if telling.cancelled() or telling.exception() is not None:
            return
        changes = telling.result()
        if not any(changes):
            return
        for report, change in zip(reports, changes, strict=True):
            if change is not None:
                self.on_change(report.guard, change)
