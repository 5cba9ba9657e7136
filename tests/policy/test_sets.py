"""Several files are one set: names, references across files, what is unused, the version."""

from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.policy import PolicyErrors, Report, check, load, load_default
from tests.policy.whole import BASE, LIMIT, ROUTE, a_limit, an_upstream

Check = Callable[..., Report]
LIMITS = f"limits:\n  per-tenant: {{{LIMIT}}}\n"


def texts(report: Report) -> list[str]:
    return [str(error) for error in report.errors]


def warnings(report: Report) -> list[str]:
    assert report.errors == ()
    return [str(warning) for warning in report.warnings]


def test_names_are_known_in_every_file(report_of: Check) -> None:
    report = report_of(ROUTE, LIMITS, BASE)
    assert warnings(report) == []
    assert report.policies is not None
    assert report.policies.files == ("p.yaml", "q.yaml", "r.yaml")
    assert report.policies.limits["per-tenant"].source == "q.yaml:2"
    assert report.policies.routes[0].source == "p.yaml:2"


def test_a_name_defined_twice_is_an_error_that_names_both_places(report_of: Check) -> None:
    assert texts(report_of(BASE + LIMITS + ROUTE, LIMITS + ROUTE)) == [
        "q.yaml:2:3: limit 'per-tenant' is already defined at p.yaml:6 [duplicate-name]",
        "q.yaml:4:12: route 'all' is already defined at p.yaml:8 [duplicate-name]",
    ]


def test_everything_wrong_is_said_at_once_in_file_order(report_of: Check) -> None:
    first = BASE + LIMITS.replace("limit: 5", "limit: 0") + ROUTE.replace("upstream: api", "upstream: apo")
    second = "limits:\n  other: {algorithm: concurrency, limit: x, lease: 1w, key: [tenent]}\nfoo: 1\n"
    assert texts(report_of(first, second)) == [
        "p.yaml:6:50: must be at least 1, got 0 [out-of-range]",
        "p.yaml:8:27: upstream 'apo' is not defined (did you mean 'api'?) [undefined-name]",
        "q.yaml:2:42: expected a whole number, got the text 'x' [wrong-type]",
        "q.yaml:2:52: '1w' is not a duration (write 7d) [bad-duration]",
        "q.yaml:2:62: key part 'tenent' is not defined (did you mean 'tenant'?) [undefined-name]",
        "q.yaml:3:1: unknown section 'foo' (known: authentication, breakers, credentials, error_classes, keys, limits, retries, routes, upstreams, "
        "version) [unknown-key]",
    ]


def test_an_unreadable_file_is_not_blamed_on_those_who_use_its_names(report_of: Check) -> None:
    assert texts(report_of(BASE + ROUTE, "limits: [")) == [
        "q.yaml:2:1: this is not YAML: did not find expected node content, while parsing a flow node that began on "
        "line 2 [yaml-syntax]"
    ]


def test_an_invalid_entry_is_not_undefined(report_of: Check) -> None:
    assert texts(report_of(BASE + LIMITS.replace("limit: 5", "limit: x") + ROUTE)) == [
        "p.yaml:6:50: expected a whole number, got the text 'x' [wrong-type]"
    ]


def test_what_nothing_uses_is_warned_of(report_of: Check) -> None:
    more = (
        "  connection: {from: header, name: C, on_missing: skip}\n"
        "  plan: {from: header, name: P, on_missing: skip}\n"
        "upstreams:\n  other: {url: 'http://o'}\n  "
    )
    text = a_limit(LIMIT).replace("upstreams:\n  ", more).replace("limits: [per-tenant]", "limits: []")
    assert warnings(report_of(text)) == [
        "p.yaml:4:3: key part 'plan' is defined but not used [unused]",
        "p.yaml:6:3: upstream 'other' is defined but not used [unused]",
        "p.yaml:9:3: limit 'per-tenant' is defined but not used [unused]",
    ]


DEEP = """\
breakers:
  one: {key: [tenant], failure_rate: 50%, slow_call: {duration: 10s, rate: 80%}}
retries:
  some: {attempts: 5, backoff: {schedule: [1s, 2s], jitter: 10%}, on_status: [429, 5xx], honor: [Retry-After]}
error_classes:
  bad: {status: [401], retry: false, pause: tenant}
upstreams:
  api:
    url: builtin:echo
    learn_limits: {from: Retry-After, scope: tenant, max: 15m}
routes:
  - name: all
    upstream: api
    breaker: one
    retry: some
    modules:
      cache: {ttl: 5m, match: {path: /pipelines}, vary_by: [tenant]}
keys:
  tenant: {from: header, name: X-Tenant-Id, on_missing: skip}
"""


