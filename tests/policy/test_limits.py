"""What a limit of the file is in the compiled set: every number, override and variant."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from gateway.core.calendars import Unit
from gateway.core.keys import KeyFrom, KeyPart, OnMissing
from gateway.core.limits import Algorithm, ChargePer, Limit, Mode, Override, Posture
from gateway.policy import Report
from gateway.policy.effective import amount
from tests.policy.whole import LIMIT, a_key, a_limit

Check = Callable[..., Report]
S = 1_000_000


def compiled(report: Report) -> Limit:
    assert report.errors == ()
    assert report.policies is not None
    return report.policies.limits["per-tenant"]


@pytest.mark.parametrize(
    ("text", "algorithm", "numbers"),
    [
        ("algorithm: rolling_window, limit: 500, window: 10m", Algorithm.ROLLING_WINDOW, (500, 600 * S, 0, 0, 1)),
        (
            "algorithm: rolling_window, limit: 500, window: 10m, precision: 60",
            Algorithm.ROLLING_WINDOW,
            (500, 600 * S, 0, 0, 10 * S),
        ),
        (
            "algorithm: rolling_window, limit: 5, window: 1s, precision: 3",
            Algorithm.ROLLING_WINDOW,
            (5, S, 0, 0, 333_334),
        ),
        ("algorithm: fixed_window, limit: 9, window: 1d", Algorithm.FIXED_WINDOW, (9, 86_400 * S, 0, 0, 1)),
        ("algorithm: token_bucket, rate: 60, per: 1m, burst: 20", Algorithm.TOKEN_BUCKET, (20, 20 * S, 1, S, 1)),
        ("algorithm: token_bucket, rate: 7, per: 1s", Algorithm.TOKEN_BUCKET, (7, S, 7, S, 1)),
        ("algorithm: token_bucket, rate: 3, per: 1s, burst: 1", Algorithm.TOKEN_BUCKET, (1, 333_334, 3, S, 1)),
        ("algorithm: concurrency, limit: 8", Algorithm.CONCURRENCY, (8, 60 * S, 0, 0, 1)),
        ("algorithm: concurrency, limit: 8, lease: 1500ms", Algorithm.CONCURRENCY, (8, 1_500_000, 0, 0, 1)),
    ],
)
def test_the_numbers_of_each_algorithm(
    report_of: Check, text: str, algorithm: Algorithm, numbers: tuple[int, ...]
) -> None:
    limit = compiled(report_of(a_limit(f"{text}, key: [tenant]")))
    assert limit.algorithm is algorithm
    assert (limit.quota, limit.window_us, limit.rate, limit.per_us, limit.quantum_us) == numbers


@pytest.mark.parametrize(
    ("text", "unit", "zone", "window_s"),
    [
        ("window: day", Unit.DAY, "UTC", 86_400),
        ("window: week, timezone: UTC", Unit.WEEK, "UTC", 7 * 86_400),
        ("window: month, timezone: Europe/Berlin", Unit.MONTH, "Europe/Berlin", 31 * 86_400),
    ],
)
def test_windows_by_the_calendar(report_of: Check, text: str, unit: Unit, zone: str, window_s: int) -> None:
    limit = compiled(report_of(a_limit(f"algorithm: fixed_window, limit: 9, {text}, key: [tenant]")))
    assert limit.calendar is not None
    assert (limit.calendar.unit, str(limit.calendar.zone), limit.window_us) == (unit, zone, window_s * S)
    assert amount(limit) == f"9 per {unit} ({zone})"


def test_overrides_and_variants_of_a_window_by_the_calendar(report_of: Check) -> None:
    overrides = (
        "[{match: {tenant: a}, window: 1h}, {match: {tenant: b}, timezone: Asia/Tokyo}, {match: {tenant: c}, limit: 1}]"
    )
    text = f"algorithm: fixed_window, limit: 9, window: day, key: [tenant], overrides: {overrides}"
    rolling = "{algorithm: rolling_window, limit: 9, window: 1d}"
    limit = compiled(report_of(a_limit(f"{text}, shadow: {rolling}")))
    calendars = [None if one.limit.calendar is None else str(one.limit.calendar) for one in limit.overrides]
    assert calendars == [None, "day, Asia/Tokyo", "day, UTC"]
    assert limit.overrides[0].limit.window_us == 3600 * S
    assert limit.shadow is not None
    assert limit.shadow.calendar is None
    variant = compiled(report_of(a_limit(f"{text}, timezone: Asia/Tokyo, shadow: {{window: week}}"))).shadow
    assert variant is not None
    assert str(variant.calendar) == "week, Asia/Tokyo"


def test_what_is_left_out_has_a_default(report_of: Check) -> None:
    limit = compiled(report_of(a_limit(LIMIT)))
    assert limit == Limit("per-tenant", Algorithm.ROLLING_WINDOW, 5, S, ("tenant",), source="p.yaml:6")
    assert (limit.mode, limit.charge, limit.on_store_error) == (Mode.ENFORCE, ChargePer.CALL, Posture.LOCAL)


def test_what_is_said(report_of: Check) -> None:
    limit = compiled(report_of(a_limit(f"{LIMIT}, mode: shadow, charge: per_attempt, on_store_error: deny")))
    assert (limit.mode, limit.charge, limit.on_store_error) == (Mode.SHADOW, ChargePer.ATTEMPT, Posture.DENY)


def test_overrides_change_what_they_name_and_keep_the_rest(report_of: Check) -> None:
    overrides = "[{match: {tenant: acme}, limit: 2000}, {match: {tenant: probe}, mode: off}]"
    limit = compiled(report_of(a_limit(f"{LIMIT}, charge: per_attempt, overrides: {overrides}, shadow: {{limit: 2}}")))
    more = Limit(
        "per-tenant", Algorithm.ROLLING_WINDOW, 2000, S, ("tenant",), charge=ChargePer.ATTEMPT, source="p.yaml:6"
    )
    off = Limit(
        "per-tenant",
        Algorithm.ROLLING_WINDOW,
        5,
        S,
        ("tenant",),
        mode=Mode.OFF,
        charge=ChargePer.ATTEMPT,
        source="p.yaml:6",
    )
    assert limit.overrides == (Override((("tenant", "acme"),), more), Override((("tenant", "probe"),), off))
    assert limit.for_caller({"tenant": "acme"}) == more
    assert limit.for_caller({"tenant": "other"}) == replace(limit, overrides=())


def test_an_override_of_the_rate_is_one_of_the_default_burst_too(report_of: Check) -> None:
    text = "algorithm: token_bucket, rate: 5, per: 1s, key: [tenant], overrides: [{match: {tenant: a}, rate: 50}]"
    other = compiled(report_of(a_limit(text))).overrides[0].limit
    assert (other.quota, other.rate, other.per_us) == (50, 1, 20_000)


def test_a_variant_has_counters_of_its_own(report_of: Check) -> None:
    shadow = compiled(report_of(a_limit(f"{LIMIT}, shadow: {{limit: 4}}"))).shadow
    assert shadow == Limit(
        "per-tenant.shadow", Algorithm.ROLLING_WINDOW, 4, S, ("tenant",), mode=Mode.SHADOW, source="p.yaml:6"
    )


def test_a_variant_of_a_limit_that_is_off_is_never_tried(report_of: Check) -> None:
    (found,) = report_of(a_limit(f"{LIMIT}, mode: off, shadow: {{limit: 4}}")).warnings
    assert (found.code, found.text) == (
        "never-applies",
        "nothing is tried of a limit that is off (mode: shadow refuses nobody either)",
    )


def test_a_variant_may_count_otherwise(report_of: Check) -> None:
    shadow = compiled(report_of(a_limit(f"{LIMIT}, shadow: {{algorithm: token_bucket, rate: 2, per: 1s}}"))).shadow
    assert shadow is not None
    assert (shadow.algorithm, shadow.quota, shadow.rate, shadow.quantum_us) == (Algorithm.TOKEN_BUCKET, 2, 1, 1)


def test_an_override_behind_a_wider_one_never_applies(report_of: Check) -> None:
    text = f"{LIMIT}, overrides: [{{match: {{tenant: a}}, limit: 6}}, {{match: {{tenant: a}}, limit: 7}}]"
    assert [str(warning) for warning in report_of(a_limit(text)).warnings] == [
        "p.yaml:6:124: this override never applies: the one on line 6 matches first [never-applies]"
    ]


def test_a_long_log_is_warned_of(report_of: Check) -> None:
    report = report_of(a_limit("algorithm: rolling_window, limit: 200000, window: 1h, key: [tenant]"))
    assert [str(warning) for warning in report.warnings] == [
        "p.yaml:6:3: limit 'per-tenant' keeps up to 200,000 entries per key in the store "
        "(`precision: 60` bounds that) [large-window]"
    ]
    bounded = "algorithm: rolling_window, limit: 200000, window: 1h, precision: 60, key: [tenant]"
    assert report_of(a_limit(bounded)).warnings == ()


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (
            "from: header, name: X-Tenant-Id, on_missing: reject",
            KeyPart("tenant", KeyFrom.HEADER, "x-tenant-id", OnMissing.REJECT),
        ),
        ("from: query, name: tId, on_missing: skip", KeyPart("tenant", KeyFrom.QUERY, "tId", OnMissing.SKIP)),
        ("from: client_ip", KeyPart("tenant", KeyFrom.CLIENT_IP, "", OnMissing.ANONYMOUS, 64)),
        (
            "from: client_ip, ipv6_prefix: 48, on_missing: reject",
            KeyPart("tenant", KeyFrom.CLIENT_IP, "", OnMissing.REJECT, 48),
        ),
        ("from: api_key, on_missing: skip", KeyPart("tenant", KeyFrom.API_KEY, "x-api-key", OnMissing.SKIP)),
        (
            "from: api_key, name: Authorization, on_missing: anonymous",
            KeyPart("tenant", KeyFrom.API_KEY, "authorization", OnMissing.ANONYMOUS),
        ),
    ],
)
def test_key_parts_are_read(report_of: Check, text: str, part: KeyPart) -> None:
    report = report_of(a_key(text))
    assert report.policies is not None
    assert report.policies.keys == {"tenant": part}
    assert report.policies.routes[0].keys == (part,)
