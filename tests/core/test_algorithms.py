"""What every algorithm promises, on random call patterns; the oracle is the list of admitted calls alone."""

from dataclasses import replace
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.limits import Algorithm, Limit
from tests.core.limit_cases import (
    Partition,
    any_limit,
    bucket_limits,
    calls,
    concurrency_limits,
    exact_rolling_limits,
    fixed_limits,
    precise_rolling_limits,
    rolling_limits,
    timed_limits,
)
from tests.fakes.examples import as_many

FEW = settings(max_examples=as_many(150), deadline=None)


@FEW
@given(rolling_limits, calls)
def test_rolling_window_never_over_the_quota_in_any_window(limit: Limit, pattern: list[tuple[int, int]]) -> None:
    partition = Partition.after(limit, pattern)
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
    partition = Partition.after(limit, pattern)
    times = [time_us for time_us, _ in partition.admitted]
    for start in times:
        for end in times:
            if start <= end:
                bound = limit.quota * limit.per_us + limit.rate * (end - start)
                assert partition.used_in(start, end + 1) * limit.per_us <= bound


@FEW
@given(exact_rolling_limits, calls, st.integers(0, 50), st.randoms())
def test_a_window_longer_by_the_difference_of_ways_holds_where_calls_arrive(
    theirs: Limit, pattern: list[tuple[int, int]], differ_us: int, ways: Random
) -> None:
    sent = Partition.after(replace(theirs, window_us=theirs.window_us + differ_us), pattern)
    arrived = Partition(theirs, admitted=[(at_us + ways.randint(0, differ_us), cost) for at_us, cost in sent.admitted])
    assert arrived.most_in_any(theirs.window_us) <= theirs.quota


@FEW
@given(bucket_limits, calls, st.integers(0, 50), st.randoms())
def test_a_burst_smaller_by_what_comes_back_in_the_difference_of_ways_holds_where_calls_arrive(
    ours: Limit, pattern: list[tuple[int, int]], differ_us: int, ways: Random
) -> None:
    theirs = ours.quota + -(-ours.rate * differ_us // ours.per_us)
    sent = Partition.after(ours, pattern)
    arrived = Partition(ours, admitted=[(at_us + ways.randint(0, differ_us), cost) for at_us, cost in sent.admitted])
    times = [at_us for at_us, _ in arrived.admitted]
    for start in times:
        for end in times:
            if start <= end:
                assert arrived.used_in(start, end + 1) * ours.per_us <= theirs * ours.per_us + ours.rate * (end - start)


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
    partition = Partition.after(limit, pattern)
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
    partition = Partition.after(limit, pattern)
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
    partition = Partition.after(limit, pattern)
    assert partition.ask(1, after_us=-step_us).reset_us <= limit.window_us
    assert partition.would(1, after_us=limit.window_us).remaining == limit.quota


@FEW
@given(any_limit, calls, any_limit, calls)
def test_other_numbers_go_on_from_the_same_state(
    old: Limit, pattern: list[tuple[int, int]], new: Limit, later: list[tuple[int, int]]
) -> None:
    """A policy reload: nothing fails, nothing is admitted beyond the new quota, and the promises hold again."""
    partition = Partition.after(old, pattern)
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
    partition = Partition.after(limit, pattern)
    used = partition.used_in(partition.now_us - limit.window_us + 1, partition.now_us + 1)
    partition.limit = Limit(limit.name, limit.algorithm, quota, limit.window_us, limit.key)
    assert partition.ask(1).admitted == (used < quota)
