"""docs/breakers.md says what the code does."""

import re
from pathlib import Path

from gateway.core.classes import DEFAULT, Counts
from gateway.core.guards import (
    MAX_CALLS,
    MAX_GROWTH_MILLI,
    MAX_OPEN_US,
    MAX_PROBES,
    MAX_WINDOW_US,
    Breaker,
    Reason,
)
from gateway.core.guards.breaker import REMEMBERED_US
from gateway.core.learning import LOOKED_AT_BYTES, says_too_many
from gateway.policy.compile.breakers import PROBE_SLACK_US
from gateway.upstream.held import HOLD_S
from tests.policy.test_sets import Check

TEXT = (Path(__file__).parents[2] / "docs" / "breakers.md").read_text()
EXAMPLE, PAUSES, OTHERS, WORDS, AS_LIMIT = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
KEYS = "keys:\n  connection: {from: header, name: X-Connection-Id, on_missing: skip}\n"
S = 1_000_000


def section(title: str) -> str:
    return TEXT.split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]


def test_the_examples_are_policies_and_the_first_says_the_defaults(report_of: Check) -> None:
    report = report_of(KEYS + EXAMPLE + PAUSES)
    assert (report.errors, report.warnings) == ((), ())
    assert report.policies is not None
    written = report.policies.breakers["connection"]
    default = Breaker("", ())
    assert written == Breaker(
        "connection",
        ("connection",),
        failure_ppm=500_000,
        slow_ppm=800_000,
        slow_us=10 * S,
        consecutive_failures=5,
        growth_milli=2000,
        close_after=2,
        probe_us=52 * S + PROBE_SLACK_US,
        source=written.source,
    )
    assert (default.window_us, default.minimum_calls) == (60 * S, 10)
    assert (default.open_us, default.max_open_us, default.half_open_calls) == (30 * S, 300 * S, 1)
    learning = report.policies.upstreams["erp"].learning
    assert learning is not None
    assert (learning.key, learning.max_us, learning.as_limit) == (("connection",), 900 * S, False)


def test_what_is_left_as_a_limit(report_of: Check) -> None:
    route = "routes:\n  - {name: crm, match: {path_prefix: /crm/}, upstream: crm}\n"
    report = report_of(KEYS + AS_LIMIT + route)
    assert (report.errors, report.warnings) == ((), ())
    assert report.policies is not None
    learning = report.policies.upstreams["crm"].learning
    assert learning is not None
    assert learning.as_limit


def test_other_words_for_too_many_calls(report_of: Check) -> None:
    report = report_of(KEYS + OTHERS + "routes:\n  - {name: github, upstream: github}\n")
    assert (report.errors, report.warnings) == ((), ())
    assert report.policies is not None
    learning = report.policies.upstreams["github"].learning
    assert learning is not None
    assert (learning.also_on, learning.otherwise_us) == ({403}, 60 * S)


def test_what_only_a_body_says(report_of: Check) -> None:
    report = report_of(KEYS + WORDS + "routes:\n  - {name: drive, upstream: drive}\n")
    assert (report.errors, report.warnings) == ((), ())
    assert report.policies is not None
    learning = report.policies.upstreams["drive"].learning
    assert learning is not None
    said = b'{"error":{"code":403,"errors":[{"domain":"usageLimits","reason":"userRateLimitExceeded"}]}}'
    assert says_too_many(learning, 403, "", said)
    assert f"at most {LOOKED_AT_BYTES // 1024} KiB" in TEXT
    assert HOLD_S == 1, "for a second at most"


def test_every_reason_is_explained() -> None:
    cells = re.findall(r"^\| (`.*?) \|", section("Seeing it"), re.MULTILINE)
    named = re.findall(r"`(\w+)`", " ".join(cells))
    assert sorted(named) == sorted({"reason", *(reason.name.lower() for reason in Reason if reason)})


def test_what_counts() -> None:
    ignored = {int(status) for status in re.findall(r"\b4\d\d\b", section("What counts"))}
    assert ignored == {400, 401, 403, 404, 429}
    assert {DEFAULT.statuses[status].breaker for status in range(400, 500)} == {Counts.IGNORE}
    assert {DEFAULT.statuses[status].breaker for status in range(500, 600)} == {Counts.FAILURE}


def test_permits_never_last_longer_than_a_probe_may_take(report_of: Check) -> None:
    quick = "{timeouts: {connect: 500ms, first_byte: 1s, idle: 500ms}, url: "
    report = report_of(KEYS + EXAMPLE + PAUSES.replace("{url: ", quick))
    assert report.policies is not None, report.errors
    breaker = report.policies.breakers["connection"]
    assert (breaker.probe_us, breaker.permit_us) == (3 * S, 3 * S)


def test_numbers() -> None:
    assert (MAX_WINDOW_US, MAX_OPEN_US, MAX_GROWTH_MILLI) == (3600 * S, 24 * 3600 * S, 100_000)
    assert (MAX_PROBES, MAX_CALLS) == (100, 1_000_000)
    assert "`window` 1h · `open_for`, `max_open_for` 24h · `open_backoff` 100 · `half_open_calls` 100 ·" in section(
        "Bounds"
    )
    assert (REMEMBERED_US, PROBE_SLACK_US, Breaker("", ()).permit_us) == (3600 * S, S, 5 * S)
    assert "within five seconds" in section("States")
    assert "and a second)" in section("States")
