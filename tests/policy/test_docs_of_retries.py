"""What docs/retries.md shows is true."""

import re
from pathlib import Path

from gateway.core.classes import DEFAULT, KINDS, Counts
from gateway.core.connections.state import ConnectionState
from gateway.core.retry import Stop
from gateway.policy import check
from gateway.policy.models import attempts

TEXT = (Path(__file__).parents[2] / "docs" / "retries.md").read_text()
REST = """\
keys:
  connection: {from: header, name: X-Connection-Id, on_missing: skip}
upstreams:
  crm: {url: "https://crm.example"}
"""


def keys(section: str) -> set[str]:
    """The keys in the first column of a section's table."""
    cells = re.findall(r"^\| (`[^|]*`) \|", TEXT.split(f"## {section}\n")[1].split("\n## ")[0], re.MULTILINE)
    return {name for cell in cells for name in re.findall("`([a-z_.]+)`", cell)}


def test_the_snippets_are_one_set_without_fault(directory: Path) -> None:
    (directory / "rest.yaml").write_text(REST)
    for number, block in enumerate(re.findall(r"^```yaml\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)):
        (directory / f"{number}.yaml").write_text(block)
    report = check([directory])
    assert report.errors == ()
    assert {warning.code for warning in report.warnings} <= {"unused"}
    assert report.policies is not None
    assert len(report.policies.files) == 4


def test_every_key_of_a_retry_policy_is_explained() -> None:
    fields = {f"backoff.{name}" for name in attempts.Backoff.model_fields}
    assert keys("Retries") == fields | set(attempts.Retry.model_fields) - {"backoff"}


def test_the_built_in_classes_are_as_in_the_table() -> None:
    assert keys("Error classes") == {one.name for one in (*DEFAULT.statuses.values(), *DEFAULT.errors.values())} - {
        "busy"
    }
    for name in ("connect", "timeout", "tls", "reset", "malformed"):
        error_class = DEFAULT.errors[min(KINDS[name])]
        assert (error_class.name, error_class.retry, error_class.breaker) == (name, True, Counts.FAILURE)
    assert [DEFAULT.statuses[status].condition for status in (401, 403)] == [
        ConnectionState.AUTH_REQUIRED,
        ConnectionState.PERMISSION_DENIED,
    ]
    assert [status for status in range(400, 600) if not DEFAULT.statuses[status].retry] == [401, 403]


def test_every_reason_is_named() -> None:
    named = TEXT.split("has the same list and a `reason`")[1].split("`gateway_upstream_retries_total")[0]
    assert set(re.findall("`([a-z_]+)`", named)) == {stop.value for stop in Stop} - {"method"}
