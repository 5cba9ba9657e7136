"""Credentials as they are written: by reference, one for each caller, and what is wrong with them said without them."""

from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from gateway.core.policy import PolicySet
from gateway.policy import Report, check
from gateway.policy.effective import policy_lines, policy_values

NEEDLE = "s3cr3t"
ENV = {
    "KEY": f" {NEEDLE}\n",
    "USER": "user",
    "ODD": f"{NEEDLE}\u00e9",
    "LINES": f"{NEEDLE}\nX-Evil: 1",
    "EMPTY": "",
    "COLON": "a:b",
}
SET = """
version: 1
keys:
  tenant: {from: header, name: X-Tenant-Id, on_missing: skip}
  site: {from: header, name: X-Site, on_missing: skip}
upstreams:
  erp: {url: "https://erp.example"}
routes: [{name: all, upstream: erp}]
credentials:
"""


def checked(credentials: str, env: dict[str, str] = ENV) -> Report:
    Path("p.yaml").write_text(SET + credentials)
    return check([Path("p.yaml")], env=env)


def loaded(credentials: str) -> PolicySet:
    report = checked(credentials)
    assert report.policies is not None, report.errors
    assert {warning.code for warning in report.warnings} <= {"unused"}
    return report.policies


@pytest.mark.parametrize(
    ("written", "header", "parameter", "shown"),
    [
        ("type: header, name: X-Api-Key, value: 'env:KEY'", "X-Api-Key", "", NEEDLE),
        (
            "type: header, name: Authorization, prefix: 'Token ', value: 'env:KEY'",
            "Authorization",
            "",
            f"Token {NEEDLE}",
        ),
        ("type: bearer, token: 'file:secret'", "Authorization", "", "Bearer in-a-file"),
        ("type: basic, username: me, password: 'env:KEY'", "Authorization", "", f"me:{NEEDLE}"),
        ("type: basic, username: 'env:USER', password: 'env:ODD'", "Authorization", "", f"user:{NEEDLE}\u00e9"),
        ("type: query, name: api_key, value: 'env:ODD'", "", "api_key", f"{NEEDLE}%C3%A9"),
    ],
)
def test_kinds(written: str, header: str, parameter: str, shown: str) -> None:
    Path("secret").write_text("in-a-file\n")
    policies = loaded(f"  one: {{upstream: erp, {written}}}\n")
    (one,) = policies.upstreams["erp"].credentials
    if "type: basic" in written:
        shown = f"Basic {b64encode(shown.encode()).decode()}"
    assert (one.header, one.parameter, one.shown.reveal()) == (header, parameter, shown)
    assert policies.credentials == {"one": one}


def test_whose_they_are_is_said_by_key_parts_that_the_route_then_reads() -> None:
    policies = loaded(
        "  all: {upstream: erp, type: bearer, token: 'env:KEY'}\n"
        "  site-1: {upstream: erp, match: {tenant: acme, site: '1'}, type: bearer, token: 'env:KEY'}\n"
    )
    assert [one.name for one in policies.upstreams["erp"].credentials] == ["site-1", "all"]
    assert {part.name for part in policies.routes[0].keys} == {"tenant", "site"}


@pytest.mark.parametrize(
    ("written", "code", "at"),
    [
        (f"type: bearer, token: {NEEDLE}", "inline-secret", NEEDLE),
        ("type: bearer, token: 12345678", "inline-secret", "12345678"),
        (f"type: bearer, token: [{NEEDLE}]", "inline-secret", "["),
        (f"type: header, name: X, value: '{NEEDLE}'", "inline-secret", f"'{NEEDLE}"),
        ("type: bearer, token: 'env:NONE'", "missing-secret", "'env"),
        ("type: bearer, token: 'env:EMPTY'", "missing-secret", "'env"),
        ("type: bearer, token: 'file:none'", "missing-secret", "'file"),
        ("type: bearer, token: 'env:ODD'", "bad-secret", "'env"),
        ("type: bearer, token: 'env:LINES'", "bad-secret", "'env"),
        ("type: header, name: Host, value: 'env:KEY'", "bad-header-name", "Host"),
        ("type: header, name: Transfer-Encoding, value: 'env:KEY'", "bad-header-name", "Transfer"),
        ("type: header, name: X, prefix: ' a', value: 'env:KEY'", "bad-value", "' a'"),
        ("type: basic, username: 'env:COLON', password: 'env:KEY'", "bad-value", "'env:COLON"),
        ("type: query, name: 'a&b', value: 'env:KEY'", "bad-name", "'a&b"),
        ("type: nothing", "unknown-value", "nothing"),
        (f"type: header, nam: X, value: {NEEDLE}", "unknown-key", "nam"),
    ],
)
def test_what_is_wrong_is_said_with_its_place_and_without_the_secret(written: str, code: str, at: str) -> None:
    line = f"  one: {{upstream: erp, {written}}}"
    report = checked(f"{line}\n")
    assert (10, line.index(at) + 1, code) in [(error.line, error.col, error.code) for error in report.errors]
    assert NEEDLE not in repr(report)
    assert "12345678" not in repr(report)


def test_undefined_names_and_twins() -> None:
    report = checked(
        "  one: {upstream: epr, match: {tenannt: a}, type: bearer, token: 'env:KEY'}\n"
        "  two: {upstream: erp, match: {tenant: a}, type: bearer, token: 'env:KEY'}\n"
        "  three: {upstream: erp, match: {tenant: a}, type: bearer, token: 'env:KEY'}\n"
    )
    assert [error.code for error in report.errors] == ["undefined-name", "undefined-name", "ambiguous-credentials"]


def test_what_is_in_force_is_shown_without_secrets() -> None:
    policies = loaded("  one: {upstream: erp, match: {tenant: acme}, type: bearer, token: 'env:KEY'}\n")
    lines = "\n".join(policy_lines(policies))
    assert "bearer in Authorization for erp, of tenant=acme" in lines
    values: dict[str, Any] = policy_values(policies)
    assert values["credentials"]["one"]["type"] == "bearer"
    assert values["upstreams"]["erp"]["credentials"] == ["one"]
    assert NEEDLE not in f"{lines} {values} {policies}"
