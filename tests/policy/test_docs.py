"""What docs/policies.md shows is true."""

import re
from pathlib import Path

import pytest

from gateway.cli.policies.checking import run_check
from gateway.core.routing.match import find_route
from gateway.policy import check
from gateway.policy.models.policies import ENTRY_TYPES

DOCUMENT = Path(__file__).parents[2] / "docs" / "policies.md"
TEXT = DOCUMENT.read_text()


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def test_the_snippets_are_one_set_without_fault(directory: Path) -> None:
    """As the document says: files are one set, and every file may use what another defines."""
    for number, block in enumerate(blocks("yaml")):
        (directory / f"{number}.yaml").write_text(block)
    report = check([directory])
    assert report.errors == ()
    assert {warning.code for warning in report.warnings} <= {"unused"}
    assert report.policies is not None
    assert len(report.policies.files) == 7
    found = find_route(report.policies, "GET", "h", "/crm/deals", {})
    assert found is not None
    assert (found[0].name, found[0].strip_prefix, found[0].upstream.base_path) == ("crm", "/crm", "/v2")


def test_the_bad_file_gives_what_is_shown(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (bad,), (shown,) = blocks("yaml bad"), blocks("text")
    (directory / "problems.yaml").write_text(bad)
    assert run_check([Path("problems.yaml")], strict=False, print_effective=False, output="text", env={}) == 1
    assert capsys.readouterr().out == shown


def test_every_section_and_limit_key_is_mentioned() -> None:
    for section in ENTRY_TYPES:
        assert section in TEXT
    for word in ["overrides", "shadow", "precision", "on_store_error", "charge", "mode", "lease", "burst", "cost"]:
        assert f"`{word}" in TEXT or f"    {word}:" in TEXT
