"""How calls ended is told the breakers that let them through, and what breakers do is told everybody else.

A failure is told at once, together with the successes before it, and so is what a breaker waits for: the outcome of a
probe, a success while failures in a row are remembered. `Successes` has all others.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

from gateway.core.ask import Ask
from gateway.core.classes import Counts
from gateway.core.guards import CLEAR, Breaker, Change, Guard, Reason, Report, Standing, State
from gateway.core.limits import Decision
from gateway.guards.passages import Changes, Judge, Passage
from gateway.guards.permits import Permits
from gateway.guards.successes import Successes
from gateway.store.local.store import LocalStore

_SUCCESS = Counts.SUCCESS  # before Python 3.12, naming a member costs as much as several lines

OnChange = Callable[[Guard, Change], None]


def ignore_change(_guard: Guard, _change: Change) -> None:
    """Tell nobody of a transition."""


class Breakers:
    """A worker's side of all breakers.

    own        where breakers with `scope: local` live, and the others while the store is down
    on_change  told of each transition that this worker caused: the only one in the fleet to know
    """

    def __init__(self, own: LocalStore) -> None:
        self.on_change: OnChange = ignore_change
        self.own = own
        self._permits = Permits()
        self._successes = Successes(self._tell)
        self._telling: set[asyncio.Future[Changes]] = set()

    async def ask_own(self, guard: Guard) -> Decision:
        """Ask a breaker that each worker has for itself. Does not wait for anything."""
        return await self.own.admit(Ask((), (guard,)), "")

    def let_in(self, guard: Guard, standings: Sequence[Standing], judge: Judge | None) -> Passage:
        """A call was admitted. `standings` end with the breaker's, or are empty; None = it is one of our own."""
        judge = self.own if judge is None else judge  # an empty local store is false
        if not standings:
            known = self._successes.counting.get(guard.key)  # one for the calls of a connection on all its routes
            if known is not None and known.standing is CLEAR and known.judge is judge and known.rule is guard.rule:
                return known
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
        standing, breaker = passage.standing, passage.rule
        assert isinstance(breaker, Breaker), "pauses hear of no outcomes"
        slow = 0
        if breaker.slow_ppm and counts is not Counts.IGNORE:
            slow = int(took_s * 1e6 > breaker.slow_us)
        if counts is _SUCCESS and not standing.urgent:
            self._successes.count(passage, slow)
        elif counts is not Counts.IGNORE or standing.probe:
            self._permits.drop(passage)
            passed, slow_before = self._successes.told_with(passage)
            passed += counts is Counts.SUCCESS
            failed = int(counts is Counts.FAILURE)
            slow += slow_before
            report = Report(passage.guard, standing.generation, standing.probe, passed, failed, slow)
            self._tell(passage.judge, [report])

    async def close(self) -> None:
        """Report to the store what was not reported yet. Idempotent."""
        await self._permits.close()
        await self._successes.close()
        if self._telling:
            await asyncio.wait(self._telling)

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
