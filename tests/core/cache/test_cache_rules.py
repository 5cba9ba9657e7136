"""What may be kept, for how long it is fresh, and what it may be used for: RFC 9111, case by case."""

from dataclasses import replace
from typing import Any

import pytest

from gateway.core.cache.control import request_directives
from gateway.core.cache.personal import Personal
from gateway.core.cache.rules import VALIDATED_US, Use, instead_of_error, refreshed, storable, use
from gateway.core.units import DAY_US
from tests.core.cache.cache_cases import AGO_60, IN_60, NOW, NOW_US, S, a_cache, fields, kept

FRESH = "Cache-Control: max-age=60"


@pytest.mark.parametrize(
    ("status", "answer", "request_lines", "cache", "may"),
    [
        (200, [], [], {}, False),
        (200, [], [], {"ttl_us": S}, True),
        (200, [FRESH], [], {}, True),
        (200, ["Cache-Control: s-maxage=1"], [], {}, True),
        (200, [f"Expires: {IN_60}"], [], {}, True),
        (200, ["Cache-Control: no-cache"], [], {}, True),
        (200, [FRESH, "Cache-Control: no-store"], [], {"ttl_us": S, "override": True}, False),
        (200, [FRESH, "Cache-Control: private"], [], {"ttl_us": S, "override": True}, False),
        (200, [FRESH], ["Cache-Control: no-store"], {}, False),
        (200, [FRESH, "Set-Cookie: a=b"], [], {"ttl_us": S}, False),
        (200, [FRESH, "Cache-Control: no-store, must-understand"], [], {}, True),
        (299, [FRESH, "Cache-Control: no-store, must-understand"], [], {}, False),
        (299, [FRESH, "Cache-Control: must-understand"], [], {}, False),
        (299, [FRESH], [], {}, True),
        (404, [FRESH], [], {}, True),
        (404, [], [], {"ttl_us": S}, False),
        (503, [FRESH], [], {}, True),
        (503, [], [], {"ttl_us": S}, False),
        *[(status, [FRESH, "Cache-Control: public"], [], {"ttl_us": S}, False) for status in (206, 304, 401, 407, 416, 429)],
        (200, [FRESH], ["Authorization: x"], {"ttl_us": S}, False),
        (200, [FRESH], ["Cookie: a=b"], {"ttl_us": S}, False),
        (200, [FRESH, "Cache-Control: public"], ["Authorization: x"], {}, True),
        (200, ["Cache-Control: s-maxage=9"], ["Authorization: x"], {}, True),
        (200, [FRESH, "Cache-Control: must-revalidate"], ["Authorization: x"], {}, True),
        (200, [FRESH], ["Authorization: x"], {"per_credential": True}, True),
        (200, [FRESH], ["X-Api-Key: x"], {"ttl_us": S}, False),
        (200, [FRESH], ["X-Api-Key: x"], {"personal": Personal(exempt=frozenset({b"x-api-key"}))}, True),
        (200, [FRESH, "Cache-Control: public"], ["X-Api-Key: x", "Cookie: a=b"], {}, True),
        (200, ["Cache-Control: s-maxage=9"], ["X-Api-Key: x"], {}, True),
        (200, [FRESH, "Cache-Control: must-revalidate"], ["X-Api-Key: x"], {}, False),
        (200, [FRESH, "Cache-Control: must-revalidate"], ["Authorization: x", "Cookie: a=b"], {}, False),
        (200, [FRESH], ["X-Api-Key: x"], {"per_credential": True}, True),
    ],
)  # fmt: skip
def test_storable(status: int, answer: list[str], request_lines: list[str], cache: dict[str, Any], may: bool) -> None:
    assert storable(a_cache(**cache), fields(*request_lines), status, fields(*answer)) is may


