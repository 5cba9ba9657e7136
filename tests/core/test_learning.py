"""What an answer makes everybody heed: a pause of its connection, or that few calls are left."""

from dataclasses import replace

import pytest

from gateway.core.classes import ErrorClass
from gateway.core.http.signals import Honor
from gateway.core.learning import Heed, heeded, stands_for
from gateway.core.policy import Match, Route
from gateway.core.retry import Retry
from gateway.core.upstream import Learning, Upstream

S = 1_000_000
LEARNING = Learning(tuple(Honor), ("connection",), 60 * S)
AWAIT = (b"Retry-After", b"30")


@pytest.mark.parametrize(
    ("status", "fields", "pauses", "wait_s"),
    [
        (429, [AWAIT], False, 30),
        (429, [], False, 0),
        (429, [(b"Retry-After", b"3600")], False, 60),
        (503, [AWAIT], False, 0),
        (503, [AWAIT], True, 30),
        (200, [(b"X-RateLimit-Remaining", b"0"), (b"X-RateLimit-Reset", b"7")], False, 7),
        (200, [(b"X-RateLimit-Remaining", b"1"), (b"X-RateLimit-Reset", b"7")], False, 0),
        (429, [(b"X-RateLimit-Remaining", b"5"), (b"X-RateLimit-Reset", b"7")], False, 0),
    ],
)
def test_pauses(status: int, fields: list[tuple[bytes, bytes]], pauses: bool, wait_s: int) -> None:
    error_class = ErrorClass("any", pause="connection" if pauses else "")
    assert heeded(LEARNING, status, error_class, tuple(fields), 0) == Heed(wait_s * S)


def test_only_families_that_are_learned_from() -> None:
    assert heeded(Learning((Honor.RATELIMIT,), ("connection",)), 429, None, (AWAIT,), 0) == Heed()


@pytest.mark.parametrize(
    ("status", "fields", "heed"),
    [
        (200, [(b"X-RateLimit-Remaining", b"12"), (b"X-RateLimit-Reset", b"7")], Heed(7 * S, 12)),
        (404, [(b"RateLimit", b'"a";r=9;t=5, "b";r=3;t=20')], Heed(20 * S, 3)),
        (200, [(b"RateLimit", b'"a";r=9;t=86400')], Heed(60 * S, 9)),
        (200, [(b"X-RateLimit-Remaining", b"0"), (b"X-RateLimit-Reset", b"7")], Heed(7 * S)),
        (429, [(b"X-RateLimit-Remaining", b"12"), (b"X-RateLimit-Reset", b"7")], Heed()),
        (200, [(b"X-RateLimit-Remaining", b"12")], Heed()),
        (200, [(b"X-RateLimit-Remaining", b"-3"), (b"X-RateLimit-Reset", b"7")], Heed()),
        (200, [(b"X-RateLimit-Remaining", b"1e30"), (b"X-RateLimit-Reset", b"7")], Heed()),
        (200, [], Heed()),
    ],
)
def test_what_is_left_is_a_limit_if_the_policy_says_so(
    status: int, fields: list[tuple[bytes, bytes]], heed: Heed
) -> None:
    assert heeded(replace(LEARNING, as_limit=True), status, None, tuple(fields), 0) == heed
    without = heeded(LEARNING, status, None, tuple(fields), 0)
    assert without == (Heed() if heed.left else heed)


@pytest.mark.parametrize(
    ("status", "fields", "means"),
    [
        (403, [AWAIT, (b"X-RateLimit-Remaining", b"4990"), (b"X-RateLimit-Reset", b"600")], 429),
        (403, [(b"X-RateLimit-Remaining", b"0"), (b"X-RateLimit-Reset", b"600")], 429),
        (403, [(b"X-RateLimit-Remaining", b"0")], 429),
        (403, [(b"X-RateLimit-Remaining", b"4990"), (b"X-RateLimit-Reset", b"600")], 403),
        (403, [(b"X-RateLimit-Reset", b"600")], 403),
        (403, [], 403),
        (503, [AWAIT], 503),
        (200, [(b"X-RateLimit-Remaining", b"0"), (b"X-RateLimit-Reset", b"600")], 200),
    ],
)
def test_another_status_stands_for_a_429_where_it_asks_to_wait(
    status: int, fields: list[tuple[bytes, bytes]], means: int
) -> None:
    learning = replace(LEARNING, also_on=frozenset({403}))
    assert stands_for(learning, status, tuple(fields), 0) == means
    assert {stands_for(other, status, tuple(fields), 0) for other in (LEARNING, None)} == {status}


@pytest.mark.parametrize(
    ("status", "fields", "wait_s"),
    [(429, [], 20), (429, [AWAIT], 30), (429, [(b"Retry-After", b"soon")], 20), (403, [], 0), (200, [], 0)],
)
def test_a_429_that_says_no_time_pauses_as_long_as_the_policy_says(
    status: int, fields: list[tuple[bytes, bytes]], wait_s: int
) -> None:
    assert heeded(replace(LEARNING, otherwise_us=20 * S), status, None, tuple(fields), 0) == Heed(wait_s * S)
    assert heeded(replace(LEARNING, otherwise_us=90 * S), 429, None, (), 0) == Heed(60 * S)


@pytest.mark.parametrize(
    ("retried", "watched"), [({429}, {429, 403}), ({429, 503}, {429, 503, 403}), ({503}, {503}), (set(), set())]
)
def test_what_may_stand_for_a_429_may_be_tried_again_where_that_may(retried: set[int], watched: set[int]) -> None:
    upstream = Upstream(
        "vendor", "http", "192.0.2.1", 80, "vendor", learning=replace(LEARNING, also_on=frozenset({403}))
    )
    assert Route("r", Match(), upstream, retry=Retry("again", 3, statuses=frozenset(retried))).watched == watched
