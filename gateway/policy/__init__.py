"""Policies: from YAML files to the frozen set that calls are judged by.

`files` and `nodes` read (bounded, strict, with positions), `models/` says what may be written, `validate` joins both,
`gather` puts files together, `compile/` freezes, `findings` holds what is wrong. `effective`, `explained` and `changes`
tell what came of it. Nothing here is used while calls are served.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from gateway.core.policy import PolicySet
from gateway.policy.findings import PolicyError, PolicyErrors

__all__ = ["PolicyError", "PolicyErrors", "Report", "check", "load", "load_default"]


@dataclass(frozen=True, slots=True)
class Report:
    """What came of reading policy files. `policies` is None exactly when there are errors.

    missing  secrets that were not there, if that is no error
    """

    policies: PolicySet | None
    errors: tuple[PolicyError, ...] = ()
    warnings: tuple[PolicyError, ...] = ()
    missing: int = 0


def check(
    paths: Iterable[Path],
    *,
    upstream_url: str | None = None,
    env: Mapping[str, str] | None = None,
    held: Mapping[Path, bytes] | None = None,
    need_secrets: bool = True,
    look_at_certificates: bool = False,
) -> Report:
    """Read policy files and directories (`-`: standard input) as one set; everything found, nothing raised.

    upstream_url  replaces the URL of every upstream
    env           environment variables that secrets may refer to; default: those of this process
    held          what some of the files would hold, if they were there
    need_secrets  whether a reference that leads to no secret is an error; without it the set is not for use
    look_at_certificates  whether to warn of their files, too, where they cannot be used
    """
    from gateway.policy.compile.policies import compile_draft
    from gateway.policy.findings import Findings, TooManyErrors
    from gateway.policy.gather import gather

    findings, policies = Findings(need_secrets=need_secrets), None
    with suppress(TooManyErrors):
        draft = gather(paths, findings, upstream_url, os.environ if env is None else env, held)
        policies = compile_draft(draft)
        if look_at_certificates:
            from gateway.policy.compile.certificates import check_certificates

            check_certificates(draft)
    return Report(
        None if findings.errors else policies,
        findings.sorted_errors(),
        findings.sorted_warnings(),
        len(findings.missing),
    )


def load(paths: Sequence[Path], *, upstream_url: str | None = None, env: Mapping[str, str] | None = None) -> PolicySet:
    """As `check`, but the set itself. Raises PolicyErrors with every error."""
    report = check(paths, upstream_url=upstream_url, env=env)
    if report.policies is None:
        raise PolicyErrors(report.errors, report.warnings)
    return report.policies


def load_default(upstream_url: str) -> PolicySet:
    """The shipped default policy in front of that URL. Raises PolicyErrors when it is not a URL of an upstream."""
    from gateway.policy.shipped import shipped

    return load([shipped("policies/default.yaml")], upstream_url=upstream_url)
