"""What an answer makes everybody heed: a pause of its connection, or that few calls are left."""

import gzip
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.classes import ErrorClass
from gateway.core.http.signals import Honor
from gateway.core.learning import LOOKED_AT_BYTES, Heed, heeded, may_say, says_too_many, stands_for
from gateway.core.policy import Match, Route
from gateway.core.retry import Retry
from gateway.core.upstream import Learning, Upstream, Wording

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


REASON = ("error", "errors", "0", "reason")
WORDED = replace(
    LEARNING,
    also_when=(
        Wording(frozenset({403}), REASON, ("rateLimitExceeded", "user-rate/limit")),
        Wording(frozenset({400, 403}), ("error", "code"), (4, 17, 613)),
        Wording(frozenset({200}), ("errors", "0", "type"), ("RATE_LIMITED", "RATE_LIMIT", "\u00a1no!", "...")),
    ),
)


def google(reason: object) -> dict[str, Any]:
    return {"error": {"code": 403, "message": "No.", "errors": [{"domain": "usageLimits", "reason": reason}]}}


def meta(code: object) -> dict[str, Any]:
    return {"error": {"type": "OAuthException", "code": code}}


def graphql(kind: object) -> dict[str, Any]:
    return {"data": None, "errors": [{"type": kind, "message": "API rate limit exceeded"}]}


@pytest.mark.parametrize(
    ("status", "document", "says"),
    [
        (403, google("rateLimitExceeded"), True),
        (403, google("user-rate/limit"), True),
        (403, google("insufficientPermissions"), False),
        (403, google("rateLimitExceeded "), False),
        (403, google(["rateLimitExceeded"]), False),
        (403, {"message": "rateLimitExceeded"}, False),
        (400, google("rateLimitExceeded"), False),
        (400, meta(613), True),
        (403, meta(4), True),
        (400, meta("4"), False),
        (400, meta(4.0), False),
        (400, meta(True), False),
        (400, meta(100), False),
        (500, meta(4), False),
        (200, graphql("RATE_LIMITED"), True),
        (200, graphql("\u00a1no!"), True),
        (200, graphql("..."), True),
        (200, graphql("NOT_FOUND"), False),
        (200, {"data": {"text": "RATE_LIMITED"}}, False),
        (200, [], False),
    ],
)
def test_what_bodies_say(status: int, document: Any, says: bool) -> None:
    body = json.dumps(document).encode()
    assert says_too_many(WORDED, status, "", body) is says
    assert says_too_many(WORDED, status, "", bytearray(body)) is says
    assert says_too_many(WORDED, status, "gzip", gzip.compress(body)) is says
    assert not says_too_many(WORDED, status, "br", body)
    assert not says_too_many(LEARNING, status, "", body)


def test_a_large_body_says_nothing() -> None:
    body = json.dumps(google("rateLimitExceeded")).encode()
    assert says_too_many(WORDED, 403, "", body.ljust(LOOKED_AT_BYTES))
    assert not says_too_many(WORDED, 403, "", body.ljust(LOOKED_AT_BYTES + 1))
    assert not says_too_many(WORDED, 403, "gzip", gzip.compress(body.ljust(LOOKED_AT_BYTES + 1)))


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xffrateLimitExceeded", b'"rateLimitExceeded"', b'[4,"RATE_LIMITED"', b"[" * 9_000 + b"613"]
)
@pytest.mark.parametrize("status", [200, 400, 403])
def test_what_is_no_json_says_nothing(status: int, body: bytes) -> None:
    assert not says_too_many(WORDED, status, "", body)


def test_of_a_name_that_stands_twice_the_last_one_counts() -> None:
    assert says_too_many(WORDED, 400, "", b'{"error": {"code": 1}, "error": {"code": 17}}')
    assert not says_too_many(WORDED, 400, "", b'{"error": {"code": 17}, "error": {"code": 1}}')


@pytest.mark.parametrize(
    ("status", "content_type", "may"),
    [
        (403, "text/html", True),
        (403, "", True),
        (200, "application/json; charset=utf-8", True),
        (200, "application/graphql-response+JSON", True),
        (200, "text/event-stream", False),
        (200, "", False),
        (404, "application/json", False),
    ],
)
def test_which_answers_are_looked_at(status: int, content_type: str, may: bool) -> None:
    assert may_say(WORDED, status, content_type) is may
    assert not may_say(LEARNING, status, content_type)


@given(st.binary(max_size=80), st.sampled_from([200, 400, 403, 500]), st.sampled_from(["", "gzip", "deflate", "br"]))
def test_whatever_a_body_is_it_says_it_or_not(body: bytes, status: int, coding: str) -> None:
    assert says_too_many(WORDED, status, coding, body) is False


@given(st.sampled_from(["rateLimitExceeded", "user-rate/limit"]), st.booleans(), st.integers(0, 3))
def test_however_it_is_written(reason: str, escaped: bool, indent: int) -> None:
    text = json.dumps(google(reason), indent=indent)
    body = (text.replace("/", "\\/").replace("-", "\\u002d") if escaped else text).encode()
    assert says_too_many(WORDED, 403, "", body)


def test_the_statuses_that_are_looked_at() -> None:
    assert (WORDED.worded, LEARNING.worded) == ({200, 400, 403}, set())
