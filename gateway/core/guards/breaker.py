"""The circuit breaker of one partition: an immutable state and what follows from it.

closed → open → half_open → closed, or back to open. Each transition begins a new generation, and outcomes of calls that
were let in before it do not count after it. The script `gateway/store/lua/circuit.lua` is a second implementation,
tested equal to this one integer for integer.
"""

from typing import NamedTuple

from gateway.core.guards import Breaker, Change, Reason, Report, Standing, State
from gateway.core.guards.tallies import MAX_COUNT, Counts, Tallies
from gateway.core.units import DAY_US, HOUR_US, SECOND_US

LOOK_AGAIN_US = SECOND_US
"""Nobody knows when a probe will end: who comes meanwhile is asked to try again in a second at most."""
REMEMBERED_US = HOUR_US
"""How long a breaker that nobody asks is remembered beyond the time for which it is open, and one that closed its
generation: by then the calls from before are over."""
MAX_FORCED_US = 30 * DAY_US


class Circuit(NamedTuple):
    """What is remembered of one partition. The default is a breaker that never heard of a failure.

    since_us  when the state was entered
    until_us  open: when the first probe may fly. Closed: until when an operator holds it closed; 0 = nobody does
    open_us   how long it was last opened for, while it is not closed; 0 = it was not, or by an operator
    in_a_row  closed: failures since the last success. Half-open: successes since it is
    reason; calls, failed, slow  why it entered its state, and the counts it judged by
    probes    half-open: for each probe that is out, when it is given up; these times name them
    """

    state: State = State.CLOSED
    generation: int = 0
    since_us: int = 0
    until_us: int = 0
    open_us: int = 0
    in_a_row: int = 0
    reason: Reason = Reason.NONE
    calls: int = 0
    failed: int = 0
    slow: int = 0
    probes: tuple[int, ...] = ()
    tallies: Tallies = Tallies()

    @property
    def quiet(self) -> bool:
        """Whether there is nothing to tell a call that asks."""
        return self.state is State.CLOSED and self.generation == 0 and self.in_a_row == 0

    def lives_us(self, breaker: Breaker, now_us: int) -> int:
        """For how long this has to be remembered; 0 = it says nothing."""
        if self.quiet:
            return breaker.window_us if self.tallies.parts else 0
        return max(0, self.until_us - now_us) + REMEMBERED_US

    def settled(self, breaker: Breaker, now_us: int) -> "Circuit":
        """With no time further ahead than it can be: after a backward step of the clock, or with shorter numbers."""
        furthest_us = MAX_FORCED_US if self.reason is Reason.FORCED else breaker.max_open_us
        latest_us = now_us + breaker.permit_us + breaker.half_open_calls
        if self.until_us <= now_us + furthest_us and all(end_us <= latest_us for end_us in self.probes):
            return self
        return self._replace(
            until_us=min(self.until_us, now_us + furthest_us),
            probes=tuple(min(end_us, latest_us) for end_us in self.probes),
        )

    def standing(self, breaker: Breaker, now_us: int) -> Standing:
        """What a call hears that is not let in (yet)."""
        if self.state is State.OPEN:
            return Standing(State.OPEN, max(0, self.until_us - now_us), self.generation)
        if self.state is State.HALF_OPEN:
            return Standing(State.HALF_OPEN, self._wait_us(breaker, now_us), self.generation)
        return Standing(generation=self.generation, urgent=self.in_a_row > 0)

    def entered(self, breaker: Breaker, now_us: int) -> tuple["Circuit", Standing]:
        """One call more is let in, which nothing holds back."""
        if self.state is State.CLOSED:
            return self, self.standing(breaker, now_us)
        moved = self.state is State.OPEN
        half_open = self._replace(state=State.HALF_OPEN, since_us=now_us, until_us=0) if moved else self
        out = half_open._out(now_us)
        probe = now_us + breaker.permit_us
        while probe in out:
            probe += 1
        circuit = half_open._replace(generation=self.generation + moved, probes=(*out, probe))
        return circuit, Standing(State.HALF_OPEN, 0, circuit.generation, probe, urgent=True, moved=moved)

    def reported(self, breaker: Breaker, report: Report, now_us: int) -> tuple["Circuit", Change | None]:
        """Outcomes came in. Those of another generation, or while an operator holds the breaker, do not count."""
        if report.generation != self.generation or self.until_us > now_us:
            return self, None
        if self.state is State.HALF_OPEN:
            return self._probed(breaker, report, now_us)
        if self.state is State.OPEN or not report.passed + report.failed:
            return self, None
        return self._counted(breaker, report, now_us)

    def forced(self, state: State | None, for_us: int, now_us: int) -> tuple["Circuit", Change | None]:
        """An operator opens or closes it for so long; None gives it back. Returns a change only if the state is new.

        A breaker that was forced open goes on with a probe, one that was forced closed with new counts.
        """
        if state is None:
            held = self.reason is Reason.FORCED and self.until_us > now_us
            return (self._replace(until_us=now_us) if held else self), None
        until_us = now_us + min(for_us, MAX_FORCED_US)
        since_us = self.since_us if state is self.state else now_us
        circuit = Circuit(state, self.generation + 1, since_us, until_us, reason=Reason.FORCED)
        if state is self.state:
            return circuit, None
        return circuit, Change(state, Reason.FORCED, wait_us=until_us - now_us if state is State.OPEN else 0)

    # -- half-open

    def _out(self, now_us: int) -> tuple[int, ...]:
        """The probes that are out and not given up."""
        return tuple(end_us for end_us in self.probes if end_us > now_us)

    def _wait_us(self, breaker: Breaker, now_us: int) -> int:
        out = self._out(now_us)
        return min(LOOK_AGAIN_US, min(out) - now_us) if len(out) >= breaker.half_open_calls else 0

    def _probed(self, breaker: Breaker, report: Report, now_us: int) -> tuple["Circuit", Change | None]:
        counts = (report.passed + report.failed, report.failed, report.slow)
        if report.failed or (report.slow and breaker.slow_ppm):
            return self._opened(breaker, Reason.PROBE_FAILED, counts, now_us)
        in_a_row = min(MAX_COUNT, self.in_a_row + report.passed)
        if in_a_row >= breaker.close_after:
            closed = Circuit(generation=self.generation + 1, since_us=now_us, reason=Reason.PROBES_SUCCEEDED)
            return closed, Change(State.CLOSED, Reason.PROBES_SUCCEEDED, in_a_row)
        at = self.probes.index(report.probe) if report.probe in self.probes else len(self.probes)
        renewed = [end_us + report.longer_us for end_us in self.probes[at : at + 1] if report.longer_us]
        return self._replace(in_a_row=in_a_row, probes=(*self.probes[:at], *renewed, *self.probes[at + 1 :])), None

    # -- closed

    def _counted(self, breaker: Breaker, report: Report, now_us: int) -> tuple["Circuit", Change | None]:
        in_a_row, tallies = 0, Tallies()
        if breaker.consecutive_failures:
            in_a_row = min(MAX_COUNT, (0 if report.passed else self.in_a_row) + report.failed)
        if breaker.counts_rates:
            counts = (report.passed + report.failed, report.failed, report.slow)
            tallies = self.tallies.counting(breaker.window_us, now_us, counts)
        if breaker.consecutive_failures and in_a_row >= breaker.consecutive_failures:
            return self._opened(breaker, Reason.CONSECUTIVE_FAILURES, (in_a_row, in_a_row, 0), now_us)
        calls, failed, slow = totals = tallies.totals()
        if calls >= breaker.minimum_calls:
            if breaker.failure_ppm and failed * 1_000_000 >= breaker.failure_ppm * calls:
                return self._opened(breaker, Reason.FAILURE_RATE, totals, now_us)
            if breaker.slow_ppm and slow * 1_000_000 >= breaker.slow_ppm * calls:
                return self._opened(breaker, Reason.SLOW_CALLS, totals, now_us)
        known = Circuit() if now_us - self.since_us >= REMEMBERED_US else self
        return known._replace(in_a_row=in_a_row, tallies=tallies), None

    def _opened(self, breaker: Breaker, reason: Reason, counts: Counts, now_us: int) -> tuple["Circuit", Change]:
        longer_us = self.open_us * breaker.growth_milli // 1000 if self.open_us else breaker.open_us
        open_us = min(longer_us, breaker.max_open_us)
        circuit = Circuit(State.OPEN, self.generation + 1, now_us, now_us + open_us, open_us, 0, reason, *counts)
        return circuit, Change(State.OPEN, reason, *counts, open_us)
