"""What a call really cost, known late: less comes back, more is owed, and nothing is made up on the way."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.algorithms import Bucket, Leases, Log, State, Tally
from gateway.core.algorithms.rolling_window import MOST_MOVED, round_up
from gateway.core.decision import decide
from gateway.core.limits import Charge, Limit, Verdict
from gateway.core.settlement import Correction, corrected
from tests.core.limit_cases import bucket, bucket_limits, concurrency, fixed, fixed_limits, rolling, rolling_limits

NOW_US = 1_000_000_020  # a third of a window of 60 is over


def charge(limit: Limit, state: State | None, now_us: int, units: int) -> tuple[State, Verdict]:
    decision, (after,) = decide([Charge(limit, "k", units)], [state], now_us, "")
    return after, decision.verdicts[0]


def correct(limit: Limit, state: State | None, delta: int, at_us: int, now_us: int) -> State | None:
    return corrected(Correction(Charge(limit, "k", 1), delta), state, at_us, now_us)


def left(limit: Limit, state: State | None, now_us: int) -> int:
    """Units left; below 0 is owed."""
    room = Limit("x", limit.algorithm, 2**31, limit.window_us, (), limit.rate, limit.per_us, limit.quantum_us)
    if isinstance(state, Bucket):
        return state._level(limit, now_us) // limit.per_us
    assert state is not None
    return limit.quota - (room.quota - state.present(room, now_us)[0])


@pytest.mark.parametrize("limit", [rolling(), bucket(), fixed()], ids=lambda limit: limit.algorithm)
class TestEachAlgorithm:
    def test_too_much_comes_back(self, limit: Limit) -> None:
        state, _ = charge(limit, None, NOW_US, 4)
        assert left(limit, correct(limit, state, -3, NOW_US, NOW_US + 1), NOW_US + 1) == 4

    def test_a_call_that_cost_nothing_leaves_nothing(self, limit: Limit) -> None:
        state, _ = charge(limit, None, NOW_US, 4)
        after = correct(limit, state, -4, NOW_US, NOW_US + 1)
        assert after is not None
        assert after.present(limit, NOW_US + 1) == (5, 0, 0)

    def test_too_little_is_charged_beyond_the_limit(self, limit: Limit) -> None:
        state, _ = charge(limit, None, NOW_US, 4)
        after = correct(limit, state, 3, NOW_US, NOW_US + 1)
        assert left(limit, after, NOW_US + 1) == -2
        assert not charge(limit, after, NOW_US + 1, 1)[1].admitted

    def test_what_is_owed_is_told_as_a_wait_that_is_enough(self, limit: Limit) -> None:
        state, _ = charge(limit, None, NOW_US, 4)
        after = correct(limit, state, 3, NOW_US, NOW_US + 1)
        wait_us = charge(limit, after, NOW_US + 1, 1)[1].retry_us
        assert charge(limit, after, NOW_US + 1 + wait_us, 1)[1].admitted
        assert not charge(limit, after, NOW_US + wait_us, 1)[1].admitted

    def test_never_more_than_the_limit_again_is_owed(self, limit: Limit) -> None:
        state, _ = charge(limit, None, NOW_US, 4)
        for delta in (2**53, 1):
            state = correct(limit, state, delta, NOW_US, NOW_US + 1)
            assert left(limit, state, NOW_US + 1) == -5

    def test_nothing_to_put_right(self, limit: Limit) -> None:
        state, _ = charge(limit, None, NOW_US, 4)
        assert correct(limit, state, 0, NOW_US, NOW_US + 1) is state

    def test_of_what_nobody_remembers_nothing_comes_back(self, limit: Limit) -> None:
        assert correct(limit, None, -3, NOW_US, NOW_US + 1) is None

    def test_of_another_algorithm_nothing_comes_back(self, limit: Limit) -> None:
        leases = Leases({"a": NOW_US + 50})
        assert correct(limit, leases, -3, NOW_US, NOW_US + 1) is leases

    def test_too_little_is_charged_also_where_nobody_remembers(self, limit: Limit) -> None:
        assert left(limit, correct(limit, None, 3, NOW_US - 1000, NOW_US), NOW_US) == 2


def test_slots_are_not_corrected() -> None:
    limit = concurrency()
    state, _ = charge(limit, None, NOW_US, 4)
    assert correct(limit, state, -3, NOW_US, NOW_US + 1) is state
    assert correct(limit, state, 3, NOW_US, NOW_US + 1) is state


class TestRollingWindow:
    limit = rolling()

    def test_a_charge_that_counts_no_more_gives_nothing_back(self) -> None:
        state, _ = charge(self.limit, None, NOW_US, 2)
        state, _ = charge(self.limit, state, NOW_US + 30, 2)
        assert left(self.limit, correct(self.limit, state, -2, NOW_US, NOW_US + 60), NOW_US + 60) == 3
        assert correct(self.limit, state, -2, NOW_US, NOW_US + 90) is state

    def test_a_date_without_a_charge_gives_nothing_back(self) -> None:
        state, _ = charge(self.limit, None, NOW_US, 2)
        state, _ = charge(self.limit, state, NOW_US + 30, 2)
        for at_us in (NOW_US - 1, NOW_US + 1, NOW_US + 31):
            assert correct(self.limit, state, -1, at_us, NOW_US + 31) is state

    def test_the_rest_comes_back_when_it_would_have(self) -> None:
        state: State | None = None
        for at_us in (0, 10, 20):
            state, _ = charge(self.limit, state, NOW_US + at_us, 1 + at_us // 20)
        after = correct(self.limit, state, -1, NOW_US + 20, NOW_US + 21)
        assert after is not None
        frees = [left(self.limit, after, NOW_US + wait_us) for wait_us in (59, 60, 69, 70, 79, 80)]
        assert frees == [2, 3, 3, 4, 4, 5]

    def test_the_newest_that_cost_nothing(self) -> None:
        state, _ = charge(self.limit, None, NOW_US, 1)
        state, _ = charge(self.limit, state, NOW_US + 10, 1)
        after = correct(self.limit, state, -1, NOW_US + 10, NOW_US + 11)
        assert after is not None
        assert after.present(self.limit, NOW_US + 11) == (4, 49, 49)

    def test_a_charge_with_very_many_behind_it_stays(self) -> None:
        limit, state = rolling(MOST_MOVED + 9, 10**9), None
        for number in range(MOST_MOVED + 1):
            state, _ = charge(limit, state, NOW_US + number, 1)
        now_us = NOW_US + MOST_MOVED + 1
        assert correct(limit, state, -1, NOW_US, now_us) is state
        assert left(limit, correct(limit, state, -1, NOW_US + 1, now_us), now_us) == 9


class TestFixedWindow:
    limit = fixed()

    def test_nothing_comes_back_from_a_window_that_is_over(self) -> None:
        border_us = NOW_US - NOW_US % 60 + 60
        state, _ = charge(self.limit, None, NOW_US, 4)
        state, _ = charge(self.limit, state, border_us, 3)
        assert left(self.limit, correct(self.limit, state, -4, NOW_US, border_us), border_us) == 2

    def test_where_no_more_can_be_owed_nothing_changes_whatever_the_limit_is_now(self) -> None:
        state, _ = charge(self.limit, None, NOW_US, 4)
        tighter = fixed(quota=1)
        assert correct(tighter, state, 1, NOW_US, NOW_US + 1) is state

    def test_what_was_too_little_counts_in_the_window_in_which_it_is_known(self) -> None:
        state, _ = charge(self.limit, None, NOW_US, 4)
        assert left(self.limit, correct(self.limit, state, 2, NOW_US, NOW_US + 60), NOW_US + 60) == 3


class TestTokenBucket:
    def test_debt_is_cut_with_the_burst(self) -> None:
        state, _ = charge(bucket(), None, NOW_US, 5)
        state = correct(bucket(), state, 5, NOW_US, NOW_US)
        assert state is not None
        assert left(bucket(2), state, NOW_US) == -2
        assert state.present(bucket(2), NOW_US) == (0, 40, 30)

    def test_debt_follows_another_rate(self) -> None:
        state, _ = charge(bucket(), None, NOW_US, 5)
        state = correct(bucket(), state, 3, NOW_US, NOW_US)
        assert left(bucket(per_us=70), state, NOW_US) == -3

    def test_no_more_is_owed_than_can_be_counted(self) -> None:
        huge = bucket(2**32 - 1, 1, 2**21 - 1)
        state, _ = charge(huge, None, NOW_US, 1)
        state = correct(huge, state, 2**53, NOW_US, NOW_US)
        assert isinstance(state, Bucket)
        assert state.level == huge.quota * huge.per_us + 1 - 2**53 > -huge.quota * huge.per_us


calls = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 5), st.integers(0, 9), st.integers(0, 80)), max_size=25)
"""Wait so long, reserve so much, cost so much, answer after so long."""


def run(limit: Limit, made: list[tuple[int, int, int, int]]) -> tuple[list[tuple[int, str, int, int]], State | None]:
    """What really happened, in order: (when, reserved or settled, units or delta, when it was reserved)."""
    now_us, plan = NOW_US, []
    for serial, (wait_us, reserve, cost, takes_us) in enumerate(made):
        now_us += wait_us
        plan += [(now_us, 0, serial, reserve), (now_us + takes_us, 1, serial, cost)]
    state, held, happened = None, {}, []
    for at_us, settles, serial, units in sorted(plan):
        if not settles and units <= limit.quota:
            state, verdict = charge(limit, state, at_us, units)
            if verdict.admitted:
                held[serial] = (at_us, units)
                happened.append((at_us, "reserved", units, at_us))
        elif settles and serial in held:
            began_us, reserved = held[serial]
            state = correct(limit, state, units - reserved, began_us, at_us)
            happened.append((at_us, "settled", units - reserved, began_us))
    return happened, state


@given(rolling_limits, calls)
def test_a_rolling_window_counts_what_calls_really_cost(limit: Limit, made: list[tuple[int, int, int, int]]) -> None:
    happened, state = run(limit, made)
    entries: list[list[int]] = []
    for at_us, what, units, began_us in happened:
        used = sum(n for date, n in entries if at_us < date + limit.window_us)
        if what == "reserved" or units > 0:
            entries.append([round_up(at_us, limit.quantum_us), min(units, 2 * limit.quota - used)])
        else:
            dated_us, back = round_up(began_us, limit.quantum_us), -units
            for entry in entries:
                if entry[0] == dated_us and at_us < dated_us + limit.window_us:
                    back -= (less := min(back, entry[1]))
                    entry[1] -= less
        now_us = at_us
        counting = sum(n for date, n in entries if now_us < date + limit.window_us)
    if happened:
        assert left(limit, state, now_us) == limit.quota - counting


@given(fixed_limits | bucket_limits | rolling_limits, calls)
def test_it_stays_between_full_and_the_limit_owed(limit: Limit, made: list[tuple[int, int, int, int]]) -> None:
    happened, state = run(limit, made)
    if happened:
        assert -limit.quota <= left(limit, state, happened[-1][0]) <= limit.quota
        assert isinstance(state, Log | Bucket | Tally)
