"""Named cases of the algorithms: what random patterns seldom meet, and the bounds."""

import pytest

from gateway.core.algorithms import Bucket, Leases, Log, Tally
from gateway.core.algorithms.bounds import max_entries, out_of_bounds
from gateway.core.limits import Algorithm, Limit
from tests.core.limit_cases import SECOND_US, bucket, concurrency, fixed, precise, rolling


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
        (bucket(quota=1, rate=2**48 + 1, per_us=10), "too large to count exactly"),
        (bucket(quota=1, rate=2**30, per_us=2**48 + 1), "too large to count exactly"),
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
