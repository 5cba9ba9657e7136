"""What is different between two sets, and what that means for callers."""

from dataclasses import replace
from datetime import UTC

import pytest

from gateway.core.access.authentication import ApiKeys, Identity, Jwt
from gateway.core.calendars import Calendar, Unit
from gateway.core.classes import Classes, Counts, ErrorClass, Rule, statuses_of
from gateway.core.connections.state import ConnectionState
from gateway.core.guards import Breaker
from gateway.core.keys import KeyFrom, KeyPart, OnMissing
from gateway.core.limits import Algorithm, ChargePer, Limit, Mode, Override, Posture
from gateway.core.policy import Match, Operation, PathPattern, PolicySet, Route
from gateway.core.preview.policy_diff import Difference, What, counts, diff
from gateway.core.preview.policy_effect import Effect, effect
from gateway.core.retry import Retry
from gateway.core.sandbox import Fixtures, Sandbox, When
from gateway.core.upstream import Upstream

MINUTE_US = 60_000_000
WINDOW = Limit("w", Algorithm.ROLLING_WINDOW, 500, 10 * MINUTE_US, ("tenant",), source="a.yaml:3")
BUCKET = Limit("b", Algorithm.TOKEN_BUCKET, 20, MINUTE_US, ("tenant",), 1, 3_000_000)
SLOTS = Limit("s", Algorithm.CONCURRENCY, 5, MINUTE_US, ("tenant",))
UPSTREAM = Upstream("api", "https", "api.example", 443, "api.example", source="a.yaml:9")
ROUTE = Route(
    "r",
    Match(path=PathPattern(prefix="/a/")),
    UPSTREAM,
    (WINDOW,),
    operations=(Operation("read", Match(methods=frozenset({"GET", "HEAD"})), cost={"w": 2}),),
    source="a.yaml:12",
)
SET = PolicySet("0" * 12, (ROUTE,), {"w": WINDOW}, {}, {"api": UPSTREAM})


def with_limit(limit: Limit) -> PolicySet:
    route = replace(ROUTE, limits=(limit,))
    return replace(SET, routes=(route,), limits={limit.name: limit})


def test_equal_sets_and_moved_lines_are_no_difference() -> None:
    moved = replace(
        SET,
        routes=(replace(ROUTE, source="b.yaml:1", upstream=replace(UPSTREAM, source="b.yaml:2")),),
        limits={"w": replace(WINDOW, source="b.yaml:9")},
        version="1" * 12,
        loaded_at="now",
    )
    assert diff(SET, SET) == diff(SET, moved) == ()
    assert counts(()) == {}


def test_how_long_a_bucket_takes_to_fill_is_no_difference_of_its_own() -> None:
    faster = replace(BUCKET, per_us=1_000_000, window_us=MINUTE_US // 3)
    [one] = [one for one in diff(with_limit(BUCKET), with_limit(faster)) if one.section == "limits"]
    assert [field.name for field in one.fields] == ["per_us"]
    [one] = [one for one in diff(with_limit(BUCKET), with_limit(replace(WINDOW, name="b"))) if one.section == "limits"]
    assert "window_us" in [field.name for field in one.fields]


def test_rates_are_told_as_they_were_written() -> None:
    sixty, one = replace(BUCKET, rate=1, per_us=1_000_000, times=60), replace(BUCKET, rate=1, per_us=1_000_000)
    [changed] = [limit for limit in diff(with_limit(sixty), with_limit(replace(one, rate=2))) if limit.fields]
    assert [tuple(field) for field in changed.fields] == [("rate", 60, 2), ("per_us", MINUTE_US, 1_000_000)]
    assert diff(with_limit(sixty), with_limit(one)) == ()


def test_other_fixtures_are_told_by_their_digest() -> None:
    sets = [
        replace(SET, routes=(replace(ROUTE, sandbox=Sandbox(When(key="tenant", prefix="x"), Fixtures([], "f", text))),))
        for text in ("abc", "abd")
    ]
    (changed,) = diff(*sets)
    (field,) = changed.fields
    assert (field.name, field.before["fixtures"], field.after["fixtures"]) == ("sandbox", "abc", "abd")


def test_a_lowered_limit_is_one_tighter_limit() -> None:
    found = {(one.section, one.name): one for one in diff(SET, with_limit(replace(WINDOW, quota=300)))}
    limit = found["limits", "w"]
    assert (limit.what, limit.effect) == (What.CHANGED, Effect.TIGHTER)
    assert [tuple(one) for one in limit.fields] == [("limit", 500, 300)]
    assert limit.as_dict() == {
        "section": "limits",
        "name": "w",
        "what": "changed",
        "effect": "tighter",
        "fields": [{"name": "limit", "before": 500, "after": 300}],
        "source": "a.yaml:3",
    }


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (BUCKET, replace(BUCKET, quota=10), ["burst"]),
        (SLOTS, replace(SLOTS, quota=4, window_us=2 * MINUTE_US), ["limit", "lease_us"]),
        (WINDOW, replace(WINDOW, window_us=MINUTE_US), ["window_us"]),
    ],
)
def test_numbers_have_the_names_of_the_policy(before: Limit, after: Limit, told: list[str]) -> None:
    (changed,) = (one for one in diff(with_limit(before), with_limit(after)) if one.section == "limits")
    assert [field.name for field in changed.fields] == told


