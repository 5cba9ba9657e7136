"""What `gateway check` found, in three forms: text for people, JSON, annotations of a workflow."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from gateway.cli.showing.findings import excerpt
from gateway.cli.showing.text import counted, files_named, not_below
from gateway.core.policy import PolicySet
from gateway.core.store_url import redact_url
from gateway.policy.effective import policy_lines, policy_values, settings_lines, settings_values
from gateway.policy.findings import PolicyError
from gateway.settings import Settings


@dataclass(slots=True)
class Checked:
    """Everything that checking came to.

    missing      how many secrets are not there, if that is no error
    passed_over  directories below those of the policies, with files that are not read
    """

    errors: list[PolicyError] = field(default_factory=list)
    warnings: list[PolicyError] = field(default_factory=list)
    settings: list[Settings] = field(default_factory=list)
    policies: PolicySet | None = None
    missing: int = 0
    passed_over: list[Path] = field(default_factory=list)


def report(checked: Checked, output: str, *, valid: bool, effective: bool) -> Iterator[str]:
    """The lines of the report.

    output     text, json or github
    effective  whether to tell what would really be run, too
    """
    if output == "json":
        return _as_json(checked, valid, effective)
    found = (_as_github if output == "github" else _as_text)(checked, valid)
    return chain(found, _effective(checked)) if effective else found


def _as_text(checked: Checked, valid: bool) -> Iterator[str]:
    for error in checked.errors:
        yield str(error)
        yield from excerpt(error)
    for warning in checked.warnings:
        yield f"{warning.position}: warning: {warning.text} [{warning.code}]"
        yield from excerpt(warning)
    yield _summary(checked, valid)


def _summary(checked: Checked, valid: bool) -> str:
    kinds = ((checked.errors, "error"), (checked.warnings, "warning"))
    counts = [counted(len(found), noun) for found, noun in kinds if found]
    if not valid:
        return "not valid: " + ", ".join(counts)
    missing = [f"without {counted(checked.missing, 'secret')}"] if checked.missing else []
    return "ok: " + ", ".join([*_what(checked.policies, checked.passed_over), *missing, *counts])


def _what(policies: PolicySet | None, passed_over: Sequence[Path]) -> list[str]:
    """Which files were meant, too: without a path it is easy to check other ones than one thinks."""
    if policies is None:
        return []
    files = f" ({files_named(policies.files)}{not_below(passed_over)})" if policies.files else ""
    limits, routes = counted(len(policies.limits), "limit"), counted(len(policies.routes), "route")
    return [limits, routes, f"version {policies.version}{files}"]


def _as_json(checked: Checked, valid: bool, show: bool) -> Iterator[str]:
    document: dict[str, Any] = {
        "valid": valid,
        "errors": [error.as_dict() for error in checked.errors],
        "warnings": [warning.as_dict() for warning in checked.warnings],
    }
    if show:
        document["effective"] = _effective_values(checked)
    yield json.dumps(document, indent=2)


def _as_github(checked: Checked, valid: bool) -> Iterator[str]:
    for severity, found in (("error", checked.errors), ("warning", checked.warnings)):
        for finding in found:
            place = [f"file={_property(finding.file)}"]
            if finding.line:
                place += [f"line={finding.line}", f"col={finding.col}"]
            yield f"::{severity} {','.join([*place, f'title={finding.code}'])}::{_data(finding.text)}"
    yield _summary(checked, valid)


def _data(text: str) -> str:
    """Escaped as workflow commands want it."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _effective(checked: Checked) -> Iterator[str]:
    for settings in checked.settings:
        yield from settings_lines(settings, redact_url(settings.store.url))
    if checked.policies is not None:
        yield from policy_lines(checked.policies)


def _effective_values(checked: Checked) -> dict[str, Any]:
    return {
        "settings": [settings_values(one, redact_url(one.store.url)) for one in checked.settings],
        "policies": policy_values(checked.policies) if checked.policies is not None else None,
    }
