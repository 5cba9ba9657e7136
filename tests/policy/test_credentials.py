"""Credentials as they are written: by reference, one for each caller, and what is wrong with them said without them."""

from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from gateway.core.policy import PolicySet
from gateway.policy import Report, check
from gateway.policy.effective import policy_lines, policy_values
from gateway.policy.settings_file import load_settings

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
def test_each_kind_is_shown_as_its_rfc_wants(written: str, header: str, parameter: str, shown: str) -> None:
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


OAUTH = "type: oauth2, token_url: 'https://a.example/token', client_id: me"
TOKEN_KEY = "A" * 43 + "="


def test_tokens_that_are_renewed() -> None:
    env = {**ENV, "GATEWAY_TOKEN_KEYS": f" {TOKEN_KEY},{TOKEN_KEY}\n"}
    Path("secret").write_text("refr3sh\n")
    report = checked(
        f"  one: {{upstream: erp, match: {{site: '1'}}, {OAUTH}, client_secret: 'env:KEY', scope: [a, b], parameters: {{audience: 'env:USER'}}}}\n"
        f"  two: {{upstream: erp, {OAUTH}, grant: refresh_token, refresh_token: 'file:secret', name: X-Token, prefix: '', client_auth: post, ca_file: ca.pem}}\n",
        env,
    )
    assert report.policies is not None, report.errors
    one, two = (report.policies.credentials[name] for name in ("one", "two"))
    assert one.oauth is not None
    assert two.oauth is not None
    assert (one.line("t"), two.line("t")) == (b"Authorization: Bearer t\r\n", b"X-Token: t\r\n")
    assert (one.oauth.client_secret.reveal(), one.oauth.scope) == (NEEDLE, ("a", "b"))
    assert [(name, value.reveal()) for name, value in one.oauth.parameters] == [("audience", "user")]
    assert [key.reveal() for key in one.oauth.token_keys] == [TOKEN_KEY] * 2
    assert (two.oauth.refresh_token.reveal(), two.oauth.client_in_body) == ("refr3sh", True)
    assert two.oauth.ca_file.endswith("ca.pem")
    values = policy_values(report.policies)
    assert values["credentials"]["one"]["token_url"] == "https://a.example/token"
    everything = f"{values} {report.policies} {list(policy_lines(report.policies))}"
    assert [secret for secret in (NEEDLE, "refr3sh", TOKEN_KEY) if secret in everything] == []


@pytest.mark.parametrize(
    ("written", "code", "at"),
    [
        (OAUTH, "missing-key", "one"),
        (f"{OAUTH}, client_secret: {NEEDLE}", "inline-secret", NEEDLE),
        (f"{OAUTH}, client_secret: 'env:NONE'", "missing-secret", "'env:NONE"),
        (f"{OAUTH}, grant: refresh_token", "missing-key", "one"),
        (f"{OAUTH}, grant: refresh_token, refresh_token: 'env:KEY'", "missing-secret", "refresh_token, refresh"),
        (f"{OAUTH}, grant: refresh_token, refresh_token: {NEEDLE}", "inline-secret", NEEDLE),
        (f"{OAUTH}, client_secret: 'env:KEY', refresh_token: 'env:KEY'", "conflicting-keys", "refresh_token"),
        (f"{OAUTH}, client_secret: 'env:KEY', token_keys: 'env:KEY'", "bad-secret", "'env:KEY'}"),
        (f"{OAUTH}, client_secret: 'env:KEY', token_keys: 'env:NONE'", "missing-secret", "'env:NONE"),
        (f"{OAUTH}, client_secret: 'env:KEY', scope: 'a b'", "bad-value", "'a b'"),
        (f"{OAUTH}, client_secret: 'env:KEY', parameters: {{scope: a}}", "conflicting-keys", "scope"),
        (f"{OAUTH}, client_secret: 'env:KEY', name: Host", "bad-header-name", "Host"),
        ("type: oauth2, token_url: 'http://a.example/', client_id: me, client_secret: 'env:KEY'", "bad-url", "'http"),
        (
            f"type: oauth2, token_url: 'https://u:{NEEDLE}@a/', client_id: me, client_secret: 'env:KEY'",
            "inline-secret",
            "'https",
        ),
    ],
)
def test_what_is_wrong_with_them(written: str, code: str, at: str) -> None:
    line = f"  one: {{upstream: erp, {written}}}"
    report = checked(f"{line}\n")
    assert (10, line.index(at) + 1, code) in [(error.line, error.col, error.code) for error in report.errors]
    assert NEEDLE not in repr(report)


def test_keys_in_the_environment_are_no_misspelled_setting() -> None:
    load_settings(None, {"GATEWAY_TOKEN_KEYS": TOKEN_KEY}, {})


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