def test_overrides_and_shadows_are_told_in_the_words_of_the_policy() -> None:
    def varied(limit: Limit, override: Limit, shadow: Limit) -> Limit:
        return replace(limit, overrides=(Override((("tenant", "big"),), override),), shadow=shadow)

    monthly = replace(
        WINDOW, algorithm=Algorithm.FIXED_WINDOW, window_us=31 * 86_400_000_000, calendar=Calendar(Unit.MONTH, UTC)
    )
    before = varied(WINDOW, replace(WINDOW, quota=900), monthly)
    after = varied(WINDOW, replace(WINDOW, quota=800, quantum_us=50, mode=Mode.OFF), replace(BUCKET, rate=2, times=30))
    (changed,) = diff(with_limit(before), with_limit(after))
    match = {"tenant": "big"}
    assert [tuple(field) for field in changed.fields] == [
        (
            "overrides",
            [{"match": match, "mode": "enforce", "limit": 900, "window_us": WINDOW.window_us}],
            [{"match": match, "mode": "off", "limit": 800, "window_us": WINDOW.window_us, "quantum_us": 50}],
        ),
        (
            "shadow",
            {"algorithm": "fixed_window", "limit": 500, "window": "month, UTC"},
            {"algorithm": "token_bucket", "rate": 60, "per_us": BUCKET.per_us * 30, "burst": BUCKET.quota},
        ),
    ]


def test_an_override_that_moved_or_is_written_otherwise_is_no_difference() -> None:
    match = (("tenant", "big"),)
    before, after = (
        replace(BUCKET, overrides=(Override(match, replace(BUCKET, quota=9, source=source, times=times)),))
        for source, times in (("a.yaml:3", 1), ("b.yaml:4", 60))
    )
    assert diff(with_limit(before), with_limit(after)) == ()


def test_what_overrides_have_from_their_limit_is_told_once() -> None:
    def with_override(limit: Limit) -> Limit:
        return replace(limit, overrides=(Override((("tenant", "big"),), replace(limit, quota=900)),))

    (changed,) = diff(with_limit(with_override(WINDOW)), with_limit(with_override(replace(WINDOW, detail="Wait."))))
    assert [field.name for field in changed.fields] == ["detail"]


def test_routes_that_ask_a_changed_limit_are_as_they_were() -> None:
    assert [one.section for one in diff(SET, with_limit(replace(WINDOW, quota=300)))] == ["limits"]


def test_where_a_key_part_is_read_from_is_a_difference() -> None:
    part = KeyPart("tenant", KeyFrom.HEADER, "tenant", OnMissing.REJECT)
    old, new = (replace(SET, keys={"tenant": one}) for one in (part, replace(part, source=KeyFrom.QUERY)))
    (found,) = diff(old, new)
    assert [tuple(one) for one in found.fields] == [("source", "header", "query")]
    assert found.source == ""


