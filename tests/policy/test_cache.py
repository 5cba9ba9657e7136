"""What may be written about a route's cache, and what comes of it."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.policy import Report, check
from gateway.policy.effective import policy_lines, policy_values
from tests.policy.whole import BASE

Check = Callable[..., Report]
TEXT = (Path(__file__).parents[2] / "docs" / "cache.md").read_text()


def a_cache(text: str) -> str:
    """A whole file with one route, whose cache stands on line 6, from column 61 on."""
    return f"{BASE}routes:\n  - {{name: all, upstream: api, modules: {{cache: {{{text}}}}}}}\n"


def test_what_docs_show_can_be_loaded(directory: Path) -> None:
    (block,) = re.findall(r"^```yaml crm.yaml\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    file = directory / "p.yaml"
    file.write_text(block)
    report = check([file])
    assert (report.errors, report.warnings) == ((), ())


def test_docs_name_every_key_and_its_default(report_of: Check) -> None:
    policies = report_of(a_cache("match: {path: /a}, vary_by: [], ttl: 1s")).policies
    assert policies is not None
    (route,) = policy_values(policies)["routes"]
    assert route["cache"] == {
        "match": {"method": ["GET", "HEAD"], "path": ["/a"]},
        "vary_by": [],
        "vary_headers": [],
        "ttl": "1s",
        "override": False,
        "per_credential": False,
        "impersonal_headers": [],
        "stale_while_revalidate": "0s",
        "stale_if_error": "0s",
        "wait": "5s",
        "max_entry": 1024**2,
        "max_size": 16 * 1024**2,
        "store": "shared",
    }
    for name in route["cache"]:
        assert re.search(rf"^\| [^|]*`{name}`", TEXT, re.MULTILINE), name
    assert "answers kept 1s for everybody together" in "\n".join(policy_lines(policies))


def test_a_key_part_that_only_the_cache_uses_is_read(report_of: Check) -> None:
    policies = report_of(a_cache("match: {path: [/a, '/b/{id}/**']}, vary_by: [tenant], ttl: 0s")).policies
    assert policies is not None
    (route,) = policies.routes
    assert [part.name for part in route.keys] == ["tenant"]
    assert route.cache is not None
    assert route.cache.paths == (("a",), ("b", "{id}", "**"))
    assert policies.cached == {"api"}
    assert "answers kept 0s for each tenant" in "\n".join(policy_lines(policies))


GOOD = "match: {path: /a}, vary_by: [], ttl: 1s"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("vary_by: [], ttl: 1s", "match"),
        ("match: {path: /a}, ttl: 1s", "vary_by"),
        ("match: {path: /a}, vary_by: []", "ttl"),
        (GOOD.replace("1s", "1"), "expected a duration"),
        (GOOD.replace("/a", "a"), "does not begin with /"),
        (GOOD.replace("{path: /a}", "{path: /a, method: POST}"), "POST"),
        (GOOD.replace("[]", "[tenent]"), "key part 'tenent' is not defined (did you mean 'tenant'?)"),
        (GOOD + ", vary_headers: [Via]", "'via' is written by the gateway"),
        (GOOD + ", vary_headers: [x y]", "'x y' is not a header name"),
        (GOOD + ", max_entry: 2MiB, max_size: 1MiB", "max_entry is more than max_size"),
        (GOOD.replace("1s", "0s") + ", override: true", "override needs a ttl"),
        (GOOD + ", store: redis", "redis"),
        (GOOD + ", tll: 1s", "tll"),
        (GOOD + ", impersonal_headers: [X-Api-Key, Authorization]", "Authorization always says who is calling"),
        (GOOD + ", impersonal_headers: [x y]", "'x y' is not a header name"),
    ],
)
def test_a_mistake_is_one_error_where_it_stands(report_of: Check, text: str, expected: str) -> None:
    report = report_of(a_cache(text))
    found = [str(error) for error in report.errors]
    assert len(found) == 1
    assert expected in found[0]
    assert found[0].startswith("p.yaml:6:")


WHOLE = """
version: 1
keys:
  tenant: {from: header, name: X-Tenant-Key, on_missing: skip}
  partner: {from: api_key, name: X-Partner-Key, on_missing: skip}
  person: {from: jwt, claim: sub, on_missing: skip}
  path: {from: query, name: token, on_missing: skip}
authentication:
  own: {type: api_keys, header: X-Customer, forward_credentials: true, keys: [{hash: "blake2b:%s"}]}
upstreams:
  api: {url: "http://127.0.0.1:9"}
routes:
  - name: all
    upstream: api
    authenticate: [own]
    modules: {cache: {match: {path: /a}, ttl: 1s, vary_by: %s, %s}}
"""


@pytest.mark.parametrize(
    ("vary_by", "more", "counting"),
    [
        ("[]", "", {"x-customer", "x-tenant-key", "x-partner-key", "authorization", "cookie"}),
        ("[tenant]", "", {"x-customer", "x-partner-key", "authorization", "cookie"}),
        ("[tenant, partner, person, path]", "", {"x-customer", "authorization", "cookie"}),
        ("[tenant]", "vary_headers: [X-Partner-Key, Cookie]", {"x-customer", "authorization", "cookie"}),
        ("[tenant, partner]", "impersonal_headers: [X-Customer, Cookie]", {"authorization"}),
    ],
)
def test_which_fields_say_who_is_calling(report_of: Check, vary_by: str, more: str, counting: set[str]) -> None:
    """Those of schemes, and those named like credentials, but for those by whose values callers are kept apart anyway."""
    policies = report_of(WHOLE % ("0" * 64, vary_by, more)).policies
    assert policies is not None
    cache = policies.routes[0].cache
    assert cache is not None
    asked = ("x-customer", "x-tenant-key", "x-partner-key", "authorization", "cookie", "x-other")
    assert {name for name in asked if cache.personal.names(name.encode())} == counting