@pytest.mark.parametrize(
    ("answer", "cache", "status", "left_s"),
    [
        ([FRESH], {}, 200, 60),
        ([FRESH, "Cache-Control: s-maxage=9"], {}, 200, 9),
        ([FRESH, f"Expires: {AGO_60}"], {}, 200, 60),
        ([f"Expires: {IN_60}"], {}, 200, 60),
        ([f"Expires: {IN_60}", f"Date: {NOW}"], {}, 200, 60),
        ([f"Expires: {IN_60}", f"Date: {AGO_60}"], {}, 200, 60),
        ([f"Expires: {IN_60}", "Date: nonsense"], {}, 200, 60),
        ([f"Expires: {AGO_60}"], {"ttl_us": 7 * S}, 200, 0),
        (["Expires: 0"], {"ttl_us": 7 * S}, 200, 0),
        ([f"Expires: {IN_60}", f"Expires: {NOW}"], {}, 200, 0),
        ([f"Expires: {IN_60}", f"Expires: {IN_60}"], {}, 200, 60),
        (["Cache-Control: max-age=x"], {"ttl_us": 7 * S}, 200, 0),
        ([], {"ttl_us": 7 * S}, 200, 7),
        ([], {"ttl_us": 7 * S}, 404, 0),
        ([FRESH], {"ttl_us": 7 * S}, 200, 60),
        ([FRESH], {"ttl_us": 7 * S, "override": True}, 200, 7),
        ([FRESH, "Age: 50", f"Date: {AGO_60}"], {"ttl_us": 7 * S, "override": True}, 200, 7),
        ([FRESH], {"ttl_us": 7 * S, "override": True}, 404, 60),
        ([FRESH, "Age: 59"], {}, 200, 1),
        ([FRESH, "Age: 0059"], {}, 200, 1),
        ([FRESH, f"Date: {AGO_60}"], {}, 200, 0),
        ([FRESH, f"Date: {IN_60}"], {}, 200, 60),
        *[([FRESH, f"Age: {age}"], {}, 200, 0) for age in ("x", "-1", "1.0", "0, 0", "0;a", "9" * 30, "2147483650")],
        ([FRESH, "Age: 0", "Age: 0"], {}, 200, 0),
    ],
)
def test_how_long_it_is_fresh(answer: list[str], cache: dict[str, Any], status: int, left_s: int) -> None:
    stored = kept(*answer, status=status, **cache)
    assert max(0, stored.fresh_us - stored.age_now_us(NOW_US)) == left_s * S


def test_age_grows_with_the_way_and_the_time_here_and_never_shrinks() -> None:
    stored = kept(FRESH, "Age: 5", took_us=2 * S)
    assert stored.age_now_us(NOW_US) == 7 * S
    assert stored.age_now_us(NOW_US + 3 * S) == 10 * S
    assert stored.age_now_us(NOW_US - 3 * S) == 7 * S


@pytest.mark.parametrize(
    ("answer", "wanted", "later_s", "good_for"),
    [
        ([FRESH], "", 0, Use.FRESH),
        ([FRESH], "", 59, Use.FRESH),
        ([FRESH], "", 60, Use.VALIDATE),
        ([FRESH, "Cache-Control: no-cache"], "", 0, Use.VALIDATE),
        ([FRESH], "no-cache", 0, Use.VALIDATE),
        ([FRESH], "max-age=5", 5, Use.FRESH),
        ([FRESH], "max-age=5", 6, Use.VALIDATE),
        ([FRESH], "max-age=x", 1, Use.VALIDATE),
        ([FRESH], "min-fresh=10", 50, Use.FRESH),
        ([FRESH], "min-fresh=10", 51, Use.VALIDATE),
        ([FRESH], "max-stale", 999, Use.FRESH),
        ([FRESH], "max-stale=5", 65, Use.FRESH),
        ([FRESH], "max-stale=5", 66, Use.VALIDATE),
        ([FRESH + ", must-revalidate"], "max-stale", 60, Use.VALIDATE),
        ([FRESH + ", stale-while-revalidate=5"], "", 64, Use.WHILE_REVALIDATED),
        ([FRESH + ", stale-while-revalidate=5"], "", 65, Use.VALIDATE),
        ([FRESH + ", stale-while-revalidate=5, proxy-revalidate"], "", 61, Use.VALIDATE),
        (["Cache-Control: s-maxage=60, stale-while-revalidate=5"], "", 61, Use.WHILE_REVALIDATED),
        (["Cache-Control: s-maxage=60"], "max-stale", 61, Use.VALIDATE),
        (["Cache-Control: s-maxage=60, stale-if-error=5"], "max-stale", 61, Use.FRESH),
    ],
)
def test_use(answer: list[str], wanted: str, later_s: int, good_for: Use) -> None:
    said = request_directives(fields(f"Cache-Control: {wanted}") if wanted else ())
    assert use(kept(*answer), said, NOW_US + later_s * S) is good_for