def test_what_came_and_went_is_told_by_name() -> None:
    other = replace(WINDOW, name="v")
    found = [(one.section, one.name, one.what, one.effect) for one in diff(SET, with_limit(other))]
    assert found == [
        ("limits", "v", What.ADDED, Effect.TIGHTER),
        ("limits", "w", What.REMOVED, Effect.LOOSER),
        ("routes", "r", What.CHANGED, Effect.MIXED),
    ]
    assert counts(diff(SET, with_limit(other))) == {"added": 1, "removed": 1, "changed": 1, "tighter": 1, "looser": 1}
    bare = replace(SET, routes=(replace(ROUTE, limits=()),))
    assert [one.effect for one in diff(SET, bare)] == [Effect.LOOSER]
    assert [one.effect for one in diff(bare, SET)] == [Effect.TIGHTER]
    gone = replace(SET, routes=())
    assert [(one.what, one.effect, one.source) for one in diff(SET, gone)] == [(What.REMOVED, Effect.NONE, "a.yaml:12")]
    (added,) = diff(gone, SET)
    assert added.as_dict() == {"section": "routes", "name": "r", "what": "added", "source": "a.yaml:12"}


@pytest.mark.parametrize(
    ("old", "changes", "expected"),
    [
        (WINDOW, {"quota": 499}, "tighter"),
        (WINDOW, {"quota": 501}, "looser"),
        (WINDOW, {"window_us": 11 * MINUTE_US}, "tighter"),
        (WINDOW, {"window_us": 9 * MINUTE_US}, "looser"),
        (WINDOW, {"quota": 60, "window_us": MINUTE_US}, "mixed"),
        (WINDOW, {"mode": Mode.SHADOW}, "looser"),
        (WINDOW, {"mode": Mode.OFF}, "looser"),
        (replace(WINDOW, mode=Mode.SHADOW), {"mode": Mode.ENFORCE}, "tighter"),
        (replace(WINDOW, mode=Mode.SHADOW), {"quota": 1}, ""),
        (WINDOW, {"on_store_error": Posture.DENY}, "tighter"),
        (WINDOW, {"on_store_error": Posture.ALLOW}, "looser"),
        (WINDOW, {"charge": ChargePer.ATTEMPT}, "tighter"),
        (WINDOW, {"quantum_us": 1_000}, "tighter"),
        (WINDOW, {"quota": 600, "on_store_error": Posture.DENY}, "mixed"),
        (WINDOW, {"algorithm": Algorithm.FIXED_WINDOW}, "looser"),
        (replace(WINDOW, algorithm=Algorithm.FIXED_WINDOW), {"quota": 400}, "tighter"),
        (WINDOW, {"key": ("tenant", "connection")}, "looser"),
        (WINDOW, {"key": ()}, "tighter"),
        (WINDOW, {"key": ("account",)}, "mixed"),
        (replace(WINDOW, key=("a", "b")), {"key": ("b", "a")}, ""),
        (BUCKET, {"rate": 2}, "looser"),
        (BUCKET, {"quota": 10}, "tighter"),
        (BUCKET, {"quota": 10, "rate": 2}, "mixed"),
        (SLOTS, {"quota": 4}, "tighter"),
        (SLOTS, {"window_us": 1}, ""),
        (WINDOW, {"shadow": BUCKET}, ""),
    ],
)
def test_tighter_means_never_more_than_before(old: Limit, changes: dict[str, object], expected: str) -> None:
    assert effect(old, replace(old, **changes)) == expected


def test_a_window_of_a_breaker_has_its_own_name() -> None:
    breaker = Breaker("b", ("tenant",), failure_ppm=500_000, window_us=MINUTE_US)
    before = replace(SET, breakers={"b": breaker})
    after = replace(SET, breakers={"b": replace(breaker, window_us=2 * MINUTE_US)})
    assert [[field.name for field in one.fields] for one in diff(before, after)] == [["window_us"]]


def test_what_a_probe_may_take_follows_from_upstreams() -> None:
    """A breaker that a route, or a time-out, was taken from is as it was written."""
    breaker = Breaker("b", ("tenant",), failure_ppm=500_000)
    before = replace(SET, breakers={"b": breaker})
    after = replace(SET, breakers={"b": replace(breaker, permit_us=1_000_000, probe_us=1_000_000)})
    assert diff(before, after) == ()


def test_overrides_are_callers_too() -> None:
    big = Override((("tenant", "big"),), replace(WINDOW, quota=5_000))
    generous = replace(WINDOW, overrides=(big,))
    assert effect(WINDOW, generous) is Effect.LOOSER
    assert effect(generous, WINDOW) is Effect.TIGHTER
    assert effect(generous, replace(generous, quota=400)) is Effect.TIGHTER
    assert effect(WINDOW, replace(generous, quota=400)) is Effect.MIXED


