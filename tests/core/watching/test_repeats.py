"""What makes two reads the same, and what repeats take of limits."""

import pytest

from gateway.core.ask import Ask
from gateway.core.keys import partition_key
from gateway.core.limits import Algorithm, Charge, Limit
from gateway.core.watching.repeats import MOST_CHARS, Read, kept, shares

MINUTE_US = 60_000_000
READ = Read("crm", "", "acme", "", "c1", "/deals?page=1")


def test_a_read_is_known_by_all_that_it_is() -> None:
    assert READ.path == "/deals"
    assert READ.digest == Read(*READ).digest
    for name in Read._fields:
        assert READ._replace(**{name: "other"}).digest != READ.digest
    assert READ._replace(tenant="a", account="cme").digest != READ._replace(tenant="ac", account="me").digest
    assert READ._replace(tenant="\udc80").digest


def test_long_targets_take_no_room_and_are_told_apart() -> None:
    long = "/" + "x" * 8_000
    assert kept("/deals") == "/deals"
    assert len(kept(long)) < MOST_CHARS + 30
    assert kept(long + "1") != kept(long + "2")
    assert READ._replace(target=kept(long)).path == long[:MOST_CHARS]


@pytest.mark.parametrize(
    ("limit", "share_ppm", "supposed"),
    [
        (Limit("l", Algorithm.ROLLING_WINDOW, 500, 10 * MINUTE_US, ("tenant",)), 600_000, True),
        (Limit("l", Algorithm.FIXED_WINDOW, 30, MINUTE_US, ("tenant",)), 1_000_000, False),
        (Limit("l", Algorithm.TOKEN_BUCKET, 20, 20_000_000, ("tenant",), 1, 1_000_000), 500_000, False),
    ],
)
def test_thirty_units_a_minute(limit: Limit, share_ppm: int, supposed: bool) -> None:
    ask = Ask((Charge(limit, partition_key(limit, {"tenant": "acme"}), 3),))
    found = {"limit": "l", "key": "acme", "units": 30, "share_ppm": share_ppm, "supposed": supposed}
    assert shares(ask, 10, MINUTE_US) == [found]


def test_nobody_takes_more_than_all() -> None:
    ask = Ask((Charge(Limit("l", Algorithm.ROLLING_WINDOW, 5, 10 * MINUTE_US, ()), "l:", 1),))
    (found,) = shares(ask, 4, 3_000_000)
    assert (found["units"], found["share_ppm"], found["supposed"]) == (4, 1_000_000, True)


def test_the_tightest_limit_stands_first_and_slots_are_not_used_up() -> None:
    wide, tight = (
        Limit(name, Algorithm.ROLLING_WINDOW, quota, MINUTE_US, ()) for name, quota in (("w", 100), ("t", 10))
    )
    slots = Limit("s", Algorithm.CONCURRENCY, 5, MINUTE_US, ())
    ask = Ask(tuple(Charge(limit, partition_key(limit, {}), 1) for limit in (wide, slots, tight)))
    assert [(one["limit"], one["share_ppm"]) for one in shares(ask, 5, MINUTE_US)] == [("t", 500_000), ("w", 50_000)]
    assert shares(ask, 1, 0)[0]["share_ppm"] > 0
