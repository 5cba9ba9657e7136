"""Values of key parts that policies name, written otherwise than they are read from calls: they would never match."""

from collections.abc import Callable

import pytest

from gateway.policy import Report

Check = Callable[..., Report]

KEY_PARTS = """\
keys:
  tenant: {from: header, name: X-Tenant-Id, on_missing: reject}
  region: {from: path, name: region, on_missing: reject}
  page: {from: query, name: page, on_missing: skip}
  ip: {from: client_ip}
  claim: {from: jwt, claim: sub, on_missing: reject}
  key: {from: api_key, on_missing: reject}
  token: {from: query, name: access_token, on_missing: reject}
  login: {from: header, name: Authorization, on_missing: reject}
"""
HASH = "key-c84123dc0b34d65944b100c4613e519e"


def overriding(match: str) -> str:
    limit = (
        f"{{algorithm: rolling_window, limit: 5, window: 1m, key: [], overrides: [{{match: {{{match}}}, limit: 9}}]}}"
    )
    return f"{KEY_PARTS}limits:\n  all: {limit}\n"


@pytest.mark.parametrize(
    "match",
    [
        "tenant: acme", "tenant: Jörg & Söhne", "tenant: a/b", "region: a%b", "page: a+b", "ip: 192.0.2.1",
        "ip: '2001:db8::/64'", "claim: ' x '", f"key: {HASH}", f"token: {HASH}", f"login: {HASH}",
    ],
)  # fmt: skip
def test_a_value_as_it_is_read(report_of: Check, match: str) -> None:
    report = report_of(overriding(match))
    found = (*report.errors, *report.warnings)
    assert not [one for one in found if one.code in ("never-applies", "inline-secret", "empty")]


@pytest.mark.parametrize(
    ("match", "says"),
    [
        ("tenant: ' acme '", "no caller's tenant is read as ' acme ' (write acme)"),
        ("region: 'eu\xa0'", r"no caller's region is read as 'eu\xa0' (write eu)"),
        ("page: ' '", "no caller's page is read as ' '"),
        ("claim: ' '", "no caller's claim is read as ' '"),
        ("ip: '2001:db8::1'", "no caller's ip is read as '2001:db8::1' (write 2001:db8::/64)"),
        ("ip: '2001:db8::/48'", "no caller's ip is read as '2001:db8::/48' (write 2001:db8::/64)"),
        ("ip: '::ffff:192.0.2.1'", "no caller's ip is read as '::ffff:192.0.2.1' (write 192.0.2.1)"),
        ("ip: 10.0.0.0/8", "no caller's ip is read as '10.0.0.0/8' (one address like 192.0.2.1"),
        ("ip: localhost", "no caller's ip is read as 'localhost' (one address like 192.0.2.1"),
    ],
)
def test_a_value_that_no_caller_has(report_of: Check, match: str, says: str) -> None:
    report = report_of(overriding(match))
    (found,) = [one for one in report.warnings if one.code == "never-applies"]
    assert str(found).startswith(
        f"p.yaml:11:{overriding(match).splitlines()[10].index(match.partition(': ')[2]) + 1}: "
    )
    assert f"this never matches: {says}" in str(found)


@pytest.mark.parametrize("match", ["key: abc123", "token: abc123", "login: abc123"])
def test_a_key_where_its_hash_belongs(report_of: Check, match: str) -> None:
    report = report_of(overriding(match))
    (found,) = [one for one in report.errors if one.code == "inline-secret"]
    assert found.text == f"no place for a secret: {match.split(':')[0]} is compared by its hash (write {HASH})"
    assert "abc123" not in found.excerpt


UPSTREAM = "upstreams:\n  erp: {url: 'http://erp'}\n"


def test_the_same_of_credentials(report_of: Check) -> None:
    entry = "  c: {upstream: erp, type: query, name: k, value: 'env:K', match: {tenant: ''}}\n"
    other = "  d: {upstream: erp, type: query, name: k, value: 'env:K', match: {ip: 10.0.0.0/8}}\n"
    report = report_of(f"{KEY_PARTS}{UPSTREAM}credentials:\n{entry}{other}")
    assert "p.yaml:13:76: an empty value never matches: it counts as missing [empty]" in map(str, report.errors)
    (found,) = [one for one in report.warnings if one.code == "never-applies"]
    assert (found.line, found.col) == (14, 72)


def test_the_same_of_sandboxes_where_no_value_is_a_value(report_of: Check) -> None:
    when = "{key: tenant, values: [demo, '', 'demo ']}"
    route = f"  - {{name: r, upstream: erp, modules: {{sandbox: {{fixtures: f.yaml, when: {when}}}}}}}\n"
    report = report_of(f"{KEY_PARTS}{UPSTREAM}routes:\n{route}")
    (found,) = [one for one in report.warnings if one.code == "never-applies"]
    assert (found.line, found.col) == (13, route.index("'demo '") + 1)
