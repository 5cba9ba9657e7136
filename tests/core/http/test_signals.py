"""What upstreams ask for, in the words of real vendors, of the drafts, and in nonsense."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.http.signals import NOTHING, Asked, Honor, read
from gateway.core.http.timestamps import MAX_WAIT_US, wait_us

S = 1_000_000
NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
NOW_S = int(NOW.timestamp())
NOW_US = NOW_S * S
EVERYTHING = frozenset(Honor)


def asked(status: int, *lines: str, honor: frozenset[str] = EVERYTHING) -> Asked:
    pairs = (line.split(": ", 1) for line in lines)
    return read(status, tuple((name.encode(), value.encode()) for name, value in pairs), NOW_US, honor)


VENDORS = {
    # Their documentation's fields and units, with times moved to the test's clock.
    "GitHub, primary": (429, ["x-ratelimit-limit: 5000", "x-ratelimit-remaining: 0", f"x-ratelimit-reset: {NOW_S + 600}"], 600, 0),
    "GitHub, secondary": (403, ["retry-after: 60", "x-ratelimit-remaining: 4990", f"x-ratelimit-reset: {NOW_S + 600}"], 60, 4990),
    "GitLab": (429, ["RateLimit-Limit: 60", "RateLimit-Observed: 67", "RateLimit-Remaining: 0", f"RateLimit-Reset: {NOW_S + 30}", "RateLimit-ResetTime: Sun, 01 Mar 2026 12:00:30 GMT"], 30, 0),
    "X": (429, ["x-rate-limit-limit: 900", "x-rate-limit-remaining: 0", f"x-rate-limit-reset: {NOW_S + 900}"], 900, 0),
    "Okta": (429, ["X-Rate-Limit-Limit: 600", "X-Rate-Limit-Remaining: 0", f"X-Rate-Limit-Reset: {NOW_S + 23}"], 23, 0),
    "Vimeo": (429, ["X-RateLimit-Limit: 100", "X-RateLimit-Remaining: 0", "X-RateLimit-Reset: 2026-03-01T12:01:00+00:00"], 60, 0),
    "Jira Cloud": (429, ["Retry-After: 12", "X-RateLimit-Reset: 2026-03-01T12:05Z", "X-RateLimit-NearLimit: true"], 12, None),
    "Jira Cloud without Retry-After": (429, ["X-RateLimit-Reset: 2026-03-01T12:05Z"], 300, None),
    "Confluence with tokens left": (200, ["X-RateLimit-Remaining: 7", "retry-after: 0"], 0, 7),
    "Shopify": (429, ["Retry-After: 2.0", "X-Shopify-Shop-Api-Call-Limit: 40/40"], 2, None),
    "Discord": (429, ["X-RateLimit-Limit: 5", "X-RateLimit-Remaining: 0", f"X-RateLimit-Reset: {NOW_S + 1}.000", "X-RateLimit-Reset-After: 1.000"], 1, 0),
    "Reddit": (200, ["X-Ratelimit-Remaining: 595.0", "X-Ratelimit-Used: 5", "X-Ratelimit-Reset: 239"], 0, 595),
    "Pipedrive": (429, ["x-ratelimit-limit: 20", "x-ratelimit-remaining: 0", "x-ratelimit-reset: 2"], 2, 0),
    "Zendesk": (429, ["Retry-After: 93", "ratelimit-limit: 700", "ratelimit-remaining: 0", "ratelimit-reset: 41"], 93, 0),
    "Slack": (429, ["Retry-After: 30"], 30, None),
    "Microsoft Graph": (503, ["Retry-After: 10"], 10, None),
    "SharePoint": (200, ["RateLimit-Limit: 1200", "RateLimit-Remaining: 0", "RateLimit-Reset: 5"], 5, 0),
    "Docker Hub": (429, ["ratelimit-limit: 100;w=21600", "ratelimit-remaining: 0;w=21600", "Retry-After: 3600"], 3600, 0),
    "Let's Encrypt": (429, ["Retry-After: Sun, 01 Mar 2026 13:00:00 GMT"], 3600, None),
    "Cloudflare": (429, ['Ratelimit-Policy: "burst";q=100;w=60,"day";q=1000;w=86400', 'Ratelimit: "burst";r=0;t=30,"day";r=200;t=9000'], 30, 0),
    "express-rate-limit, draft 6": (429, ["RateLimit-Policy: 100;w=900", "RateLimit-Limit: 100", "RateLimit-Remaining: 0", "RateLimit-Reset: 57"], 57, 0),
    "express-rate-limit, draft 7": (429, ["RateLimit-Policy: 100;w=900", "RateLimit: limit=100, remaining=0, reset=57"], 57, 0),
    "express-rate-limit, draft 8": (429, ['RateLimit-Policy: "100-in-15min"; q=100; w=900; pk=:MTIz:', 'RateLimit: "100-in-15min"; r=0; t=57'], 57, 0),
    "this gateway, to the call that has the last slot": (200, ['RateLimit-Policy: "w";q=9;w=60, "s";q=1;qu="concurrent-requests"', 'RateLimit: "w";r=8;t=54, "s";r=0;t=1'], 0, 8),
    "the same, slots only": (200, ['RateLimit-Policy: "s";q=1;qu="concurrent-requests"', 'RateLimit: "s";r=0;t=1'], 0, None),
    "the same, refused": (429, ['RateLimit-Policy: "s";q=1;qu="concurrent-requests"', 'RateLimit: "s";r=0;t=1'], 1, 0),
    "epoch milliseconds": (429, ["X-RateLimit-Remaining: 0", f"X-RateLimit-Reset: {NOW_S + 90}250"], 90.25, 0),
    "an epoch as Retry-After": (429, [f"Retry-After: {NOW_S + 60}"], 60, None),
}  # fmt: skip


@pytest.mark.parametrize("vendor", VENDORS)
def test_vendors(vendor: str) -> None:
    status, lines, wait_s, remaining = VENDORS[vendor]
    assert asked(status, *lines)[:2] == (wait_s * S, remaining)


class TestWhenAResetIsAWait:
    def test_nothing_left_on_a_success(self) -> None:
        assert asked(200, "X-RateLimit-Remaining: 0", "X-RateLimit-Reset: 9").wait_us == 9 * S

    @pytest.mark.parametrize("status", [200, 429, 503])
    def test_not_while_something_is_left(self, status: int) -> None:
        assert asked(status, "X-RateLimit-Remaining: 3", "X-RateLimit-Reset: 9") == Asked(0, 3, 9 * S)

    def test_unknown_rest_counts_as_none_on_429_only(self) -> None:
        assert asked(429, "X-RateLimit-Reset: 9").wait_us == 9 * S
        assert asked(503, "X-RateLimit-Reset: 9").wait_us == 0

    def test_the_longest_of_the_quotas_that_are_used_up(self) -> None:
        line = 'RateLimit: "second";r=0;t=1, "day";r=0;t=7000, "month";r=5;t=90000'
        assert asked(429, line) == Asked(7000 * S, 0, 7000 * S)

    def test_the_window_where_the_time_is_not_given(self) -> None:
        lines = ['RateLimit-Policy: "a";q=5;w=60, "b";q=1;w=9', 'RateLimit: "a";r=0']
        assert asked(429, *lines) == Asked(60 * S, 0, 60 * S)
        assert asked(429, lines[1]) == Asked(0, 0, 0)

    def test_the_quota_with_least_left_is_the_one_that_is_told(self) -> None:
        assert asked(200, 'RateLimit: "a";r=50;t=1, "b";r=3;t=8', "X-RateLimit-Remaining: 9") == Asked(0, 3, 8 * S)


class TestRetryAfter:
    def test_wins_over_resets(self) -> None:
        assert asked(429, "X-RateLimit-Remaining: 0", "X-RateLimit-Reset: 600", "Retry-After: 5").wait_us == 5 * S

    @pytest.mark.parametrize("status", [200, 202, 301])
    def test_is_about_polling_and_redirects_on_other_answers(self, status: int) -> None:
        assert asked(status, "Retry-After: 120") == NOTHING

    def test_gives_way_when_it_says_nothing(self) -> None:
        assert asked(429, "Retry-After: soon", "X-RateLimit-Reset: 7").wait_us == 7 * S

    def test_twice_is_the_longer_one(self) -> None:
        assert asked(503, "Retry-After: 3", "retry-after: 8").wait_us == 8 * S


def test_only_families_that_are_honored_are_heard() -> None:
    lines = ["Retry-After: 3", 'RateLimit: "a";r=0;t=5', "X-RateLimit-Remaining: 0", "X-RateLimit-Reset: 7"]
    assert asked(429, *lines, honor=frozenset({"Retry-After"})) == Asked(3 * S)
    assert asked(429, *lines, honor=frozenset({"RateLimit"})) == Asked(5 * S, 0, 5 * S)
    assert asked(429, *lines, honor=frozenset({"X-RateLimit-Reset"})) == Asked(7 * S, 0, 7 * S)
    assert asked(429, *lines, honor=frozenset()) == NOTHING


def test_names_with_separators_in_quotes_are_one_item() -> None:
    line = r'RateLimit: "a,\";b";r=4;t=5'
    assert asked(200, line) == Asked(0, 4, 5 * S)
    assert asked(200, 'RateLimit: "tier=gold";r=4;t=5') == Asked(0, 4, 5 * S)


NONSENSE = "s|1s5|1m-5s|1.s|9999h|1s m|soon|-5|+5|1e3|0x10|5 s|1.|.5|99999999|٣|1d|2026-13-01T00:00:00Z|2026-03-01|2031-01-01T00:00:00Z|Sun, 31 Feb 2026 00:00:00 GMT"


@pytest.mark.parametrize(
    "value",
    [
        "",
        "9" * 30,
        "x" * 5000,
        f"{NOW_S + 400 * 86400}",
        *NONSENSE.split("|"),
        "Sun, 01 Mar 2026 25:00:00 GMT",
        "Sun, 01 Mar 2026 12:00:00 CET",
    ],
)
def test_nonsense_asks_for_nothing(value: str) -> None:
    assert wait_us(value, NOW_US) is None
    assert read(429, ((b"Retry-After", value.encode()),), NOW_US, EVERYTHING) == NOTHING


@pytest.mark.parametrize(
    ("value", "wait_s"),
    [
        ("0", 0),
        ("120", 120),
        (" 7\t", 7),
        ("0.0000001", 0.000001),
        ("1.5", 1.5),
        ("1m30s", 90),
        ("6m0s", 360),
        ("12ms", 0.012),
        ("7.66s", 7.66),
        ("1h2m3.5s", 3723.5),
        ("0s", 0),
        ("Sun, 01 Mar 2026 12:00:41 GMT", 41),
        ("Sun, 1 Mar 2026 12:00:41 UTC", 41),
        ("Sunday, 01-Mar-26 12:00:41 GMT", 41),
        ("Sun Mar  1 12:00:41 2026", 41),
        ("Sun, 01 Mar 2026 12:00:60 GMT", 59),
        ("2026-03-01T12:00:41Z", 41),
        ("2026-03-01 12:00:41.250", 41.25),
        ("2026-03-01T14:00:41+02:00", 41),
        ("Sun, 01 Mar 2026 11:00:00 GMT", 0),
        ("Sunday, 01-Mar-99 12:00:41 GMT", 0),  # 1999, not 2099
        ("Thursday, 01-Mar-68 12:00:41 GMT", None),  # 2068: more than a year ahead
        (f"{NOW_S - 5}", 0),
        (f"{NOW_S}999", 0.999),
    ],
)
def test_moments(value: str, wait_s: float | None) -> None:
    assert wait_us(value, NOW_US) == (None if wait_s is None else round(wait_s * S))


@given(st.integers(0, 366 * 86400 - 1), st.sampled_from(["delta", "epoch", "ms", "http", "iso"]))
def test_every_form_of_one_time_is_the_same_wait(seconds: int, form: str) -> None:
    when = NOW + timedelta(seconds=seconds)
    text = {
        "delta": str(seconds),
        "epoch": str(NOW_S + seconds),
        "ms": str((NOW_S + seconds) * 1000),
        "http": format_datetime(when, usegmt=True),
        "iso": when.isoformat(),
    }[form]
    assert wait_us(text, NOW_US) == seconds * S


THEIRS = NOW + timedelta(hours=1)
"""What time it is where the upstream is; which of the two clocks is right does not matter."""


@pytest.mark.parametrize(
    ("lines", "wait_s"),
    [
        ([f"Retry-After: {format_datetime(THEIRS + timedelta(seconds=41), usegmt=True)}"], 41),
        ([f"RateLimit-Reset: {NOW_S + 3641}"], 41),
        (["X-RateLimit-Remaining: 0", f"X-RateLimit-Reset: {(THEIRS + timedelta(seconds=41)).isoformat()}"], 41),
        (["Age: 30", f"Retry-After: {NOW_S + 3641}"], 11),
        (["Age: soon", f"Retry-After: {NOW_S + 3641}"], 41),
        (["Retry-After: 41"], 41),
    ],
)
def test_a_point_in_time_is_meant_by_the_clock_of_who_names_it(lines: list[str], wait_s: int) -> None:
    for our_us in (NOW_US - 3600 * S, NOW_US, NOW_US + 7200 * S):
        fields = [f"Date: {format_datetime(THEIRS, usegmt=True)}", *lines]
        pairs = (line.split(": ", 1) for line in fields)
        found = read(429, tuple((name.encode(), value.encode()) for name, value in pairs), our_us, EVERYTHING)
        assert found.wait_us == wait_s * S


@pytest.mark.parametrize("date", ["", "yesterday", f"{NOW_S}"])
def test_without_a_date_it_is_as_late_there_as_here(date: str) -> None:
    assert asked(429, f"Date: {date}", f"Retry-After: {NOW_S + 41}").wait_us == 41 * S


_NAMES = ["Date", "Age", "Retry-After", "RateLimit", "RateLimit-Policy", "RateLimit-Reset", "RateLimit-Remaining"]
_NAMES += ["X-RateLimit-Reset", "X-RateLimit-Remaining", "X-Rate-Limit-Reset", "x-ratelimit-reset-after", "Other"]
_VALUES = st.binary(max_size=40) | st.from_regex(
    r'("[a-z\\";,]{0,4}";?)?([rtw]=\d{0,20}[;,]?){0,4}', fullmatch=True
).map(str.encode)


@given(st.integers(100, 999), st.lists(st.tuples(st.sampled_from(_NAMES).map(str.encode), _VALUES), max_size=6))
def test_whatever_an_upstream_says_the_wait_is_bounded(status: int, fields: list[tuple[bytes, bytes]]) -> None:
    found = read(status, tuple(fields), NOW_US, EVERYTHING)
    assert 0 <= found.wait_us <= MAX_WAIT_US
    assert 0 <= found.reset_us <= MAX_WAIT_US
    assert found.remaining is None or 0 <= found.remaining < 10**15


_NUMBERS = st.none() | st.integers(0, 10**9).map(str) | st.sampled_from(["", "07", " 7", "\u0667", "7.0", "7, 8", "-1"])


@given(st.sampled_from([200, 429, 503]), _NUMBERS, _NUMBERS)
def test_plain_numbers_mean_the_same_however_they_are_read(status: int, left: str | None, until: str | None) -> None:
    pairs = ((b"X-RateLimit-Remaining", left), (b"X-RateLimit-Reset", until))
    fields = [(name, value.encode()) for name, value in pairs if value is not None]
    well = [*fields, (b"RateLimit-Policy", b'"a";q=1')]  # which says nothing, but is not plain
    assert read(status, tuple(fields), NOW_US, EVERYTHING) == read(status, tuple(well), NOW_US, EVERYTHING)
