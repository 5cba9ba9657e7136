"""Key parts that no call of a route can have: refusing all calls, or a breaker, cache or sandbox in name only."""

from collections.abc import Callable

import pytest

from gateway.policy import Report

KEYS = """version: 1
keys:
  shop: {from: path, name: shop, on_missing: skip}
  org: {from: jwt, claim: org, on_missing: reject}
  entry: {from: api_key_entry, on_missing: skip}
authentication:
  tokens: {type: jwt, issuer: i, audience: a, algorithms: RS256, jwks: "https://i.example"}
breakers:
  b: {key: [PART], consecutive_failures: 2}
upstreams:
  u: {url: "builtin:echo"}
routes:
"""
NO_PATH = 'of the path, but this route\'s path has no {shop} (match: {path: "/{shop}/**"}) [no-path-parameter]'
NOBODY = "which nobody vouches for (authenticate: [name of a scheme]) [no-authentication]"
CACHE = "modules: {cache: {ttl: 1m, match: {path: /x}, vary_by: [PART]}}"
PAUSED = '"builtin:echo", learn_limits: {scope: %s}'
SANDBOX = "modules: {sandbox: {when: {key: PART, prefix: sbx_}, fixtures: fixtures}}"


@pytest.mark.parametrize("part", ["shop", "org", "entry"])
@pytest.mark.parametrize(
    ("asker", "does"),
    [
        (CACHE, "the cache keeps callers apart by"),
        (SANDBOX, "the sandbox knows its callers by"),
    ],
)
def test_a_part_that_no_call_has(errors_of: Callable[..., list[str]], asker: str, does: str, part: str) -> None:
    entry = f"  - {{name: r, upstream: u, {asker}}}\n"
    found = errors_of((KEYS + entry).replace("PART", part))
    sources = {"org": "jwt", "entry": "api_key_entry"}
    told = f"{does} {{shop}} {NO_PATH}" if part == "shop" else f"{does} '{part}' from {sources[part]}, {NOBODY}"
    assert told in "\n".join(found)


@pytest.mark.parametrize(
    ("part", "errors", "warnings"), [("org", 1, 0), ("shop", 0, 1), ("entry", 0, 1), ("anybody", 0, 0)]
)
def test_a_breaker_is_for_several_routes(
    report_of: Callable[..., Report], part: str, errors: int, warnings: int
) -> None:
    """Calls that cannot have the part are refused, pass without it, or share one."""
    text = KEYS.replace("keys:\n", "keys:\n  anybody: {from: path, name: anybody, on_missing: anonymous}\n")
    report = report_of((text + "  - {name: r, upstream: u, breaker: b}\n").replace("PART", part))
    told = "breaker 'b' counts by"
    assert sum(told in str(one) for one in report.errors) == errors
    assert sum(told in str(one) for one in report.warnings) == warnings


def test_parts_that_calls_have(report_of: Callable[..., Report], errors_of: Callable[..., list[str]]) -> None:
    """On a route with the path, and with a scheme that can; an entry needs API keys."""
    entry = "  - {name: r, match: {path: '/{shop}/**'}, upstream: u, authenticate: [tokens], breaker: b}\n"
    assert errors_of((KEYS + entry).replace("PART", "shop, org")) == []
    told = "\n".join(map(str, report_of((KEYS + entry).replace("PART", "entry")).warnings))
    assert "breaker 'b' counts by 'entry' from api_key_entry" in told


@pytest.mark.parametrize(("part", "refused"), [("shop", False), ("org", True), ("must", True)])
def test_a_pause_is_for_several_routes(errors_of: Callable[..., list[str]], part: str, refused: bool) -> None:
    """Those whose calls cannot have the part go on without it, unless it is one that must be there."""
    must = "keys:\n  must: {from: path, name: must, on_missing: reject}\n"
    text = KEYS.replace("keys:\n", must, 1).replace('u: {url: "builtin:echo"}', f"u: {{url: {PAUSED % part}}}")
    found = errors_of(text.replace("PART", "shop") + "  - {name: r, upstream: u}\n")
    assert any("upstream 'u' is paused by" in error for error in found) == refused