def test_references_are_checked_wherever_they_stand(report_of: Check) -> None:
    assert texts(
        report_of(DEEP.replace("tenant]", "tenent]").replace(": tenant", ": tenent").replace("[401]", "401"))
    ) == [
        "p.yaml:2:15: key part 'tenent' is not defined (did you mean 'tenant'?) [undefined-name]",
        "p.yaml:6:17: expected a list, got the number 401 [wrong-type]",
        "p.yaml:6:43: key part 'tenent' is not defined (did you mean 'tenant'?) [undefined-name]",
        "p.yaml:10:46: key part 'tenent' is not defined (did you mean 'tenant'?) [undefined-name]",
        "p.yaml:17:61: key part 'tenent' is not defined (did you mean 'tenant'?) [undefined-name]",
    ]


def test_equal_content_is_an_equal_version(report_of: Check) -> None:
    def version(text: str) -> str:
        policies = report_of(text).policies
        assert policies is not None
        assert len(policies.version) == 12
        return policies.version

    text = a_limit(LIMIT)
    assert version(text) == version("# a comment\n" + text.replace("limit: 5", "limit:  5"))
    assert version(text) != version(text.replace("limit: 5", "limit: 6"))


def test_load_is_all_or_nothing(directory: Path) -> None:
    (directory / "p.yaml").write_text(a_limit(LIMIT))
    policies = load([Path("p.yaml")])
    assert policies.loaded_at.endswith("Z")
    (directory / "p.yaml").write_text(a_limit(LIMIT + ", foo: 1"))
    with pytest.raises(PolicyErrors) as raised:
        load([Path("p.yaml")])
    assert (
        str(raised.value)
        == "p.yaml:6:80: unknown key 'foo' (rolling_window has limit, window, precision) [unknown-key]"
    )


def test_the_default_policy_in_front_of_any_api() -> None:
    upstream = load_default("https://api.example.com/v1").upstreams["api"]
    assert (upstream.host, upstream.port, upstream.base_path, upstream.builtin_echo) == (
        "api.example.com",
        443,
        "/v1",
        False,
    )
    with pytest.raises(PolicyErrors, match=r"--upstream: 'api\.example\.com' is not a URL of an upstream"):
        load_default("api.example.com")
    with pytest.raises(PolicyErrors) as secret:
        load_default("https://user:hunter2@api.example.com")
    assert "hunter2" not in str(secret.value)


def test_credentials_are_not_repeated_with_the_line(report_of: Check) -> None:
    for text in ["url: 'https://user:hunter2@x'", "url: 'https://x?key=hunter2'", "url: https://u:hunter2@x: y"]:
        errors = report_of(an_upstream(text)).errors
        assert errors
        assert "hunter2" not in "".join(f"{error} {error.excerpt} {error.as_dict()}" for error in errors)


def shown(report: Report) -> str:
    assert report.errors
    return "".join(f"{error} {error.excerpt} {error.as_dict()}" for error in report.errors)


def test_a_name_is_no_secret_whatever_it_is_spelled_like(report_of: Check) -> None:
    limits = "upstreams: {api: {url: 'builtin:echo'}}\nlimits:\n  # of tokens\n  tok: "
    rule = "{algorithm: token_bucket, rate: 1, per: 1s, foo: 1}"
    assert f"tok: {rule}" in shown(report_of(limits + rule))
    for secret in ("hunter2", "{token: hunter2}", "{secret: {a: hunter2}}", "\n    secret: {a: hunter2}"):
        assert "hunter2" not in shown(report_of(limits + secret))


def test_a_thousand_policies_load(directory: Path) -> None:
    """One route and one limit each."""
    limits = "".join(f"  l{number}: {{{LIMIT}}}\n" for number in range(1000))
    routes = "".join(
        f"  - {{name: r{number}, match: {{path_prefix: /r{number}/}}, upstream: api, limits: [l{number}]}}\n"
        for number in range(1000)
    )
    (directory / "p.yaml").write_text(f"{BASE}limits:\n{limits}routes:\n{routes}")
    policies = check([Path("p.yaml")]).policies
    assert policies is not None
    assert len(policies.routes) == len(policies.limits) == 1000
