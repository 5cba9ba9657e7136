"""What every algorithm promises, on random call patterns; the oracle is the list of admitted calls alone."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.algorithms import Bucket, Leases, Log, Tally
from gateway.core.algorithms.bounds import max_entries, out_of_bounds
from gateway.core.limits import Algorithm, Limit
from tests.core.limit_cases import (
    SECOND_US,
    Partition,
    any_limit,
    bucket,
    bucket_limits,
    calls,
    concurrency,
    concurrency_limits,
    exact_rolling_limits,
    fixed,
    fixed_limits,
    precise,
    precise_rolling_limits,
    rolling,
    rolling_limits,
    timed_limits,
)

FEW = settings(max_examples=150, deadline=None)


@FEW
@given(rolling_limits, calls)
def test_rolling_window_never_over_the_quota_in_any_window(limit: Limit, pattern: list[tuple[int, int]]) -> None:
    partition = Partition(limit)
    for wait_us, cost in pattern:
        partition.ask(cost, after_us=wait_us)
    assert partition.most_in_any(limit.window_us) <= limit.quota


@FEW
@given(exact_rolling_limits, calls)
def test_exact_rolling_window_refuses_only_what_would_be_over(limit: Limit, pattern: list[tuple[int, int]]) -> None:
    partition = Partition(limit)
    for wait_us, cost in pattern:
        verdict = partition.ask(cost, after_us=wait_us)
        if not verdict.admitted:
            used = partition.used_in(partition.now_us - limit.window_us + 1, partition.now_us + 1)
            assert used + min(cost, limit.quota) > limit.quota
            assert verdict.remaining == limit.quota - used


@FEW
@given(precise_rolling_limits, calls)
def test_precision_refuses_at_most_one_quantum_longer(limit: Limit, pattern: list[tuple[int, int]]) -> None:
    partition = Partition(limit)
    for wait_us, cost in pattern:
        if not partition.ask(cost, after_us=wait_us).admitted:
            longer_us = limit.window_us + limit.quantum_us
            used = partition.used_in(partition.now_us - longer_us + 2, partition.now_us + 1)
            assert used + min(cost, limit.quota) > limit.quota


@FEW
@given(bucket_limits, calls)
def test_bucket_admits_at_most_burst_plus_refill_in_any_span(limit: Limit, pattern: list[tuple[int, int]]) -> None:
    partition = Partition(limit)
    for wait_us, cost in pattern:
        partition.ask(cost, after_us=wait_us)
    times = [time_us for time_us, _ in partition.admitted]
    for start in times:
        for end in times:
            if start <= end:
                bound = limit.quota * limit.per_us + limit.rate * (end - start)
                assert partition.used_in(start, end + 1) * limit.per_us <= bound


@FEW
@given(bucket_limits, calls)
def test_bucket_loses_no_fraction(limit: Limit, pattern: list[tuple[int, int]]) -> None:
    """A refused caller is refused because an exact bucket of rational numbers would refuse as well."""
    partition, level, last_us = Partition(limit), limit.quota * limit.per_us, 0
    for wait_us, cost in pattern:
        verdict = partition.ask(cost, after_us=wait_us)
        if last_us:
            level = min(limit.quota * limit.per_us, level + limit.rate * (partition.now_us - last_us))
        last_us = partition.now_us
        cost = min(cost, limit.quota)
        assert verdict.admitted == (level >= cost * limit.per_us)
        level -= cost * limit.per_us * verdict.admitted
        assert verdict.remaining == level // limit.per_us


@FEW
@given(fixed_limits, calls)
def test_fixed_window_admits_exactly_the_quota_of_each_window(limit: Limit, pattern: list[tuple[int, int]]) -> None:
    partition = Partition(limit)
    for wait_us, cost in pattern:
        verdict = partition.ask(cost, after_us=wait_us)
        start = partition.now_us - partition.now_us % limit.window_us
        used = partition.used_in(start, start + limit.window_us)
        assert used <= limit.quota
        assert verdict.remaining == limit.quota - used
        if not verdict.admitted:
            assert used + min(cost, limit.quota) > limit.quota


@FEW
@given(concurrency_limits, calls)
def test_concurrency_counts_the_leases_that_have_not_lapsed(limit: Limit, pattern: list[tuple[int, int]]) -> None:
    partition = Partition(limit)
    for wait_us, cost in pattern:
        verdict = partition.ask(cost, after_us=wait_us)
        running = partition.used_in(partition.now_us - limit.window_us + 1, partition.now_us + 1)
        assert running <= limit.quota
        assert verdict.remaining == limit.quota - running
        if not verdict.admitted:
            assert running + min(cost, limit.quota) > limit.quota


@FEW
@given(timed_limits, calls, st.integers(1, 12))
def test_who_waits_exactly_retry_us_is_admitted_and_not_a_microsecond_earlier(
    limit: Limit, pattern: list[tuple[int, int]], cost: int
) -> None:
    partition = Partition(limit)
    for wait_us, spent in pattern:
        partition.ask(spent, after_us=wait_us)
        retry_us = partition.would(cost).retry_us
        assert partition.would(cost).admitted == (retry_us == 0)
        assert partition.would(cost, after_us=retry_us).admitted
        if retry_us:
            assert not partition.would(cost, after_us=retry_us - 1).admitted
            whole_seconds_us = -(-retry_us // 1_000_000) * 1_000_000
            assert partition.would(cost, after_us=whole_seconds_us).admitted


@FEW
@given(timed_limits, calls)
def test_reset_and_more_say_when_units_come_back(limit: Limit, pattern: list[tuple[int, int]]) -> None:
    partition = Partition(limit)
    for wait_us, cost in pattern:
        verdict = partition.ask(cost, after_us=wait_us)
        assert 0 <= verdict.more_us <= verdict.reset_us
        assert (verdict.remaining == limit.quota) == (verdict.reset_us == 0)
        assert partition.would(1, after_us=verdict.reset_us).remaining == limit.quota
        if verdict.reset_us:
            assert partition.would(1, after_us=verdict.reset_us - 1).remaining <= limit.quota - 1
            assert partition.would(1, after_us=verdict.more_us).remaining > verdict.remaining
            assert partition.would(1, after_us=verdict.more_us - 1).remaining == verdict.remaining


@FEW
@given(any_limit, calls, st.integers(1, 12))
def test_a_refused_call_and_a_peek_change_nothing(limit: Limit, pattern: list[tuple[int, int]], cost: int) -> None:
    partition = Partition(limit)
    for wait_us, spent in pattern:
        before = partition.state
        partition.would(cost, after_us=wait_us)
        assert partition.state is before
        if not partition.ask(spent, after_us=wait_us).admitted:
            assert partition.state is before


@FEW
@given(timed_limits, calls, st.integers(1, 10_000), st.integers(1, 12))
def test_a_clock_that_steps_back_blocks_nobody_longer_than_one_window(
    limit: Limit, pattern: list[tuple[int, int]], step_us: int, cost: int
) -> None:
    partition = Partition(limit)
    for wait_us, spent in pattern:
        partition.ask(spent, after_us=wait_us)
    verdict = partition.ask(cost, after_us=-step_us)
    assert verdict.retry_us < limit.window_us + limit.quantum_us
    if not verdict.admitted:
        early_us = verdict.retry_us - 1
        assert not partition.ask(cost, after_us=early_us).admitted  # asking does not make the wait longer
        assert partition.ask(cost, after_us=1).admitted


@FEW
@given(exact_rolling_limits, calls, st.integers(1, 10_000))
def test_a_clock_that_steps_back_keeps_the_spacing_of_a_rolling_window(
    limit: Limit, pattern: list[tuple[int, int]], step_us: int
) -> None:
    """The log seen after the step is the log seen before it: the newest call is dated now, the others as far behind."""
    partition = Partition(limit)
    for wait_us, spent in pattern:
        partition.ask(spent, after_us=wait_us)
    newest_us = partition.admitted[-1][0]
    partition.now_us = newest_us
    before = partition.would(limit.quota)
    partition.now_us = newest_us - step_us
    assert partition.would(limit.quota) == before


@FEW
@given(concurrency_limits, calls, st.integers(1, 10_000))
def test_no_lease_lasts_longer_than_one_window_after_a_clock_step(
    limit: Limit, pattern: list[tuple[int, int]], step_us: int
) -> None:
    partition = Partition(limit)
    for wait_us, spent in pattern:
        partition.ask(spent, after_us=wait_us)
    assert partition.ask(1, after_us=-step_us).reset_us <= limit.window_us
    assert partition.would(1, after_us=limit.window_us).remaining == limit.quota


@FEW
@given(any_limit, calls, any_limit, calls)
def test_other_numbers_go_on_from_the_same_state(
    old: Limit, pattern: list[tuple[int, int]], new: Limit, later: list[tuple[int, int]]
) -> None:
    """A policy reload: nothing fails, nothing is admitted beyond the new quota, and the promises hold again."""
    partition = Partition(old)
    for wait_us, spent in pattern:
        partition.ask(spent, after_us=wait_us)
    partition.limit = new
    for wait_us, spent in later:
        room = partition.would(1, after_us=wait_us).remaining
        verdict = partition.ask(spent, after_us=wait_us)
        assert 0 <= verdict.remaining <= new.quota
        assert verdict.admitted == (min(spent, new.quota) <= room)
        if new.algorithm is not Algorithm.CONCURRENCY:
            assert partition.would(spent, after_us=partition.would(spent).retry_us).admitted


@FEW
@given(exact_rolling_limits, calls, st.integers(1, 12))
def test_a_lower_quota_counts_what_was_used_before(limit: Limit, pattern: list[tuple[int, int]], quota: int) -> None:
    partition = Partition(limit)
    for wait_us, spent in pattern:
        partition.ask(spent, after_us=wait_us)
    used = partition.used_in(partition.now_us - limit.window_us + 1, partition.now_us + 1)
    partition.limit = Limit(limit.name, limit.algorithm, quota, limit.window_us, limit.key)
    assert partition.ask(1).admitted == (used < quota)


def test_a_lease_is_given_back_and_renewed_only_while_it_is_held() -> None:
    limit = concurrency(quota=3, window_us=100)
    leases = Leases().charged(limit, 2, 1000, "a").charged(limit, 1, 1050, "b")
    assert leases.present(limit, 1050) == (0, 100, 100)
    assert leases.released(2, "a").present(limit, 1050) == (2, 100, 100)
    assert leases.released(1, "unknown") == leases
    assert leases.renewed(limit, 2, 1099, "a").present(limit, 1150) == (1, 49, 49)
    assert leases.renewed(limit, 2, 1100, "a").present(limit, 1100) == (2, 50, 50)


def test_a_full_concurrency_limit_asks_to_look_again_in_a_second() -> None:
    limit = concurrency(quota=1, window_us=60 * SECOND_US)
    leases = Leases().charged(limit, 1, 0, "a")
    assert leases.retry_us(limit, 1, 10) == SECOND_US
    assert leases.present(limit, 10) == (0, 60 * SECOND_US - 10, SECOND_US)


def test_a_log_is_a_value_whatever_its_successors_do() -> None:
    limit = rolling(quota=100, window_us=1000)
    log = Log().charged(limit, 1, 1, "").charged(limit, 1, 2, "")
    one, other = log.charged(limit, 5, 3, ""), log.charged(limit, 7, 4, "")
    assert log.present(limit, 10)[0] == 98
    assert one.present(limit, 10)[0] == 93
    assert other.present(limit, 10)[0] == 91
    assert other.charged(limit, 1, 5, "").present(limit, 1003) == (92, 2, 1)


def test_a_log_stays_as_short_as_what_counts() -> None:
    limit = rolling(quota=50, window_us=100)
    log = Log()
    for now_us in range(0, 20_000, 2):
        log = log.charged(limit, 1, now_us, "")
    assert log.present(limit, now_us) == (0, 100, 2)
    assert len(log.stamps) < 200


def test_a_finer_precision_never_dates_a_call_before_an_older_one() -> None:
    coarse, exact = rolling(quota=3, window_us=100, quantum_us=50), rolling(quota=3, window_us=100)
    log = Log().charged(coarse, 1, 1001, "")  # dated 1050
    log = log.charged(exact, 1, 1002, "").charged(exact, 1, 1050, "")
    assert log.present(exact, 1050) == (0, 100, 100)
    assert log.settled(exact, 1050) is log
    assert log.settled(exact, 1049).present(exact, 1049) == (0, 100, 100)


def test_a_bucket_keeps_its_whole_units_when_the_rate_changes() -> None:
    old, new = bucket(quota=5, rate=1, per_us=10), bucket(quota=9, rate=2, per_us=7)
    tokens = Bucket().charged(old, 3, 100, "")
    assert tokens.present(old, 105) == (2, 25, 5)
    assert tokens.present(new, 100) == (2, 25, 4)


def test_a_fixed_window_begins_at_a_multiple_of_its_length() -> None:
    limit = fixed(quota=2, window_us=60)
    tally = Tally().charged(limit, 2, 119, "")
    assert tally.retry_us(limit, 1, 119) == 1
    assert tally.present(limit, 120) == (2, 0, 0)


@pytest.mark.parametrize(
    ("limit", "says"),
    [
        (rolling(), None),
        (bucket(), None),
        (fixed(), None),
        (concurrency(), None),
        (precise(4_000_000_000, 10**9, 60), None),
        (rolling(quota=0), "between 1 and 4294967295"),
        (fixed(quota=2**32), "between 1 and 4294967295"),
        (concurrency(quota=100_001), "at most 100000 slots"),
        (fixed(window_us=0), "800 days"),
        (rolling(window_us=801 * 86400 * SECOND_US), "800 days"),
        (rolling(quantum_us=0), "precision"),
        (rolling(window_us=10, quantum_us=11), "precision"),
        (rolling(quota=2_000_000, window_us=10**9), "precision: N"),
        (bucket(quota=1_000_000, rate=1_000_003, per_us=10**10), "too large to count exactly"),
        (Limit("b", Algorithm.TOKEN_BUCKET, 5, 10, ()), "rate"),
    ],
)
def test_numbers_that_cannot_be_counted_are_named(limit: Limit, says: str | None) -> None:
    problem = out_of_bounds(limit)
    assert (problem is None) == (says is None)
    assert (says or "") in (problem or "")


def test_the_most_entries_a_log_can_hold() -> None:
    assert max_entries(rolling(quota=500, window_us=600)) == 500
    assert max_entries(precise(500, 600, 60)) == 61
