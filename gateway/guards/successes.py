"""Good calls, which hardly ever decide anything: counted here, and told their breakers some at a time.

In one turn every `TURN_S` those are told that are due. Breakers that also count failures in a row are told in the next
turn, and so are slow calls: what is late could end a run that began after it. A breaker that only knows rates may wait
for less than a quarter of the calls that it needs to judge, for a twentieth of its window: it forgets a tenth of that
at once, so its rate is no less exact for it. Of ten thousand connections with a call now and then, most calls are told
together with others.

Of hundreds of breakers they are told one command after the other, so that decisions get their turn in the store between
them.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence

from gateway.core.guards import Breaker, Pausing, Report
from gateway.guards.passages import Changes, Judge, Passage

TURN_US = 100_000
TURN_S = TURN_US / 1e6
MOST_PATIENCE_US = 5_000_000
PATIENT_FOR = 20
"""Such a part of the window may pass before it is told of good calls."""
ENOUGH_OF = 4
"""Such a part of the calls that it needs to judge is told it in the next turn."""
MOST_REPORTS = 16
"""In one command: a script is not to hold the store up for longer than some decisions do."""

Tell = Callable[[Judge, Sequence[Report]], "asyncio.Future[Changes]"]
"""Reports to where the breakers are. What went wrong is in the future; whoever tells looks after it."""

_Terms = tuple[Breaker, int, int]
MOST_TERMS = 1_000


def _terms(breaker: Breaker) -> _Terms:
    """(the breaker, how many turns a single good call may wait for, see `Passage.enough`)."""
    if not breaker.counts_rates:
        return breaker, 1, 0
    enough = max(1, breaker.minimum_calls // ENOUGH_OF)
    if breaker.consecutive_failures:
        return breaker, 1, enough
    return breaker, max(1, min(breaker.window_us // PATIENT_FOR, MOST_PATIENCE_US) // TURN_US), enough


class Successes:
    """Those of a worker's calls that their breakers were not told of yet.

    counting  by the breaker's key: each passage that has calls to tell
    """

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self.counting: dict[str, Passage] = {}
        self._due: defaultdict[int, list[Passage]] = defaultdict(list)  # by turn; some have told theirs before it
        self._terms: dict[int, _Terms] = {}  # by identity of the rule; holding it keeps that its own
        self._turn = 0
        self._timer: asyncio.TimerHandle | None = None  # of the next turn; until it is over, of the last one
        self._telling: asyncio.Task[None] | None = None

    def count(self, passage: Passage, slow: int) -> None:
        """One good call more, which was slow (1) or not (0)."""
        counting = passage if passage.calls else self._counting_for(passage)
        counting.calls = calls = counting.calls + 1
        if slow or calls == counting.enough:
            counting.slow += slow
            if counting.due > self._turn + 1:
                self._tell_in(counting, 1)

    def told_with(self, passage: Passage) -> tuple[int, int]:
        """(how many, how many of them slow) are told with what the passage has to tell now: they came before it."""
        other = self.counting.pop(passage.guard.key, None)
        if other is None:
            return 0, 0
        if other.joins(passage):
            before = other.told()
            return before.passed, before.slow
        self._part(other)
        return 0, 0

    async def close(self) -> None:
        """Tell all of them. Idempotent."""
        if self._telling is not None:
            await self._telling
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self.counting:
            await self._tell_these([*self.counting.values()])

    def _counting_for(self, passage: Passage) -> Passage:
        """The passage that counts what this one has to tell."""
        key, rule = passage.guard.key, passage.rule
        counting = self.counting.setdefault(key, passage)
        if counting is not passage:
            if counting.joins(passage):
                return counting
            self._part(counting)
            self.counting[key] = passage
        _, patience, passage.enough = self._terms.get(id(rule)) or self._learn(rule)
        self._tell_in(passage, patience)
        return passage

    def _learn(self, rule: Breaker | Pausing) -> _Terms:
        assert isinstance(rule, Breaker), "pauses hear of no outcomes"
        if len(self._terms) >= MOST_TERMS:
            self._terms.clear()
        terms = self._terms[id(rule)] = _terms(rule)
        return terms

    def _part(self, counting: Passage) -> None:
        """Somebody else counts from now on."""
        report = counting.told()
        if counting.enough:
            self._tell(counting.judge, [report])

    def _tell_in(self, passage: Passage, turns: int) -> None:
        passage.due = self._turn + turns
        self._due[passage.due].append(passage)
        if self._timer is None:
            self._begin_at(asyncio.get_running_loop().time() + TURN_S)

    def _begin_at(self, time_s: float) -> None:
        self._timer = asyncio.get_running_loop().call_at(time_s, self._begin, time_s)

    def _begin(self, time_s: float) -> None:
        self._telling = asyncio.ensure_future(self._take_turn(time_s))

    async def _take_turn(self, time_s: float) -> None:
        """Tell what is due. `time_s` is when the turn should have begun: the next one is a `TURN_S` later, or now if
        that is over, for patience is counted in turns."""
        self._turn += 1
        try:
            await self._tell_these([passage for passage in self._due.pop(self._turn, ()) if passage.due == self._turn])
        finally:  # a turn that fails must not be the last one
            self._timer = None
            if self.counting:
                self._begin_at(max(time_s + TURN_S, asyncio.get_running_loop().time()))
            else:
                self._due.clear()

    async def _tell_these(self, passages: list[Passage]) -> None:
        """What they have counted by the time at which their command leaves."""
        telling: list[asyncio.Future[Changes]] = []
        for at in range(0, len(passages), MOST_REPORTS):
            if telling:
                await asyncio.wait(telling)
            reports = self._take(passages[at : at + MOST_REPORTS])
            telling = [self._tell(judge, its_reports) for judge, its_reports in reports.items()]

    def _take(self, passages: Sequence[Passage]) -> dict[Judge, list[Report]]:
        """What they have counted, which is not counted any more. What no breaker remembers is forgotten."""
        reports: defaultdict[Judge, list[Report]] = defaultdict(list)
        for passage in passages:
            if passage.calls:
                del self.counting[passage.guard.key]
                report = passage.told()
                if passage.enough:
                    reports[passage.judge].append(report)
        return reports
