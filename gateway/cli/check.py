"""`gateway check`: is it right, before anything runs on it? Offline, every finding at once, exit code 0 or 1."""

import json
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from gateway.core.policy import PolicySet
from gateway.policy import check as check_policies
from gateway.policy.findings import PolicyError, PolicyErrors
from gateway.policy.gather import SINGULAR
from gateway.settings import Settings

OUTPUTS = ("text", "json", "github")
FEW = 3  # files that a summary names
_MOST_COLUMNS = 160
_TOP_KEY = re.compile(r"^(\w+)\s*:", re.MULTILINE)
_IN_BOTH = {"version"}


@dataclass(slots=True)
class _Result:
    """Everything that checking came to."""

    errors: list[PolicyError] = field(default_factory=list)
    warnings: list[PolicyError] = field(default_factory=list)
    settings: list[Settings] = field(default_factory=list)
    policies: PolicySet | None = None
    missing: int = 0


def run_check(
    paths: Sequence[Path],
    *,
    strict: bool,
    print_effective: bool,
    output: str,
    env: Mapping[str, str] | None = None,
    need_secrets: bool = True,
) -> int:
    """Check files and print what is found to standard output; returns the exit code, 0 or 1.

    paths            policy files, directories of them, settings files, `-` for policies from standard input. A settings
                     file brings the policies that it names. None at all: the settings that `gateway run` would use
    strict           warnings count as errors
    print_effective  what would really be run, with the origin of every value; only when all is right
    output           text, json or github (annotations of a workflow)
    env              environment variables over the settings; default: those of this process
    need_secrets     whether a reference that leads to no secret is an error
    """
    result = _check(paths, os.environ if env is None else env, need_secrets)
    valid = not result.errors and not (strict and result.warnings)
    show = print_effective and valid
    if output == "json":
        lines = _as_json(result, valid, show)
    else:
        lines = chain(
            {"text": _as_text, "github": _as_github}[output](result, valid), _effective(result) if show else ()
        )
    sys.stdout.writelines(line + "\n" for line in lines)
    return 0 if valid else 1


def _check(paths: Sequence[Path], env: Mapping[str, str], need_secrets: bool) -> _Result:
    from gateway.policy.settings_file import default_path, load_settings, policies_of

    result, policy_paths = _Result(), []
    for path in paths or [default_path()]:
        if paths and not _is_settings(path):
            policy_paths.append(path)
            continue
        try:
            settings = load_settings(path, env, {}, need_secrets=need_secrets)
            policy_paths.append(policies_of(settings))
        except PolicyErrors as invalid:
            result.errors += invalid.errors
        else:
            result.settings.append(settings)
    if policy_paths:
        report = check_policies(policy_paths, env=env, need_secrets=need_secrets)
        result.errors += report.errors
        result.warnings += report.warnings
        result.policies, result.missing = report.policies, report.missing
    return result


def _is_settings(path: Path) -> bool:
    """Whether a file holds settings rather than policies, by the keys at its left margin."""
    from gateway.policy.models.settings import SettingsFile

    if not path.is_file():
        return False
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            text = file.read(64 * 1024)
    except OSError:
        return False
    keys = set(_TOP_KEY.findall(text))
    return bool(keys & SettingsFile.model_fields.keys() - _IN_BOTH) and not keys & SINGULAR.keys()


def _as_text(result: _Result, valid: bool) -> Iterator[str]:
    for error in result.errors:
        yield str(error)
        yield from excerpt(error)
    for warning in result.warnings:
        yield f"{warning.position}: warning: {warning.text} [{warning.code}]"
        yield from excerpt(warning)
    yield _summary(result, valid)


def excerpt(finding: PolicyError) -> Iterator[str]:
    """The offending line with a caret below, where it is known. Long lines are cut, tabs kept in step."""
    if not finding.excerpt.strip():
        return
    col = finding.caret or finding.col
    first = max(0, col - _MOST_COLUMNS // 2) if len(finding.excerpt) > _MOST_COLUMNS else 0
    shown = "".join(letter if letter.isprintable() or letter == "\t" else "?" for letter in finding.excerpt)
    shown = shown[first : first + _MOST_COLUMNS]
    before = re.sub(r"[^\t]", " ", shown[: col - 1 - first])
    margin = f"{finding.line:>6}"
    yield f"{margin} | {shown}"
    yield f"{' ' * len(margin)} | {before}^"


def _summary(result: _Result, valid: bool) -> str:
    counts = [_count(found, word) for found, word in ((result.errors, "error"), (result.warnings, "warning")) if found]
    if not valid:
        return "not valid: " + ", ".join(counts)
    policies = result.policies
    what = []
    if policies is not None:
        what = [
            _count(policies.limits, "limit"),
            _count(policies.routes, "route"),
            f"version {policies.version}{_where(policies)}",
        ]
    if result.missing:
        what.append(f"without {_count(range(result.missing), 'secret')}")
    return "ok: " + ", ".join([*what, *counts])


def _where(policies: PolicySet) -> str:
    """Which files were meant: without a path it is easy to check other ones than one thinks."""
    files = policies.files
    return f" ({', '.join(files)})" if 0 < len(files) <= FEW else f" ({len(files)} files)" if files else ""


def _count(things: Sized, word: str) -> str:
    return f"{len(things)} {word}" + ("" if len(things) == 1 else "s")


def _as_json(result: _Result, valid: bool, show: bool) -> Iterator[str]:
    document: dict[str, Any] = {
        "valid": valid,
        "errors": [error.as_dict() for error in result.errors],
        "warnings": [warning.as_dict() for warning in result.warnings],
    }
    if show:
        document["effective"] = _effective_values(result)
    yield json.dumps(document, indent=2)


def _as_github(result: _Result, valid: bool) -> Iterator[str]:
    for severity, found in (("error", result.errors), ("warning", result.warnings)):
        for finding in found:
            place = [f"file={_property(finding.file)}"]
            if finding.line:
                place += [f"line={finding.line}", f"col={finding.col}"]
            yield f"::{severity} {','.join([*place, f'title={finding.code}'])}::{_data(finding.text)}"
    yield _summary(result, valid)


def _data(text: str) -> str:
    """Escaped as workflow commands want it."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _effective(result: _Result) -> Iterator[str]:
    from gateway.core.store_url import redact_url
    from gateway.policy.effective import policy_lines, settings_lines

    for settings in result.settings:
        yield from settings_lines(settings, redact_url(settings.store.url))
    if result.policies is not None:
        yield from policy_lines(result.policies)


def _effective_values(result: _Result) -> dict[str, Any]:
    from gateway.core.store_url import redact_url
    from gateway.policy.effective import policy_values, settings_values

    return {
        "settings": [settings_values(one, redact_url(one.store.url)) for one in result.settings],
        "policies": policy_values(result.policies) if result.policies is not None else None,
    }
