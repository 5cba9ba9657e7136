"""docs/vendors.md: what it says that APIs answer is understood as it says."""

import re
from pathlib import Path

from gateway.core.learning import says_too_many
from tests.policy.test_sets import Check

TEXT = (Path(__file__).parents[2] / "docs" / "vendors.md").read_text()
_NUMBERS, WORDS = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)


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