def test_every_section_is_compared_and_values_are_plain() -> None:
    part = KeyPart("tenant", KeyFrom.HEADER, "x-tenant-id", OnMissing.REJECT)
    breaker, retry = Breaker("b", ("tenant",)), Retry("again", 3)
    before = replace(SET, keys={"tenant": part}, breakers={"b": breaker}, retries={"again": retry})
    route = replace(
        ROUTE,
        match=replace(ROUTE.match, methods=frozenset({"PUT", "GET"})),
        retry=retry,
        breaker=breaker,
        operations=(Operation("read", Match(), cost={"w": 3}),),
    )
    after = replace(
        before,
        routes=(route,),
        keys={"tenant": replace(part, on_missing=OnMissing.SKIP)},
        breakers={"b": replace(breaker, open_us=1)},
        retries={"again": replace(retry, attempts=4)},
        upstreams={"api": replace(UPSTREAM, port=8443)},
        classes=Classes([Rule(ErrorClass("odd"), {418})]),
    )
    found = {one.section: one for one in diff(before, after)}
    assert set(found) == {"routes", "upstreams", "keys", "retries", "breakers", "error_classes"}
    fields = {one.name: one for one in found["routes"].fields}
    assert fields["match"].after["methods"] == ["GET", "PUT"]
    assert (fields["retry"].before, fields["retry"].after, fields["breaker"].after) == (None, "again", "b")
    assert fields["operations"].after[0]["cost"] == {"w": 3}
    assert [tuple(one) for one in found["keys"].fields] == [("on_missing", "reject", "skip")]
    assert found["routes"].effect is Effect.NONE


def test_error_classes_are_told_by_name() -> None:
    gone = Rule(ErrorClass("gone", source="p.yaml:3"), {410})
    odd = Rule(ErrorClass("odd", retry=False, source="p.yaml:4"), {*statuses_of("5xx"), 418, 410})
    away = ErrorClass("odd", True, Counts.FAILURE, "tenant", ConnectionState.OFFLINE, "p.yaml:4")
    before = replace(SET, classes=Classes([gone, odd]))
    (came,) = diff(replace(SET, classes=Classes([gone])), before)
    assert came == Difference("error_classes", "odd", What.ADDED, source="p.yaml:4")
    (changed,) = diff(before, replace(SET, classes=Classes([gone, Rule(away, {418, 503}, ("tls",))])))
    assert (changed.name, changed.what, changed.source) == ("odd", What.CHANGED, "p.yaml:4")
    assert [tuple(one) for one in changed.fields] == [
        ("status", [410, 418, "5xx"], [418, 503]),
        ("error", [], ["tls"]),
        ("retry", False, True),
        ("breaker", "ignore", "failure"),
        ("pause", "", "tenant"),
        ("connection_state", None, "offline"),
    ]


def test_error_classes_that_changed_places() -> None:
    gone, odd = Rule(ErrorClass("gone"), {410}), Rule(ErrorClass("odd", retry=False), {410, 418})
    (found,) = diff(replace(SET, classes=Classes([gone, odd])), replace(SET, classes=Classes([odd, gone])))
    assert (found.section, found.name, found.what) == ("error_classes", "", What.CHANGED)
    assert [tuple(one) for one in found.fields] == [("order", ["gone", "odd"], ["odd", "gone"])]


def test_of_credentials_only_the_names_of_fields_are_told() -> None:
    keys = ApiKeys("k", "x-api-key", {"sha256": {b"old": Identity("k", "1", {})}}, pepper=b"secret")
    before = replace(SET, authentication={"k": keys})
    after = replace(SET, authentication={"k": replace(keys, pepper=b"other", entries={})})
    (found,) = diff(before, after)
    assert [tuple(one) for one in found.fields] == [("entries", None, None), ("pepper", None, None)]
    token = Jwt("k", "authorization", "iss", ("aud",), ("RS256",))
    (other,) = diff(before, replace(SET, authentication={"k": token}))
    assert [tuple(one) for one in other.fields] == [("type", "ApiKeys", "Jwt")]
