"""What each call of a run is told is what it would be told if it were decided alone, after those before it."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.algorithms import Bucket, State
from gateway.core.decision import decide
from gateway.core.guards import Standing
from gateway.core.guards import State as Phase
from gateway.core.limits import Charge, Decision, Limit, Mode, Verdict
from gateway.core.runs import Run, told
from tests.core.limit_cases import Partition, bucket, bucket_limits, calls, fixed, fixed_limits, rolling, rolling_limits

NOW = 1_000_000_000


def as_a_store_tells(verdict: Verdict, limit: Limit, state: State | None, now_us: int) -> Verdict:
    if not isinstance(state, Bucket):
        return verdict
    return verdict._replace(reset_us=limit.quota * limit.per_us - state._level(limit, now_us))


def alike(one: Decision, other: Decision) -> bool:
    """Whether the same was charged."""
    return (one.admitted, [v.admitted for v in one.verdicts]) == (other.admitted, [v.admitted for v in other.verdicts])


@given(
    limits=st.lists(rolling_limits | bucket_limits | fixed_limits, min_size=1, max_size=3),
    shadows=st.tuples(*[st.booleans()] * 3),
    history=calls,
    costs=st.tuples(*[st.integers(1, 4)] * 3),
    step_us=st.integers(-50, 50),
)
def test_each_call_of_a_run_hears_what_it_would_hear_alone(
    limits: list[Limit], shadows: tuple[bool, ...], history: list[tuple[int, int]], costs: tuple[int, ...], step_us: int
) -> None:
    limits = [replace(limit, mode=Mode.SHADOW) if shadows[at] else limit for at, limit in enumerate(limits)]
    charges = [Charge(limit, str(at), costs[at]) for at, limit in enumerate(limits)]
    lives = [Partition.after(limit, history) for limit in limits]
    states: tuple[State | None, ...] = tuple(life.state for life in lives)
    now_us = lives[0].now_us + step_us
    alone: list[Decision] = []
    for _ in range(9):
        decision, after = decide(charges, states, now_us, "")
        if alone and not alike(decision, alone[-1]):
            break
        alone, states = [*alone, decision], after
    last = alone[-1]
    said = [
        as_a_store_tells(verdict, limit, state, now_us)
        for verdict, limit, state in zip(last.verdicts, limits, states, strict=True)
    ]
    assert told(Run(len(alone), last._replace(verdicts=tuple(said))), charges) == alone


def test_what_is_left_goes_down_by_the_cost_and_nothing_else_changes() -> None:
    charges = [Charge(rolling(quota=9), "r", 2), Charge(fixed(quota=5), "f", 1)]
    window, tally = Verdict(True, 3, 60, 60, 0), Verdict(True, 2, 7, 7, 0)
    first, second, third = told(Run(3, Decision(True, (window, tally), NOW)), charges)
    assert [verdict.remaining for verdict in first.verdicts] == [7, 4]
    assert [verdict.remaining for verdict in second.verdicts] == [5, 3]
    assert third == Decision(True, (window, tally), NOW)
    assert second == third._replace(verdicts=(window._replace(remaining=5), tally._replace(remaining=3)))


def test_a_bucket_is_full_again_the_later_the_more_were_let_in() -> None:
    limit = bucket(quota=5, rate=3, per_us=10)
    answers = told(Run(3, Decision(True, (Verdict(True, 2, 30, 4, 0),), NOW)), [Charge(limit, "b", 1)])
    assert [answer.verdicts[0].reset_us for answer in answers] == [4, 7, 10]


def test_whom_one_limit_refuses_the_others_do_not_charge() -> None:
    verdicts = (Verdict(True, 3, 60, 60, 0), Verdict(False, 0, 30, 4, 4))
    charges = [Charge(rolling(), "r", 1), Charge(bucket(rate=3), "b", 1)]
    answers = told(Run(4, Decision(False, verdicts, NOW)), charges)
    assert answers == [Decision(False, (verdicts[0], verdicts[1]._replace(reset_us=10)), NOW)] * 4


@pytest.mark.parametrize("admitted", [True, False])
def test_where_no_limit_was_asked_all_hear_the_same(*, admitted: bool) -> None:
    """There are none, or a guard held the calls back before."""
    decision = Decision(admitted, (), NOW, (Standing(Phase.OPEN, 5),))
    assert told(Run(2, decision), [] if admitted else [Charge(fixed(), "f", 1)]) == [decision] * 2
