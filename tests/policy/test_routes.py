"""What routes and upstreams of the file are in the compiled set, and which route comes first."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.policy import Match, PathPattern, PolicySet, Route
from gateway.core.routing.match import find_route
from gateway.core.upstream import Timeouts, Upstream
from gateway.policy import Report
from gateway.policy.compile.precedence import in_order, rivals, specificity
from tests.fakes.examples import as_many
from tests.policy.compiled import compiled
from tests.policy.whole import BASE, LIMIT, ON, a_limit, a_route, an_upstream

Check = Callable[..., Report]
UPSTREAM = Upstream("u", "http", "localhost", 80, "localhost")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("{}", Match()),
        ("{path_prefix: /erp}", Match(path=PathPattern(prefix="/erp/"))),
        ("{path_prefix: /}", Match(path=PathPattern(prefix="/"))),
        ("{path: '/t/{id}/*/**'}", Match(path=PathPattern(segments=("t", "{id}", "*", "**")))),
        ("{path: /a%2Fb/}", Match(path=PathPattern(segments=("a%2Fb", "")))),
        ("{method: get}", Match(methods=frozenset({"GET"}))),
        ("{method: [POST, PUT]}", Match(methods=frozenset({"POST", "PUT"}))),
        ("{host: API.example}", Match(host="api.example")),
        ("{host: '*.example'}", Match(host="*.example")),
        ("{header: {X-Beta: 'on', X-Any: '*'}}", Match(headers=(("x-beta", "on"), ("x-any", None)))),
    ],
)
def test_conditions_of_routes_are_read(report_of: Check, text: str, match: Match) -> None:
    assert compiled(report_of(a_route(f"name: r, {ON}, match: {text}"))).routes[0].match == match


@pytest.mark.parametrize(
    ("text", "upstream"),
    [
        ("url: 'builtin:echo'", Upstream("api", "http", "localhost", 80, "localhost", builtin_echo=True)),
        ("url: 'https://a.example'", Upstream("api", "https", "a.example", 443, "a.example")),
        (
            "url: 'http://A.example:8080/v1/', host: pass, max_sockets: 9, allow_private: false",
            Upstream(
                "api",
                "http",
                "a.example",
                8080,
                "a.example:8080",
                "/v1",
                rewrite_host=False,
                max_sockets=9,
                allow_private=False,
            ),
        ),
        ("url: 'https://[2001:db8::1]:443/'", Upstream("api", "https", "2001:db8::1", 443, "[2001:db8::1]")),
        ("url: 'unix:///run/a.sock'", Upstream("api", "http", "localhost", 80, "localhost", unix_path="/run/a.sock")),
        (
            "url: 'https://a', timeouts: {connect: 1s, first_byte: 2s, idle: 3s, total: 1m}",
            Upstream("api", "https", "a", 443, "a", timeouts=Timeouts(1_000_000, 2_000_000, 3_000_000, 60_000_000)),
        ),
        ("url: 'https://a', timeouts: {total: none}", Upstream("api", "https", "a", 443, "a")),
        (
            "url: 'https://a', tls: {ca_file: ca.pem, certificate: /c.pem, key: k.pem, server_name: b}",
            Upstream(
                "api",
                "https",
                "a",
                443,
                "a",
                tls_ca_file="ca.pem",
                tls_certificate="/c.pem",
                tls_key="k.pem",
                tls_server_name="b",
            ),
        ),
    ],
)
def test_urls_of_upstreams_are_taken_apart(report_of: Check, text: str, upstream: Upstream) -> None:
    got = compiled(report_of(an_upstream(text))).upstreams["api"]
    assert got.source == "p.yaml:2"
    assert upstream == Upstream(**{f: getattr(got, f) for f in Upstream.__slots__ if f != "source"})


def test_a_route_knows_the_key_parts_that_its_limits_ask_for_and_those_that_logs_show(report_of: Check) -> None:
    keys = "".join(
        f"  {name}: {{from: header, name: X-{name}, on_missing: skip}}\n"
        for name in ["tenant", "connection", "plan", "region", "other"]
    )
    limits = (
        "limits:\n"
        "  one: {algorithm: concurrency, limit: 1, key: [region], overrides: [{match: {plan: big}, limit: 2}]}\n"
        "  two: {algorithm: concurrency, limit: 1, key: [other]}\n"
    )
    routes = (
        "routes:\n"
        "  - {name: a, upstream: api, limits: [one]}\n"
        "  - {name: b, match: {path: /b}, upstream: api, limits: [two]}\n"
    )
    policies = compiled(report_of(f"keys:\n{keys}upstreams:\n  api: {{url: 'builtin:echo'}}\n{limits}{routes}"))
    parts = {route.name: [part.name for part in route.keys] for route in policies.routes}
    assert parts == {"b": ["tenant", "connection", "other"], "a": ["tenant", "connection", "plan", "region"]}


def test_operations_keep_their_order_and_cost(report_of: Check) -> None:
    text = (
        f"name: r, {ON}, match: {{path_prefix: /erp}}, strip_prefix: /erp/, operations: ["
        "{name: batch, entity: product, match: {method: POST, path: /product/batch}, cost: {per-tenant: 5}}, "
        "{name: read, match: {path_prefix: /product}}]"
    )
    route = compiled(report_of(a_route(text))).routes[0]
    assert route.strip_prefix == "/erp"
    assert [(one.name, one.entity, one.cost) for one in route.operations] == [
        ("batch", "product", {"per-tenant": 5}),
        ("read", "", {}),
    ]
    assert route.operations[1].match.path == PathPattern(prefix="/product/")


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        (f"{LIMIT}, mode: off", []),
        (f"{LIMIT}, mode: off, overrides: [{{match: {{tenant: a}}, mode: off}}]", []),
        (f"{LIMIT}, mode: off, overrides: [{{match: {{tenant: a}}, mode: enforce}}]", ["per-tenant"]),
        (f"{LIMIT}, mode: shadow", ["per-tenant"]),
    ],
)
def test_a_limit_that_is_off_for_everybody_is_not_asked(report_of: Check, text: str, asked: list[str]) -> None:
    policies = compiled(report_of(a_limit(text)))
    assert [limit.name for limit in policies.routes[0].limits] == asked
    assert "per-tenant" in policies.limits


@pytest.mark.parametrize(
    "more",
    ["shadow: {limit: 4}", "overrides: [{match: {tenant: a}, limit: 4}]"],
)
def test_a_cost_must_fit_every_variant_of_a_limit(report_of: Check, more: str) -> None:
    operations = "operations: [{name: o, cost: {per-tenant: 5}}]"
    text = a_limit(f"{LIMIT}, {more}").replace("limits: [per-tenant]}", f"limits: [per-tenant], {operations}}}")
    errors = report_of(text).errors
    assert [error.code for error in errors] == ["cost-above-limit"]
    assert "ever admits (4, p.yaml:6)" in errors[0].message
    off = text.replace("limit: 4", "mode: off" if "overrides" in more else "limit: 5")
    assert report_of(off).errors == ()


SPECIFIC_FIRST = [
    Match(host="api.example", path=PathPattern(prefix="/")),
    Match(host="*.eu.example", path=PathPattern(prefix="/")),
    Match(host="*.example", path=PathPattern(prefix="/a/b/")),
    Match(path=PathPattern(segments=("a", "b", "c"))),
    Match(path=PathPattern(segments=("a", "b", "{x}"))),
    Match(path=PathPattern(segments=("a", "b", "*"))),
    Match(path=PathPattern(segments=("*", "b", "c"))),
    Match(path=PathPattern(segments=("a", "b")), methods=frozenset({"GET"}), headers=(("x", "1"),)),
    Match(path=PathPattern(segments=("a", "b")), methods=frozenset({"GET"})),
    Match(path=PathPattern(segments=("a", "b")), headers=(("x", "1"), ("y", None))),
    Match(path=PathPattern(segments=("a", "b")), headers=(("x", "1"),)),
    Match(path=PathPattern(segments=("a", "b"))),
    Match(path=PathPattern(prefix="/a/b/")),
    Match(path=PathPattern(prefix="/a/")),
    Match(path=PathPattern(segments=("*", "**"))),
    Match(methods=frozenset({"GET"})),
    Match(),
]


@settings(max_examples=as_many(50))
@given(st.permutations(range(len(SPECIFIC_FIRST))))
def test_the_more_specific_route_comes_first_wherever_it_stands(order: list[int]) -> None:
    routes = [Route(str(number), SPECIFIC_FIRST[number], UPSTREAM) for number in order]
    assert [route.name for route in in_order(routes)] == [str(number) for number in range(len(SPECIFIC_FIRST))]


PATHS = st.sampled_from(
    [
        None,
        PathPattern(prefix="/"),
        PathPattern(prefix="/a/"),
        *(
            PathPattern(segments=tuple(t.split("/")))
            for t in ["a", "{x}", "{y}", "*", "**", "a/**", "a/b", "{x}/b", "*/**"]
        ),
    ]
)
MATCHES = st.builds(
    Match,
    host=st.sampled_from([None, "h.example", "*.example"]),
    path=PATHS,
    methods=st.sampled_from([frozenset[str](), frozenset({"GET"}), frozenset({"GET", "PUT"}), frozenset({"POST"})]),
    headers=st.sampled_from([(), (("x", "1"),), (("x", "2"),), (("x", None),), (("y", "1"),)]),
)


@settings(max_examples=as_many(400))
@given(
    MATCHES,
    MATCHES,
    st.sampled_from(["GET", "PUT", "POST"]),
    st.sampled_from(["h.example", "i.example", "other"]),
    st.sampled_from(["/", "/a", "/a/b", "/b/b", "/c"]),
    st.sampled_from([{}, {"x": "1"}, {"x": "2", "y": "1"}, {"x": "1", "y": "1"}]),
)
def test_two_routes_that_one_call_matches_equally_well_are_rivals(
    one: Match, other: Match, method: str, host: str, path: str, headers: dict[str, str]
) -> None:
    routes = [Route("one", one, UPSTREAM), Route("other", other, UPSTREAM)]
    both = all(
        find_route(PolicySet("0", (route,), {}, {}, {}), method, host, path, headers) is not None for route in routes
    )
    if both and specificity(one) == specificity(other):
        assert list(rivals(routes)) == [(routes[0], routes[1])]
    if specificity(one) != specificity(other):
        assert list(rivals(routes)) == []


def test_routes_that_differ_in_a_header_or_a_method_are_no_rivals(report_of: Check) -> None:
    one = a_route(
        f"name: a, {ON}, match: {{method: GET}}",
        f"name: b, {ON}, match: {{method: [PUT, POST]}}",
        f"name: c, {ON}, match: {{header: {{X-A: '1'}}}}",
        f"name: d, {ON}, match: {{header: {{X-A: '2'}}}}",
    )
    assert report_of(one).errors == ()
    two = a_route(f"name: a, {ON}, match: {{method: [GET, PUT]}}", f"name: b, {ON}, match: {{method: [PUT, POST]}}")
    assert [error.code for error in report_of(two).errors] == ["ambiguous-route"]


def test_unlimited_routes_are_possible(report_of: Check) -> None:
    assert compiled(report_of(BASE + "routes:\n  - {name: r, upstream: api}\n")).routes[0].limits == ()
