"""The breaker under hypothesis: any order of calls, outcomes, operators and times, judged by a plain log of them all."""

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from gateway.core.guards import Breaker, Guard, Reason, Report, Standing, State
from gateway.core.guards.breaker import LOOK_AGAIN_US, REMEMBERED_US, Circuit
from tests.fakes.examples import as_many

START = 1_000_000_000_000

breakers = st.builds(
    Breaker,
    name=st.just("b"),
    key=st.just(("c",)),
    window_us=st.sampled_from([10, 77, 1000]),
    minimum_calls=st.integers(1, 6),
    failure_ppm=st.sampled_from([0, 1, 400_000, 500_000, 1_000_000]),
    slow_ppm=st.sampled_from([0, 500_000]),
    slow_us=st.just(1),
    consecutive_failures=st.integers(0, 4),
    open_us=st.sampled_from([1, 30, 100]),
    growth_milli=st.sampled_from([1000, 1500, 3000]),
    max_open_us=st.sampled_from([30, 500]),
    half_open_calls=st.integers(1, 3),
    close_after=st.integers(1, 3),
    permit_us=st.sampled_from([20, 400]),
)


class Machine(RuleBasedStateMachine):
    """`log` holds (when, failed, slow) of each outcome that has to count since the breaker was last closed."""

    calls = Bundle("calls")

    @initialize(breaker=breakers)
    def begin(self, breaker: Breaker) -> None:
        self.breaker = breaker
        self.circuit = Circuit()
        self.now_us = START
        self.log: list[tuple[int, bool, bool]] = []
        self.out: dict[int, Standing] = {}
        self.held_until_us = 0
        self.passed = 0  # probes since it is half-open

    @rule(by_us=st.one_of(st.integers(0, 40), st.sampled_from([100, 400, 1000, REMEMBERED_US])))
    def time_passes(self, by_us: int) -> None:
        self.now_us += by_us

    @rule(target=calls, early=st.booleans())
    def a_call_asks(self, early: bool) -> object:
        standing = self.circuit.standing(self.breaker, self.now_us)
        if self.circuit.state is State.OPEN and standing.wait_us and not early:
            self.now_us += standing.wait_us - 1
            assert self.circuit.standing(self.breaker, self.now_us).wait_us == 1, "honest to the microsecond"
            self.now_us += 1
            standing = self.circuit.standing(self.breaker, self.now_us)
            assert standing.wait_us == 0
        out = [end_us for end_us in self.out if end_us > self.now_us]
        if standing.wait_us:
            assert self.circuit.state is not State.CLOSED
            assert self.circuit.state is State.OPEN or (
                len(out) >= self.breaker.half_open_calls and standing.wait_us <= LOOK_AGAIN_US
            )
            return multiple()
        before = self.circuit
        self.circuit, call = before.entered(self.breaker, self.now_us)
        assert call.generation == self.circuit.generation
        assert call.moved == (before.state is State.OPEN)
        assert bool(call.probe) == (self.circuit.state is State.HALF_OPEN)
        if call.moved:
            self.out, self.passed = {}, 0
        if call.probe:
            assert call.probe not in self.out
            self.out[call.probe] = call
            assert len([end_us for end_us in self.out if end_us > self.now_us]) <= self.breaker.half_open_calls
        else:
            assert self.circuit == before, "a call through a closed breaker costs no write"
        return call

    @rule(call=consumes(calls), failed=st.booleans(), slow=st.booleans(), ignored=st.booleans())
    def a_call_ends(self, call: Standing, failed: bool, slow: bool, ignored: bool) -> None:
        before = self.circuit
        counts = (0, 0, 0) if ignored else (int(not failed), int(failed), int(slow))
        self.circuit, change = before.reported(
            self.breaker, Report(Guard(self.breaker, "k"), call.generation, call.probe, *counts), self.now_us
        )
        if call.generation != before.generation or before.state is State.OPEN or self.now_us < self.held_until_us:
            assert (self.circuit, change) == (before, None), "late or held: it does not count"
            return
        self.out.pop(call.probe, None)
        if change is not None:
            assert change.state is self.circuit.state is not before.state
            assert self.circuit.generation == before.generation + 1
        if before.state is State.CLOSED and not ignored:
            self.log.append((self.now_us, failed, slow))
            assert (change.reason if change else Reason.NONE) is self.verdict()
        if before.state is State.HALF_OPEN and not ignored:
            bad = failed or (slow and self.breaker.slow_ppm > 0)
            self.passed = 0 if bad else self.passed + 1
            enough = self.passed >= self.breaker.close_after
            assert (change and change.state) is (State.OPEN if bad else State.CLOSED if enough else None)
        if change is not None:
            self.log = []
            self.out = {}
        if change is not None and change.state is State.OPEN:
            assert self.circuit.until_us - self.now_us == change.wait_us <= self.breaker.max_open_us
            if before.state is State.HALF_OPEN and before.open_us:
                assert change.wait_us >= min(before.open_us, self.breaker.max_open_us)

    @rule(state=st.sampled_from([State.OPEN, State.CLOSED, None]), for_us=st.sampled_from([1, 50, 2000]))
    def an_operator_acts(self, state: State | None, for_us: int) -> None:
        before = self.circuit
        self.circuit, change = before.forced(state, for_us, self.now_us)
        assert (change is not None) == (self.circuit.state is not before.state)
        if state is None:
            self.held_until_us = min(self.held_until_us, self.now_us)
            return
        self.held_until_us = self.now_us + for_us
        self.log = []
        self.out = {}
        assert self.circuit.generation == before.generation + 1
        assert self.circuit.standing(self.breaker, self.now_us).wait_us == (for_us if state is State.OPEN else 0)

    def verdict(self) -> Reason:
        """What the outcomes say, by the log alone."""
        breaker, width_us = self.breaker, -(-self.breaker.window_us // 10)
        in_a_row = 0
        for _, failed, _ in reversed(self.log):
            if not failed:
                break
            in_a_row += 1
        seen = [entry for entry in self.log if entry[0] // width_us > self.now_us // width_us - 10]
        failures, slows = sum(failed for _, failed, _ in seen), sum(slow for _, _, slow in seen)
        if breaker.consecutive_failures and in_a_row >= breaker.consecutive_failures:
            return Reason.CONSECUTIVE_FAILURES
        if len(seen) < breaker.minimum_calls:
            return Reason.NONE
        if breaker.failure_ppm and failures / len(seen) >= breaker.failure_ppm / 1e6:
            return Reason.FAILURE_RATE
        return Reason.SLOW_CALLS if breaker.slow_ppm and slows / len(seen) >= breaker.slow_ppm / 1e6 else Reason.NONE

    @invariant()
    def what_it_remembers_fits(self) -> None:
        circuit = self.circuit
        assert circuit.settled(self.breaker, self.now_us) == circuit, "nothing to settle while the clock runs forward"
        assert len(circuit.probes) <= self.breaker.half_open_calls
        assert len(circuit.tallies.parts) in (0, 10)
        assert bool(circuit.probes) <= (circuit.state is State.HALF_OPEN)
        assert circuit.quiet == (circuit.standing(self.breaker, self.now_us) == Standing())
        assert circuit.lives_us(self.breaker, self.now_us) >= circuit.until_us - self.now_us


Machine.TestCase.settings = settings(max_examples=as_many(150), stateful_step_count=60, deadline=None)
TestBreakerMachine = Machine.TestCase
