"""docs/vendors.md: what it says that APIs answer is understood as it says."""

import re
from pathlib import Path

from gateway.core.learning import heeded, says_too_many
from tests.policy.test_sets import Check

TEXT = (Path(__file__).parents[2] / "docs" / "vendors.md").read_text()
_NUMBERS, WORDS, FIELDS = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)


def test_each_body_that_is_shown_is_taken_for_a_429(report_of: Check) -> None:
    report = report_of(WORDS.replace("version: 1\n", ""))
    assert (report.errors, report.warnings) == ((), ())
    assert report.policies is not None
    shown = re.findall(r"^  ([a-z-]+): +# (\d+) (.*)$", WORDS, re.MULTILINE)
    assert {name for name, _, _ in shown} == set(report.policies.upstreams)
    for name, status, body in shown:
        learning = report.policies.upstreams[name].learning
        assert learning is not None
        assert says_too_many(learning, int(status), "", body.encode())


SAID = {
    "xero": (
        [("X-DayLimit-Remaining", "4999"), ("X-MinLimit-Remaining", "59"), ("X-AppMinLimit-Remaining", "9")],
        59,
        60,
    ),
    "hubspot": ([("X-HubSpot-RateLimit-Remaining", "90"), ("X-HubSpot-RateLimit-Daily-Remaining", "8")], 90, 10),
    "anthropic": (
        [
            ("anthropic-ratelimit-requests-remaining", "49"),
            ("anthropic-ratelimit-requests-reset", "1970-01-01T00:01:30Z"),
        ],
        49,
        90,
    ),
    "salesforce": ([("Sforce-Limit-Info", "api-usage=100000/100000; per-app-api-usage=17/250(appName=x)")], 0, 300),
}


def test_fields_of_their_own(report_of: Check) -> None:
    report = report_of(FIELDS.replace("version: 1\n", ""))
    assert (report.errors, report.warnings) == ((), ())
    assert report.policies is not None
    assert set(SAID) == set(report.policies.upstreams)
    for name, (fields, left, for_s) in SAID.items():
        learning = report.policies.upstreams[name].learning
        assert learning is not None
        raw = tuple((field.encode(), value.encode()) for field, value in fields)
        assert heeded(learning, 200, None, raw, 0) == (for_s * 1_000_000, left)
