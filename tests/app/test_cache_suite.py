"""What the public tests of HTTP caches look at (http-tests/cache-tests, shown at cache-tests.fyi), as cases of our own.

Each case: the answer that is there, what passes, and whether a second request is answered from what is kept. Ids are those
of the suite where it has one case for it. `docs/decisions/cache.md` says which of its tests are not met, and why.
"""

from collections.abc import Sequence
from typing import NamedTuple

import pytest

from tests.app.caching import answer, begin
from tests.app.conftest import Start
from tests.core.cache.cache_cases import NOW
from tests.fakes.upstream import Upstream

FRESH = "Cache-Control: max-age=3600"
PAST, FUTURE = "Fri, 15 Jan 2027 06:00:00 GMT", "Fri, 15 Jan 2027 10:00:00 GMT"


class Case(NamedTuple):
    """answer, request: field lines; again: those of the second request; passed_s: between both."""

    answer: Sequence[str]
    hit: bool
    again: Sequence[str] = ()
    request: Sequence[str] = ()
    passed_s: float = 3
    status: bytes = b"200 OK"


CASES = {
    "freshness-none": Case([], False),
    "freshness-max-age": Case([FRESH], True),
    "freshness-max-age-0": Case(["Cache-Control: max-age=0"], False),
    "freshness-max-age-expires": Case([FRESH, f"Expires: {PAST}"], True),
    "freshness-max-age-0-expires": Case(["Cache-Control: max-age=0", f"Expires: {FUTURE}"], False),
    "freshness-max-age-stale": Case(["Cache-Control: max-age=2"], False),
    "freshness-max-age-age": Case([FRESH, "Age: 7200"], False),
    "freshness-max-age-date": Case([FRESH, f"Date: {PAST}"], False),
    "freshness-max-age-negative": Case(["Cache-Control: max-age=-3600"], False),
    "freshness-max-age-max": Case(["Cache-Control: max-age=99999999999"], True),
    "freshness-max-age-s-maxage-shared-longer": Case(["Cache-Control: max-age=1, s-maxage=3600"], True),
    "freshness-max-age-s-maxage-shared-shorter": Case(["Cache-Control: max-age=3600, s-maxage=1"], False),
    "freshness-max-age-extension": Case(["Cache-Control: foobar, max-age=3600"], True),
    "freshness-max-age-case-insensenstive": Case(["Cache-Control: MaX-aGe=3600"], True),
    "freshness-max-age-single-quoted": Case(["Cache-Control: max-age='3600'"], False),
    "freshness-max-age-decimal-five": Case(["Cache-Control: max-age=3600.5"], False),
    "freshness-max-age-quoted": Case(['Cache-Control: max-age="3600"'], True),
    "freshness-max-age-ignore-quoted": Case(['Cache-Control: extension="max-age=3600", max-age=1'], False),
    "freshness-expires-present": Case([f"Expires: {FUTURE}", f"Date: {NOW}"], True),
    "freshness-expires-past": Case([f"Expires: {PAST}", f"Date: {NOW}"], False),
    "freshness-expires-invalid": Case(["Expires: 0"], False),
    "freshness-expires-invalid-2-digit-year": Case(["Expires: Thu, 18 Aug 50 02:01:18 GMT"], False),
    "freshness-expires-ansi-c": Case(["Expires: Fri Jan 15 10:00:00 2027", f"Date: {NOW}"], True),
    "cc-resp-no-store": Case([FRESH + ", no-store"], False),
    "cc-resp-no-cache": Case([FRESH + ", no-cache"], False),
    "cc-resp-private-shared": Case([FRESH + ", private"], False),
    "cc-resp-must-revalidate-fresh": Case([FRESH + ", must-revalidate"], True),
    "ccreq-no-store": Case([FRESH], False, request=["Cache-Control: no-store"]),
    "ccreq-no-cache": Case([FRESH], False, again=["Cache-Control: no-cache"]),
    "ccreq-ma0": Case([FRESH], False, again=["Cache-Control: max-age=0"]),
    "ccreq-ma1": Case([FRESH], False, again=["Cache-Control: max-age=1"]),
    "ccreq-magreaterage": Case([FRESH], True, again=["Cache-Control: max-age=600"]),
    "ccreq-max-stale": Case(["Cache-Control: max-age=1"], True, again=["Cache-Control: max-stale=1000"]),
    "ccreq-min-fresh": Case(["Cache-Control: max-age=1500"], False, again=["Cache-Control: min-fresh=2000"]),
    "pragma-request-no-cache": Case([FRESH], False, again=["Pragma: no-cache"]),
    "pragma-response-no-cache": Case([FRESH, "Pragma: no-cache"], True),
    "age-parse-nonnumeric": Case([FRESH, "Age: abc"], False),
    "age-parse-negative": Case([FRESH, "Age: -7200"], False),
    "age-parse-float": Case([FRESH, "Age: 7200.0"], False),
    "age-parse-dup-0": Case([FRESH, "Age: 0, 0"], False),
    "age-parse-dup-0-twoline": Case([FRESH, "Age: 0", "Age: 0"], False),
    "age-parse-larger": Case([FRESH, "Age: 2147483648"], False),
    "status-404-fresh": Case([FRESH], True, status=b"404 No"),
    "status-410-fresh": Case([FRESH], True, status=b"410 Gone"),
    "status-503-fresh": Case([FRESH], True, status=b"503 No"),
    "status-599-fresh": Case([FRESH], True, status=b"599 Odd"),
    "status-599-must-understand": Case([FRESH + ", must-understand"], False, status=b"599 Odd"),
    "status-200-must-understand": Case([FRESH + ", no-store, must-understand"], True),
    "vary-match": Case([FRESH, "Vary: Foo"], True, request=["Foo: 1"], again=["Foo: 1"]),
    "vary-no-match": Case([FRESH, "Vary: Foo"], False, request=["Foo: 1"], again=["Foo: 2"]),
    "vary-omit": Case([FRESH, "Vary: Foo"], False, request=["Foo: 1"]),
    "vary-omit-stored": Case([FRESH, "Vary: Foo"], False, again=["Foo: 1"]),
    "vary-star": Case([FRESH, "Vary: *"], False),
    "vary-syntax-foo-star": Case([FRESH, "Vary: Foo, *"], False),
    "vary-syntax-star-star-lines": Case([FRESH, "Vary: *", "Vary: *"], False),
    "vary-2-match": Case([FRESH, "Vary: Foo, Bar"], True, request=["Foo: 1", "Bar: a"], again=["Foo: 1", "Bar: a"]),
    "vary-2-match-omit": Case([FRESH, "Vary: Foo, Bar"], True, request=["Foo: 1"], again=["Foo: 1"]),
    "vary-2-no-match": Case([FRESH, "Vary: Foo, Bar"], False, request=["Foo: 1", "Bar: a"], again=["Foo: 1", "Bar: b"]),
    "vary-normalise-combine": Case([FRESH, "Vary: Foo"], True, request=["Foo: 1, 2"], again=["Foo: 1", "Foo: 2"]),
    "vary-normalise-space": Case([FRESH, "Vary: Foo"], True, request=["Foo: 1,2"], again=["Foo: 1, 2"]),
    "other-authorization": Case([FRESH], False, request=["Authorization: FOO"], again=["Authorization: FOO"]),
    "authorization public": Case(
        [FRESH + ", public"], True, request=["Authorization: FOO"], again=["Authorization: FOO"]
    ),
    "other-set-cookie": Case([FRESH, "Set-Cookie: a=b"], False),
    "heuristic-200-not_cached": Case(["Last-Modified: " + PAST], False),
    "conditional-etag-strong-respond": Case([FRESH, 'ETag: "abc"'], True, again=['If-None-Match: "abc"']),
    "conditional-lm-fresh": Case([FRESH, f"Last-Modified: {PAST}"], True, again=[f"If-Modified-Since: {PAST}"]),
    "partial-store-complete-reuse-partial": Case([FRESH], True, again=["Range: bytes=0-1"]),
}


def pairs(lines: Sequence[str]) -> list[tuple[str, str]]:
    return [(name, value) for name, _, value in (line.partition(": ") for line in lines)]


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_answers_are_reused_by_the_rules_of_rfc_9111(start: Start, upstream: Upstream, case: Case) -> None:
    cached = await begin(start, upstream, ttl="0s")
    cached.answers(answer(b"0123456789", *case.answer, status=case.status))
    first = await cached.get("/things", *pairs(case.request))
    assert (first.status, first.body) == (int(case.status[:3]), b"0123456789")
    cached.later(case.passed_s)
    second = await cached.get("/things", *pairs(case.again))
    assert len(upstream.received) == (1 if case.hit else 2)
    assert ("; hit" in second.fields("Cache-Status")[0]) is case.hit
    if case.hit:
        age_s = int(second.fields("Age")[0])
        assert age_s >= case.passed_s
        assert second.status == {"If-": 304, "Ran": 206}.get("".join(case.again)[:3], first.status)
