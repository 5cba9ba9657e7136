"""Where a caller is asked the same, and where not."""

from pathlib import Path

import pytest

from gateway.core.ask import Ask
from gateway.core.caller import ask_for, asked_alike
from gateway.core.policy import PolicySet, Route
from gateway.policy import check

POLICIES = """
version: 1
keys: {tenant: {from: header, name: X-Tenant-Id, on_missing: anonymous}}
limits:
  some: {algorithm: rolling_window, limit: 4, window: 10m, key: [tenant]}
  else: {algorithm: token_bucket, rate: 60, per: 1m, key: [tenant]}
  off: {algorithm: token_bucket, rate: 60, per: 1m, key: [tenant], mode: off}
breakers: {vendor: {key: [tenant], window: 1m, minimum_calls: 20, failure_rate: 50%, open_for: 30s}}
retries: {twice: {attempts: 2}}
upstreams:
  up: {url: "http://127.0.0.1:9"}
  other: {url: "http://127.0.0.1:9"}
routes:
  - {name: a, match: {path_prefix: /a}, upstream: up, limits: [some]}
  - {name: b, match: {path_prefix: /b}, THIS}
"""
SAME = "upstream: up, limits: [some]"
SAID = ("charges", "keys", "guards", "breaker", "own", "line", "cached", "shelf", "skipped", "measures", "credential")


def places(folder: Path, other: str) -> tuple[PolicySet, Route, Route]:
    """Route `a`, and a `b` that is written like this."""
    file = folder / "p.yaml"
    file.write_text(POLICIES.replace("THIS", other))
    report = check([file])
    assert report.policies is not None, report.errors
    routes = {route.name: route for route in report.policies.routes}
    return report.policies, routes["a"], routes["b"]


def asked(policies: PolicySet, route: Route) -> tuple[object, ...]:
    ask = ask_for(policies, route, None, {part.name: "acme" for part in route.keys})
    assert isinstance(ask, Ask)
    return tuple(getattr(ask, name) for name in SAID)


@pytest.mark.parametrize(
    "other",
    [
        SAME,
        f"{SAME}, retry: twice",
        f"{SAME}, strip_prefix: /b",
        "upstream: up, limits: [some, off]",
    ],
)
def test_routes_that_ask_the_same(other: str, tmp_path: Path) -> None:
    policies, one, two = places(tmp_path, other)
    assert asked_alike(policies, one, None) == asked_alike(policies, two, None)
    assert asked(policies, one) == asked(policies, two)


@pytest.mark.parametrize(
    "other",
    [
        "upstream: up, limits: [else]",
        "upstream: up, limits: [some, else]",
        "upstream: up",
        f"{SAME}, cost: {{some: 2}}",
        f"{SAME}, breaker: vendor",
        f"{SAME}, cost: {{some: {{from: response_header, name: X-Rows, reserve: 1}}}}",
        f"{SAME}, modules: {{cache: {{ttl: 5m, match: {{path: /b}}, vary_by: [tenant]}}}}",
    ],
)
def test_routes_that_ask_something_else(other: str, tmp_path: Path) -> None:
    policies, one, two = places(tmp_path, other)
    assert asked_alike(policies, one, None) != asked_alike(policies, two, None)
    assert asked(policies, one) != asked(policies, two)


def test_upstreams_stand_for_themselves(tmp_path: Path) -> None:
    """Each has its own pace and credentials, or may come to have them."""
    policies, one, two = places(tmp_path, "upstream: other, limits: [some]")
    assert asked_alike(policies, one, None) != asked_alike(policies, two, None)


def test_operations_stand_for_themselves(tmp_path: Path) -> None:
    """Calls of a connection are counted by operation, and breakers may be, too."""
    policies, one, two = places(tmp_path, f"{SAME}, operations: [{{name: read, match: {{method: GET}}}}]")
    assert asked_alike(policies, one, None) == asked_alike(policies, two, None)
    assert asked_alike(policies, two, None) != asked_alike(policies, two, two.operations[0])
