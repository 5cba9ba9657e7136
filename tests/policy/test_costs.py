"""Costs that answers tell: what may be written, what becomes of it, and what is wrong where."""

from collections.abc import Callable

import pytest

from gateway.core.measure import Measure, Source
from gateway.policy import Report
from gateway.policy.effective import policy_values
from tests.policy.whole import BASE, ON, a_route

Check = Callable[..., Report]


@pytest.mark.parametrize(
    ("text", "reserve", "measure"),
    [
        ("{from: response_header, name: X-Rows, reserve: 2}", 2, Measure(Source.HEADER, "x-rows")),
        (
            "{from: response_json, pointer: /usage/a~1b~0, reserve: 5}",
            5,
            Measure(Source.JSON, "", ((("usage", "a/b~"),),)),
        ),
        ("{from: response_json, pointer: /, reserve: 1}", 1, Measure(Source.JSON, "", ((("",),),))),
        (
            "{from: response_json, pointer: [/a, /b/c], reserve: 1}",
            1,
            Measure(Source.JSON, "", ((("a",),), (("b", "c"),))),
        ),
        (
            "{from: response_json, pointer: [[/a, /b], /c], reserve: 1}",
            1,
            Measure(Source.JSON, "", ((("a",), ("b",)), (("c",),))),
        ),
        ("{from: response_bytes, reserve: 1, max: 3}", 1, Measure(Source.BYTES, most=3)),
    ],
)
def test_each_form(report_of: Check, text: str, reserve: int, measure: Measure) -> None:
    report = report_of(a_route(f"name: r, {ON}, cost: {{per-tenant: {text}}}"))
    assert report.errors == ()
    assert report.policies is not None
    (route,) = report.policies.routes
    assert (route.cost, route.measures) == ({"per-tenant": reserve}, {"per-tenant": measure})


def test_an_operation_says_otherwise_than_its_route(report_of: Check) -> None:
    cost = "cost: {per-tenant: {from: response_bytes, reserve: 3}}"
    operations = "{name: plain, cost: {per-tenant: 2}}, {name: other, cost: {}}, {name: free, cost: {per-tenant: 0}}"
    report = report_of(a_route(f"name: r, {ON}, {cost}, operations: [{operations}]"))
    assert report.policies is not None
    plain, other, free = report.policies.routes[0].operations
    assert (free.cost, free.measures) == ({"per-tenant": 0}, {})
    assert (plain.cost, plain.measures) == ({"per-tenant": 2}, {})
    assert (other.cost, other.measures) == ({"per-tenant": 3}, {"per-tenant": Measure(Source.BYTES)})
    (shown,) = policy_values(report.policies)["routes"]
    assert shown["cost"] == {"per-tenant": {"from": "response_bytes", "at": "", "reserve": 3, "max": None}}


def cost(text: str) -> str:
    return a_route(f"name: r, {ON}, cost: {{per-tenant: {text}}}")


BAD = {
    "no place": (cost("{reserve: 1}"), "p.yaml:8:59: key 'from' is missing [missing-key]"),
    "an unknown place": (
        cost("{from: response_jason, reserve: 1}"),
        "p.yaml:8:78: expected one of response_header, response_json, response_bytes, got the text 'response_jason' "
        "(did you mean 'response_json'?) [unknown-value]",
    ),
    "no reserve": (cost("{from: response_bytes}"), "p.yaml:8:59: key 'reserve' is missing [missing-key]"),
    "a reserve of nothing": (
        cost("{from: response_bytes, reserve: 0}"),
        "p.yaml:8:103: must be at least 1, got 0 [out-of-range]",
    ),
    "more than there ever is": (
        cost("{from: response_bytes, reserve: 6}"),
        "p.yaml:8:103: cost 6 is more than limit 'per-tenant' ever admits (5, p.yaml:6) [cost-above-limit]",
    ),
    "a bound below the reserve": (
        cost("{from: response_bytes, reserve: 3, max: 2}"),
        "p.yaml:8:111: max 2 is less than what is reserved, 3 [out-of-range]",
    ),
    "a path that is no pointer": (
        cost("{from: response_json, pointer: usage.total, reserve: 1}"),
        "p.yaml:8:102: 'usage.total' is not a JSON pointer (write it like /usage/total_tokens) [bad-pointer]",
    ),
    "a pointer with a bad escape": (
        cost("{from: response_json, pointer: /a~2, reserve: 1}"),
        "p.yaml:8:102: '/a~2' is not a JSON pointer (write it like /usage/total_tokens) [bad-pointer]",
    ),
    "no pointers": (
        cost("{from: response_json, pointer: [], reserve: 1}"),
        "p.yaml:8:102: expected 1 to 8 JSON pointers, got 0 [out-of-range]",
    ),
    "a list in a list in a list": (
        cost("{from: response_json, pointer: [[[/a]]], reserve: 1}"),
        "p.yaml:8:102: expected a JSON pointer like /usage/total_tokens, got a list [wrong-type]",
    ),
    "a text": (cost("many"), "p.yaml:8:71: expected a whole number, got the text 'many' [wrong-type]"),
    "an unknown key": (
        cost("{from: response_bytes, reserve: 1, pointer: /a}"),
        "p.yaml:8:106: unknown key 'pointer' [unknown-key]",
    ),
    "a limit of another route": (
        a_route(f"name: r, {ON}, cost: {{other: {{from: response_bytes, reserve: 1}}}}"),
        "p.yaml:8:59: cost names limit 'other', which is not on this route [cost-without-limit]",
    ),
    "slots": (
        f"{BASE}limits:\n  slots: {{algorithm: concurrency, limit: 5, key: [tenant]}}\n"
        "routes:\n  - {name: r, upstream: api, limits: [slots], cost: {slots: {from: response_bytes, reserve: 1}}}\n",
        "p.yaml:8:68: limit 'slots' counts calls that run: what they cost cannot be known afterwards [cost-of-slots]",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_said_where_it_is(errors_of: Callable[..., list[str]], name: str) -> None:
    text, message = BAD[name]
    assert errors_of(text) == [message]
