"""What another number makes of a limit, and of a question. How it is kept: tests/contract/test_grants.py."""

from dataclasses import replace

from gateway.core.ask import Ask
from gateway.core.grant import counted, granted, left_without, under, why_not
from gateway.core.guards import Breaker, Guard
from gateway.core.guards.pause import Pausing
from gateway.core.limits import Algorithm, Charge, Limit
from gateway.core.measure import Measure, Source

SECOND = 1_000_000
HOUR = 3600 * SECOND
TALLY = Limit("l", Algorithm.FIXED_WINDOW, 3, HOUR, ("k",))
SLOTS = Limit("c", Algorithm.CONCURRENCY, 3, HOUR, ("k",))


def test_a_buckets_rate_changes_in_proportion() -> None:
    bucket = Limit("b", Algorithm.TOKEN_BUCKET, 40, 2 * SECOND, ("k",), rate=20, per_us=SECOND)
    twice = granted(bucket, 80)
    assert (twice.quota, twice.rate, twice.per_us) == (80, 1, SECOND // 40)
    assert granted(replace(bucket, rate=1, per_us=SECOND, times=60), 80).said == (120, 60 * SECOND)
    assert granted(replace(bucket, rate=7, per_us=3, quota=2), 3).said == (7, 2)


def test_what_cannot_be_counted_is_not_granted_and_counts_by_the_limits_own_number() -> None:
    weekly = Limit("b", Algorithm.TOKEN_BUCKET, 1000, 168 * HOUR, ("k",), rate=997, per_us=168 * HOUR)
    for quota in (11, 1001, 4_000_000_007):
        assert why_not(weekly, quota) is not None
        assert counted(weekly, quota) == 1000
    assert why_not(replace(weekly, rate=2**40 - 1, per_us=1), 2**32 - 1) is not None
    assert [counted(weekly, quota) for quota in (0, 7, 2000)] == [0, 7, 2000]
    assert [why_not(weekly, quota) for quota in (7, 2000)] == [None, None]
    assert why_not(TALLY, 2**32) is not None
    assert counted(TALLY, 5) == 5


def test_the_same_question_under_the_same_grant() -> None:
    ask = Ask([Charge(TALLY, "l:{=acme}", 9), Charge(SLOTS, "c:{=x}", 1)])
    assert under(ask, (2, 0)) is under(ask, (2, 0))
    first, second = under(ask, (2, 0)).charges
    assert (first.limit.quota, first.cost, second) == (2, 2, ask.charges[1])
    assert under(ask, (7, 0)).charges[0].cost == 3


def test_a_grant_changes_numbers_and_nothing_else_of_the_question() -> None:
    guard = Guard(Breaker("vendor", ("connection",), shared=False), "breaker:vendor:{=c}")
    ask = Ask(
        [Charge(TALLY, "l:{=acme}", 1)],
        [Guard(Pausing("up", HOUR), "pause:up:{=c}")],
        breaker=guard,
        line=("acme",),
        skipped=("other",),
        measures={"l": Measure(Source.HEADER, "x-cost")},
    )
    granted_ask = under(ask, (7,))
    for name in ("guards", "breaker", "line", "skipped", "measures"):
        assert getattr(granted_ask, name) == getattr(ask, name) != getattr(Ask([]), name)


def test_what_is_left_without_the_grant() -> None:
    bucket = Limit("b", Algorithm.TOKEN_BUCKET, 3, HOUR, ("k",), rate=3, per_us=HOUR)
    assert [left_without(TALLY, quota, left) for quota, left in ((0, 2), (5, 5), (5, 3), (5, 0), (1, 0))] == [
        2,
        3,
        1,
        0,
        2,
    ]
    assert [left_without(bucket, 5, left) for left in (5, 2)] == [3, 2]
