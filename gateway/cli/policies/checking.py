"""Checking settings and policies offline: every finding at once, before anything runs on them."""

import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from gateway.cli.policies.check_report import Checked, report
from gateway.policy import check as check_policies
from gateway.policy.files import is_regular, passed_over
from gateway.policy.findings import PolicyErrors
from gateway.policy.gather import SINGULAR
from gateway.policy.models.settings import SettingsFile
from gateway.policy.settings_file import default_path, load_settings, policies_of

_TOP_KEY = re.compile(r"^(\w+)\s*:", re.MULTILINE)
_IN_BOTH = {"version"}


def run_check(
    paths: Sequence[Path],
    *,
    strict: bool,
    print_effective: bool,
    output: str,
    env: Mapping[str, str] | None,
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
    checked = _checked(paths, os.environ if env is None else env, need_secrets)
    valid = not checked.errors and not (strict and checked.warnings)
    lines = report(checked, output, valid=valid, effective=print_effective and valid)
    sys.stdout.writelines(line + "\n" for line in lines)
    return 0 if valid else 1


def _checked(paths: Sequence[Path], env: Mapping[str, str], need_secrets: bool) -> Checked:
    checked, policy_paths = Checked(), []
    for path in paths or [default_path()]:
        if paths and not _is_settings(path):
            policy_paths.append(path)
            continue
        try:
            settings = load_settings(path, env, {}, need_secrets=need_secrets)
            policy_paths.append(policies_of(settings))
        except PolicyErrors as invalid:
            checked.errors += invalid.errors
        else:
            checked.settings.append(settings)
    if policy_paths:
        found = check_policies(policy_paths, env=env, need_secrets=need_secrets, look_at_certificates=True)
        checked.errors += found.errors
        checked.warnings += found.warnings
        checked.policies, checked.missing = found.policies, found.missing
        if found.policies is not None:
            checked.passed_over = passed_over(policy_paths, found.policies.beside)
    return checked


def _is_settings(path: Path) -> bool:
    """Whether a file holds settings rather than policies, by the keys at its left margin."""
    if not is_regular(path):
        return False
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            text = file.read(64 * 1024)
    except OSError:
        return False
    keys = set(_TOP_KEY.findall(text))
    return bool(keys & SettingsFile.model_fields.keys() - _IN_BOTH) and not keys & SINGULAR.keys()