@pytest.mark.parametrize(
    ("answer", "cache", "wanted", "later_s", "may"),
    [
        ([FRESH], {}, "", 61, False),
        ([FRESH], {"stale_if_error_us": 5 * S}, "", 65, True),
        ([FRESH], {"stale_if_error_us": 5 * S}, "", 66, False),
        ([FRESH + ", stale-if-error=9"], {"stale_if_error_us": 5 * S}, "", 69, True),
        ([FRESH + ", stale-if-error=0"], {"stale_if_error_us": 5 * S}, "", 65, False),
        ([FRESH], {}, "stale-if-error=7", 67, True),
        ([FRESH], {}, "stale-if-error=7", 68, False),
        ([FRESH + ", must-revalidate"], {"stale_if_error_us": 5 * S}, "", 61, False),
        ([FRESH + ", no-cache"], {"stale_if_error_us": 5 * S}, "", 61, False),
        ([FRESH], {"stale_if_error_us": 5 * S}, "no-cache", 61, False),
    ],
)
def test_instead_of_an_error(answer: list[str], cache: dict[str, Any], wanted: str, later_s: int, may: bool) -> None:
    said = request_directives(fields(f"Cache-Control: {wanted}") if wanted else ())
    assert instead_of_error(kept(*answer, **cache), said, NOW_US + later_s * S) is may


def test_for_how_long_it_is_worth_its_place() -> None:
    assert kept(FRESH).useful_us() == 60 * S
    assert kept(FRESH, "Age: 20").useful_us() == 40 * S
    assert kept(FRESH, stale_if_error_us=9 * S, stale_while_revalidate_us=3 * S).useful_us() == 69 * S
    assert kept(FRESH + ", must-revalidate", stale_if_error_us=9 * S).useful_us() == 60 * S
    assert (
        kept(FRESH, 'ETag: "a"').useful_us()
        == kept(FRESH, f"Last-Modified: {NOW}").useful_us()
        == 60 * S + VALIDATED_US
    )
    assert kept("Cache-Control: max-age=0").useful_us() == 0
    assert kept("Cache-Control: max-age=99999999").useful_us() == DAY_US


def test_what_was_said_to_one_hop_or_one_caller_is_not_kept() -> None:
    answer = [
        FRESH, f"Date: {NOW}", "Connection: x-a, keep-alive", "X-A: 1", "Keep-Alive: 5", "RateLimit: x", "X-B: 2", "Age: 1",
        "X-RateLimit-Remaining: 1", "X-Request-Id: r", "Content-Length: 10", "Cache-Status: theirs; hit", "Server-Timing: a",
    ]  # fmt: skip
    assert kept(*answer).fields == fields(FRESH, f"Date: {NOW}", "X-B: 2")


def test_an_answer_without_a_date_gets_the_one_of_its_coming() -> None:
    assert kept(FRESH).fields == fields(FRESH, f"Date: {NOW}")


def test_a_304_brings_the_fields_up_to_date() -> None:
    old = replace(kept(FRESH, 'ETag: "1"', "Content-Type: a/b", "X-A: 1", "X-A: 2", "X-B: 1"), tenant="t", target="/a")
    answer = fields(
        "Cache-Control: max-age=90", "Age: 30", "Content-Type: c/d", "x-a: 3", "Content-Encoding: gzip", 'ETag: W/"1"',
        "Content-Length: 0", f"Date: {AGO_60}",
    )  # fmt: skip
    new = refreshed(a_cache(), old, answer, asked_us=NOW_US + 9 * S, now_us=NOW_US + 10 * S)
    expected = ('ETag: "1"', "X-B: 1", "Cache-Control: max-age=90", "Content-Type: c/d", "x-a: 3", f"Date: {AGO_60}")
    assert new.fields == fields(*expected)
    assert (new.status, new.body, new.tenant, new.target) == (200, old.body, "t", "/a")
    assert (new.fresh_us, new.age_us, new.at_us) == (90 * S, 70 * S, NOW_US + 10 * S)


def test_a_304_without_a_date_is_of_now() -> None:
    new = refreshed(a_cache(), kept(FRESH, f"Date: {AGO_60}"), (), asked_us=NOW_US, now_us=NOW_US)
    assert new.fields == fields(FRESH, f"Date: {NOW}")


def test_its_size_is_about_what_it_takes() -> None:
    small, large = kept(FRESH, body=b""), kept(FRESH, "X-Long: " + "y" * 500, body=b"z" * 1000)
    assert large.size_bytes - small.size_bytes == 1000 + 500 + len("X-Long") + 32


@pytest.mark.parametrize(
    ("back_s", "good_for"), [(0, Use.FRESH), (4, Use.FRESH), (6, Use.VALIDATE), (3600, Use.VALIDATE)]
)
def test_a_clock_that_was_set_back_keeps_nothing_fresh_for_longer(back_s: int, good_for: Use) -> None:
    """A little is a clock that is put right; behind that nobody knows how old an answer is, and it is asked for again."""
    stored = kept(FRESH)
    assert use(stored, request_directives(()), NOW_US - back_s * S) is good_for
    assert not instead_of_error(stored, request_directives(()), NOW_US - 3600 * S)
