"""All shares of a partition add up to what there was, and what they begin with and owe never counts too little."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.algorithms import Leases, Tally, state_for
from gateway.core.headers import used_up_sentence
from gateway.core.limits import Algorithm, Limit
from gateway.core.shares import Fleet, begun_with, owed, part, place_of, share

WINDOW = Limit("w", Algorithm.ROLLING_WINDOW, 500, 600_000_000, ("tenant",))
FIXED = replace(WINDOW, algorithm=Algorithm.FIXED_WINDOW)
BUCKET = Limit("b", Algorithm.TOKEN_BUCKET, 20, 20_000_000, ("tenant",), rate=1, per_us=1_000_000)
SLOTS = Limit("c", Algorithm.CONCURRENCY, 4, 60_000_000, ("tenant",))
NOW_US = 1_800_000_000_000_000

workers = st.integers(1, 64)


@pytest.mark.parametrize("limit", [WINDOW, FIXED, BUCKET, SLOTS])
def test_who_meets_a_share_is_told_of_the_whole_limit(limit: Limit) -> None:
    mine = share(limit, Fleet(2), 0)
    assert mine.detail.startswith(used_up_sentence(limit)[:-1])
    assert mine.detail != used_up_sentence(limit)
    assert share(replace(limit, detail="Come back later."), Fleet(2), 0).detail == "Come back later."


@given(st.integers(0, 1000), workers)
def test_parts_add_up(units: int, count: int) -> None:
    parts = [part(units, count, place) for place in range(count)]
    assert sum(parts) == units
    assert max(parts) - min(parts) <= 1


@given(st.text(max_size=20), workers)
def test_each_worker_has_a_place_of_its_own_in_each_partition(key: str, count: int) -> None:
    assert {place_of(key, Fleet(count, rank)) for rank in range(count)} == set(range(count))


def test_of_many_partitions_with_one_unit_each_worker_has_some() -> None:
    fleet = [Fleet(4, rank) for rank in range(4)]
    served = [sum(part(1, 4, place_of(f"t{n}", one)) for n in range(400)) for one in fleet]
    assert sum(served) == 400
    assert min(served) > 50


@given(st.integers(1, 1000), workers)
def test_shares_of_a_bucket_refill_together_as_fast_as_the_bucket(quota: int, count: int) -> None:
    shares = [share(replace(BUCKET, quota=quota), Fleet(count), place) for place in range(count)]
    assert sum(one.quota for one in shares) == quota
    assert all(one.per_us == BUCKET.per_us * count for one in shares)


@given(st.integers(1, 1000), workers, st.integers(1, 20))
def test_gateways_that_have_not_heard_of_each_other_share_what_divides(quota: int, count: int, gateways: int) -> None:
    limit = replace(BUCKET, quota=quota)
    shares = [share(limit, Fleet(count, gateways=gateways), place) for place in range(count)]
    assert sum(one.quota for one in shares) == quota // gateways
    assert all(one.per_us == BUCKET.per_us * count * gateways for one in shares)


@given(st.sampled_from([WINDOW, FIXED, BUCKET]), workers, st.integers(0, 500), st.integers(1, 600_000_000))
def test_what_was_left_is_shared_out_once(limit: Limit, count: int, left: int, reset_us: int) -> None:
    left = min(left, limit.quota)
    admitted = 0
    for place in range(count):
        mine = share(limit, Fleet(count), place)
        state = state_for(limit, begun_with(mine, part(left, count, place), reset_us, NOW_US))
        admitted += state.present(mine, NOW_US)[0]
    assert admitted == left


def test_a_window_is_whole_again_when_all_is_back_and_not_before() -> None:
    mine = share(WINDOW, Fleet(5), 0)
    state = begun_with(mine, 10, 40_000_000, NOW_US)
    assert state is not None
    assert state.present(mine, NOW_US + 39_999_999)[0] == 10
    assert state.present(mine, NOW_US + 40_000_000)[0] == 100


def test_a_bucket_goes_on_from_what_was_left_and_refills_at_its_own_pace() -> None:
    mine = share(BUCKET, Fleet(2), 0)
    state = begun_with(mine, 4, 12_000_000, NOW_US)
    assert state is not None
    assert [state.present(mine, NOW_US + us)[0] for us in (0, 1_999_999, 2_000_000, 12_000_000)] == [4, 4, 5, 10]


def test_a_fixed_window_goes_on_from_what_was_left() -> None:
    state = begun_with(share(FIXED, Fleet(5), 0), 30, 40_000_000, NOW_US)
    assert state is not None
    assert state.present(share(FIXED, Fleet(5), 0), NOW_US)[0] == 30


def test_nothing_is_remembered_of_what_was_full_or_of_slots() -> None:
    assert begun_with(WINDOW, 500, 1, NOW_US) is None
    assert begun_with(WINDOW, 3, 0, NOW_US) is None
    assert begun_with(SLOTS, 1, 60_000_000, NOW_US) is None


def test_only_what_still_counts_is_owed() -> None:
    mine = share(WINDOW, Fleet(5), 0)
    begun = begun_with(mine, 60, 300_000_000, NOW_US)
    assert begun is not None
    spent = begun.charged(mine, 7, NOW_US + 1_000_000, "")
    assert owed(mine, 7, spent, NOW_US + 2_000_000) == 7  # and not the 40 that were in use before
    assert owed(mine, 7, spent, NOW_US + 400_000_000) == 7  # of which nothing is left now
    assert owed(mine, 7, spent, NOW_US + 601_000_000) == 0
    assert owed(mine, 7, None, NOW_US) == 0
    assert owed(SLOTS, 1, Leases({"x": NOW_US + 1}), NOW_US) == 0
    assert owed(FIXED, 9, Tally(NOW_US, 4), NOW_US) == 4


@given(st.integers(1, 20), st.integers(0, 30_000_000))
def test_a_bucket_owes_what_has_not_come_back(units: int, later_us: int) -> None:
    mine = share(BUCKET, Fleet(2), 0)
    units = min(units, mine.quota)
    bucket = state_for(BUCKET, None).charged(mine, units, NOW_US, "")
    due = owed(mine, units, bucket, NOW_US + later_us)
    assert 0 <= due <= units
    assert due >= units - later_us * mine.rate // mine.per_us
