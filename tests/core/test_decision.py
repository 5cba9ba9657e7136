"""The decision over several limits: all-or-nothing, shadows, peeks, and what the caller may not ask."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.algorithms import Bucket, Leases, Log, State, Tally, state_for
from gateway.core.decision import decide
from gateway.core.limits import Charge, Decision, Limit, Mode
from tests.core.limit_cases import any_limit, bucket, calls, concurrency, fixed, rolling, timed_limits
from tests.fakes.examples import as_many

NOW = 1_000_000_000


class Caller:
    """Calls that are charged to several limits, one partition each."""

    def __init__(self, *limits: Limit) -> None:
        self.limits = limits
        self.states: tuple[State | None, ...] = (None,) * len(limits)
        self.now_us = NOW
        self.serial = 0

    def ask(self, *costs: int, after_us: int = 0, commit: bool = True) -> Decision:
        self.now_us += after_us
        self.serial += 1
        charges = [Charge(limit, str(i), cost) for i, (limit, cost) in enumerate(zip(self.limits, costs, strict=True))]
        decision, self.states = decide(charges, self.states, self.now_us, str(self.serial), commit=commit)
        return decision


def test_one_refusal_charges_nobody() -> None:
    caller = Caller(rolling(quota=5), bucket(quota=2, per_us=50), concurrency(quota=5), fixed(quota=5))
    for _ in range(2):
        assert caller.ask(1, 1, 1, 1).admitted
    before = caller.states
    refused = caller.ask(1, 1, 1, 1)
    assert not refused.admitted
    assert [verdict.admitted for verdict in refused.verdicts] == [True, False, True, True]
    assert [verdict.remaining for verdict in refused.verdicts] == [3, 0, 3, 3]
    assert [verdict.retry_us for verdict in refused.verdicts] == [0, 50, 0, 0]
    assert all(state is same for state, same in zip(caller.states, before, strict=True))


def test_a_shadow_never_refuses_and_counts_only_what_it_had_room_for() -> None:
    caller = Caller(rolling(quota=3), rolling(quota=2, mode=Mode.SHADOW))
    decisions = [caller.ask(1, 1) for _ in range(4)]
    assert [decision.admitted for decision in decisions] == [True, True, True, False]
    assert [decision.verdicts[1].admitted for decision in decisions] == [True, True, False, False]
    assert [decision.verdicts[1].remaining for decision in decisions] == [1, 0, 0, 0]


def test_a_shadow_is_not_charged_for_a_refused_call() -> None:
    caller = Caller(rolling(quota=1), rolling(quota=9, mode=Mode.SHADOW))
    assert caller.ask(1, 1).verdicts[1].remaining == 8
    assert caller.ask(1, 1).verdicts[1].remaining == 8


def test_a_peek_shows_the_present_and_what_would_happen() -> None:
    caller = Caller(rolling(quota=3, window_us=60))
    caller.ask(2)
    room, no_room = caller.ask(1, after_us=10, commit=False), caller.ask(2, commit=False)
    assert room.admitted
    assert room.verdicts[0] == (True, 1, 50, 50, 0)
    assert no_room.verdicts[0] == (False, 1, 50, 50, 50)


def test_a_peek_does_not_settle_a_clock_step() -> None:
    caller = Caller(rolling(quota=1, window_us=60))
    caller.ask(1)
    before = caller.states
    assert caller.ask(1, after_us=-1000, commit=False).verdicts[0].retry_us == 60
    assert caller.states == before
    assert not caller.ask(1).admitted
    assert caller.ask(1, after_us=60).admitted


def test_no_limits_admit() -> None:
    assert decide([], [], NOW, "") == (Decision(True, (), NOW), ())


def test_a_cost_above_the_quota_takes_the_whole_quota() -> None:
    caller = Caller(rolling(quota=3, window_us=60))
    assert caller.ask(7).verdicts[0] == (True, 0, 60, 60, 0)
    assert caller.ask(7).verdicts[0].retry_us == 60


def test_a_partition_charged_twice_is_an_error() -> None:
    charges = [Charge(rolling(), "same", 1), Charge(bucket(), "same", 1)]
    with pytest.raises(ValueError, match="charged twice"):
        decide(charges, [None, None], NOW, "")


@pytest.mark.parametrize("cost", [0, -1])
def test_a_call_costs_something(cost: int) -> None:
    with pytest.raises(ValueError, match="cannot cost"):
        decide([Charge(rolling(), "p", cost)], [None], NOW, "")


def test_another_algorithm_starts_afresh() -> None:
    used = [Log().charged(rolling(), 5, NOW, ""), Tally(NOW, 5), Bucket(0, NOW, 1), Leases({"a": NOW + 1})]
    for limit in (rolling(), fixed(), bucket(), concurrency()):
        kept = [state for state in used if state_for(limit, state) is state]
        assert len(kept) == 1
        for state in used:
            afresh = decide([Charge(limit, "p", 1)], [state], NOW, "x")[0].verdicts[0].remaining
            assert afresh == limit.quota - 1 or state is kept[0]


@settings(max_examples=as_many(150), deadline=None)
@given(st.lists(any_limit, min_size=1, max_size=4), st.lists(st.booleans(), min_size=4, max_size=4), calls)
def test_all_or_nothing(limits: list[Limit], shadows: list[bool], pattern: list[tuple[int, int]]) -> None:
    modes = [Mode.SHADOW if shadow else Mode.ENFORCE for shadow in shadows]
    limits = [
        Limit(f"l{i}", one.algorithm, one.quota, one.window_us, (), one.rate, one.per_us, one.quantum_us, mode)
        for i, (one, mode) in enumerate(zip(limits, modes, strict=False))
    ]
    caller = Caller(*limits)
    for wait_us, cost in pattern:
        present = caller.ask(*[1] * len(limits), after_us=wait_us, commit=False)
        before = caller.states
        decision = caller.ask(*[cost] * len(limits))
        enforced = [v for limit, v in zip(limits, decision.verdicts, strict=True) if limit.mode is Mode.ENFORCE]
        assert decision.admitted == all(verdict.admitted for verdict in enforced)
        for limit, was, verdict, old, new in zip(
            limits, present.verdicts, decision.verdicts, before, caller.states, strict=True
        ):
            charged = decision.admitted and verdict.admitted
            assert verdict.remaining == was.remaining - charged * min(cost, limit.quota)
            assert charged or new is old


@settings(max_examples=as_many(150), deadline=None)
@given(st.lists(timed_limits, min_size=1, max_size=4), calls)
def test_who_waits_the_longest_of_the_waits_is_admitted(limits: list[Limit], pattern: list[tuple[int, int]]) -> None:
    """By every limit of the call together; and not a microsecond earlier."""
    caller = Caller(*limits)
    for wait_us, cost in pattern:
        costs = [cost] * len(limits)
        retry_us = max(verdict.retry_us for verdict in caller.ask(*costs, after_us=wait_us).verdicts)
        if retry_us:
            assert not caller.ask(*costs, after_us=retry_us - 1, commit=False).admitted
            assert caller.ask(*costs, after_us=1).admitted


def test_all_that_one_store_charged_was_charged_at_one_time() -> None:
    assert Decision(True, (), NOW).charged_at_us(3) == NOW
