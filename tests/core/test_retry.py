"""When a failed attempt is followed by another."""

import heapq
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.retry import CHANCE_BITS, Backoff, Budget, Repeat, Retry, Share, Stop, plan

S = 1_000_000
TOP = 2**CHANCE_BITS - 1
VENDOR_B = Retry("standard", attempts=5, backoff=Backoff((1 * S, 2 * S, 4 * S, 8 * S), jitter_ppm=0))

chances = st.integers(0, TOP)
waits = st.integers(1, 3600 * S)
backoffs = st.builds(
    Backoff,
    st.lists(waits, max_size=4).map(tuple),
    jitter_ppm=st.integers(0, 1_000_000),
    base_us=waits,
    max_us=waits,
)
retries = st.builds(
    Retry,
    name=st.just("any"),
    attempts=st.integers(1, 20),
    backoff=backoffs,
    max_wait_us=waits,
    total_us=st.just(0) | st.integers(1, 7200 * S),
)


def moments(retry: Retry, *, asked_us: int = 0, chance: int = 0) -> tuple[list[int], Stop]:
    """When attempts begin, in seconds, if each fails at once; and why there are no more."""
    now_us, at = 0, [0]
    while True:
        wait = plan(retry, len(at), asked_us, now_us, chance)
        if isinstance(wait, Stop):
            return at, wait
        now_us += wait
        at.append(now_us // S)


class TestSchedule:
    def test_five_attempts_at_0_1_3_7_15_seconds(self) -> None:
        assert moments(VENDOR_B) == ([0, 1, 3, 7, 15], Stop.ATTEMPTS)

    def test_the_last_wait_repeats(self) -> None:
        assert moments(replace(VENDOR_B, attempts=7))[0] == [0, 1, 3, 7, 15, 23, 31]

    def test_jitter_lengthens_only(self) -> None:
        backoff = replace(VENDOR_B.backoff, jitter_ppm=100_000)
        assert backoff.wait_us(4, TOP) == pytest.approx(8.8 * S, abs=1)
        assert backoff.wait_us(4, 0) == 8 * S


class TestExponential:
    @pytest.mark.parametrize(
        ("failed", "most"), [(1, 250_000), (2, 500_000), (3, 1 * S), (6, 8 * S), (7, 10 * S), (99, 10 * S)]
    )
    def test_jitter_takes_anything_up_to_the_doubled_base_but_hardly_nothing(self, failed: int, most: int) -> None:
        least = most // 10
        waits = [Backoff().wait_us(failed, chance) for chance in (0, 2**31, TOP)]
        assert waits == [least, least + (most - least) // 2, most - 1]


class TestWhatTheUpstreamAsksFor:
    def test_a_longer_wait_replaces_the_schedule(self) -> None:
        assert moments(VENDOR_B, asked_us=3 * S)[0] == [0, 3, 6, 10, 18]

    def test_not_all_who_were_asked_come_back_at_once(self) -> None:
        assert VENDOR_B.backoff.jitter_ppm == 0
        assert [VENDOR_B.backoff.asked_us(20 * S, chance) for chance in (0, 2**31, TOP)] == [20 * S, 21 * S, 22 * S - 1]
        assert Backoff(jitter_ppm=500_000).asked_us(20 * S, 2**31) == 25 * S

    def test_longer_than_allowed_is_answered_now(self) -> None:
        assert plan(VENDOR_B, 1, 30 * S, 0, 0) == 30 * S
        assert plan(VENDOR_B, 1, 30 * S + 1, 0, 0) is Stop.UPSTREAM_WAIT

    def test_the_last_attempt_was_the_last_whatever_it_asks(self) -> None:
        assert plan(VENDOR_B, 5, 3600 * S, 0, 0) is Stop.ATTEMPTS


class TestDeadlines:
    def test_a_wait_that_does_not_fit_is_not_begun(self) -> None:
        assert moments(replace(VENDOR_B, total_us=10 * S)) == ([0, 1, 3, 7], Stop.DEADLINE)
        assert moments(replace(VENDOR_B, total_us=15 * S)) == ([0, 1, 3, 7], Stop.DEADLINE)
        assert moments(replace(VENDOR_B, total_us=15 * S + 1)) == ([0, 1, 3, 7, 15], Stop.ATTEMPTS)

    def test_an_attempt_waits_for_the_least_of_all_bounds(self) -> None:
        bounded = replace(VENDOR_B, per_try_us=5 * S, total_us=20 * S)
        assert VENDOR_B.answer_within_us(9 * S, 0) == 9 * S
        assert [bounded.answer_within_us(9 * S, s * S) for s in (0, 15, 18, 20, 25)] == [5 * S, 5 * S, 2 * S, 1, 1]
        assert bounded.answer_within_us(3 * S, 0) == 3 * S


@given(retries, st.integers(1, 25), st.integers(0, 7200 * S), st.integers(0, 7200 * S), chances)
def test_every_plan_keeps_every_promise(retry: Retry, failed: int, asked_us: int, elapsed_us: int, chance: int) -> None:
    wait = plan(retry, failed, asked_us, elapsed_us, chance)
    if isinstance(wait, Stop):
        fits = failed < retry.attempts and asked_us <= retry.max_wait_us
        assert not fits or retry.total_us
        return
    assert failed < retry.attempts
    assert asked_us <= min(wait, retry.max_wait_us)
    assert not retry.total_us or elapsed_us + wait < retry.total_us
    longest = max(*retry.backoff.schedule_us, 0, 0) or retry.backoff.max_us
    assert wait <= max(longest, asked_us) * 2


@pytest.mark.parametrize(
    ("method", "key", "others", "repeats"),
    [
        ("GET", False, Repeat.NEVER, True),
        ("PUT", False, Repeat.NEVER, True),
        ("POST", False, Repeat.WITH_IDEMPOTENCY_KEY, False),
        ("POST", True, Repeat.WITH_IDEMPOTENCY_KEY, True),
        ("PATCH", True, Repeat.NEVER, False),
        ("POST", False, Repeat.ALWAYS, True),
        ("get", False, Repeat.NEVER, False),  # methods are case-sensitive: this is not GET
    ],
)
def test_what_may_be_sent_twice(method: str, key: bool, others: Repeat, repeats: bool) -> None:
    assert replace(VENDOR_B, others=others).repeats(method, key) is repeats


class TestBudget:
    def test_five_calls_pay_for_one_retry(self) -> None:
        budget = Budget(Share(percent=20, min_concurrent=0))
        taken = [budget.take(calls) for calls in range(1, 21)]
        assert [position for position, granted in enumerate(taken, 1) if granted] == [5, 10, 15, 20]

    def test_a_quiet_upstream_gets_every_retry(self) -> None:
        budget = Budget(Share(percent=20, min_concurrent=1))
        for call in range(1, 50):
            for _ in range(4):
                assert budget.take(call)
                budget.end()

    def test_more_at_a_time_need_credit(self) -> None:
        budget = Budget(Share(percent=20, min_concurrent=2))
        assert [budget.take(2), budget.take(3), budget.take(4)] == [True, True, False]
        budget.end()
        assert budget.take(5)

    def test_what_is_saved_up_is_little(self) -> None:
        budget = Budget(Share(percent=20, min_concurrent=0))
        assert [budget.take(1_000_000) for _ in range(11)] == [True] * 10 + [False]

    def test_what_is_owed_is_little(self) -> None:
        budget = Budget(Share(percent=100, min_concurrent=1))
        for _ in range(1000):
            assert budget.take(0)
            budget.end()
        assert budget.take(0)
        assert [budget.take(calls) for calls in (1, 50, 51)] == [False, False, True]

    def test_nothing_at_all_when_switched_off(self) -> None:
        assert not Budget(Share(percent=0, min_concurrent=0)).take(1000)

    @given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=300), st.integers(0, 100))
    def test_never_more_than_its_share(self, steps: list[tuple[int, bool]], percent: int) -> None:
        budget, calls, granted = Budget(Share(percent, min_concurrent=0)), 0, 0
        for more, ends in steps:
            calls += more
            granted += budget.take(calls)
            if ends and budget.under_way:
                budget.end()
            assert granted * 100 <= calls * percent

    @pytest.mark.parametrize("rate", [10, 100])
    def test_under_a_total_outage_a_busy_upstream_sees_a_fifth_more_calls(self, rate: int) -> None:
        """`rate` calls a second for two minutes, every attempt fails after 50 ms, each call wants four more."""
        budget, calls, attempts = Budget(VENDOR_B.share or Share()), 0, 0
        due = [(number * S // rate, 1) for number in range(rate * 120)]
        while due:
            now_us, attempt = heapq.heappop(due)
            attempts += 1
            calls += attempt == 1
            if attempt > 1:
                budget.end()
            wait = plan(VENDOR_B, attempt, 0, 0, 0)
            if not isinstance(wait, Stop) and budget.take(calls):
                heapq.heappush(due, (now_us + 50_000 + wait, attempt + 1))
        assert calls * 1.15 < attempts <= calls * 1.2 + 10
        assert budget.under_way == 0
