"""Explaining: what serves calls is what explains them, and every reason why a rule does not apply is told."""

from dataclasses import replace
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict

from gateway.core.access.authentication import NO_CREDENTIALS, ApiKeys, Identity
from gateway.core.caller import ask_for, key_values, missing
from gateway.core.guards import Breaker
from gateway.core.keys import KeyFrom, KeyPart, OnMissing
from gateway.core.limits import Algorithm, Limit, Mode, Override
from gateway.core.measure import Measure, Source
from gateway.core.policy import Match, Operation, PathPattern, PolicySet, Route
from gateway.core.preview.explain import Explanation, Passed, explain
from gateway.core.preview.recorded import Assume, Said, assumed, nothing_assumed, recorded
from gateway.core.problems import Refusal
from gateway.core.routing.match import find_route
from gateway.core.routing.mismatch import mismatch, path_text
from gateway.core.routing.resolve import Resolved, resolve
from gateway.core.upstream import Learning, Pace, Upstream
from tests.fakes.examples import as_many

TENANT = KeyPart("tenant", KeyFrom.HEADER, "x-tenant-id", OnMissing.REJECT)
CONNECTION = KeyPart("connection", KeyFrom.HEADER, "x-connection-id", OnMissing.SKIP)
ACCOUNT = KeyPart("account", KeyFrom.QUERY, "account", OnMissing.ANONYMOUS)
ADDRESS = KeyPart("address", KeyFrom.CLIENT_IP, "", OnMissing.REJECT)
VOUCHED = KeyPart("tenant", KeyFrom.API_KEY_ENTRY, "", OnMissing.REJECT)
UP = Upstream("up", "http", "up.example", 80, "up.example", base_path="/v1")
BIG = Limit("by-tenant", Algorithm.ROLLING_WINDOW, 2000, 60_000_000, ("tenant",))
NONE = replace(BIG, mode=Mode.OFF)
TRIED = Limit("by-tenant.shadow", Algorithm.FIXED_WINDOW, 5, 60_000_000, ("tenant",), mode=Mode.SHADOW)
BY_TENANT = Limit(
    "by-tenant",
    Algorithm.ROLLING_WINDOW,
    500,
    60_000_000,
    ("tenant",),
    overrides=(Override((("tenant", "acme"),), BIG), Override((("tenant", "probe"),), NONE)),
    shadow=TRIED,
)
BY_CONNECTION = Limit(
    "by-connection", Algorithm.TOKEN_BUCKET, 20, 20_000_000, ("connection",), rate=1, per_us=1_000_000
)
BY_ADDRESS = Limit("by-address", Algorithm.CONCURRENCY, 2, 60_000_000, ("address",))
BREAKER = Breaker("fragile", ("connection",), consecutive_failures=3)
MEASURE = Measure(Source.HEADER, "x-cost")


class Request:
    """A request of texts."""

    def __init__(self, line: str, **fields: str) -> None:
        self.method, self.target = line.split(" ")
        self.headers = CIMultiDict({name.replace("_", "-"): value for name, value in fields.items()})


def a_set(*routes: Route, keys: tuple[KeyPart, ...] = (TENANT, CONNECTION, ACCOUNT)) -> PolicySet:
    return PolicySet("0" * 12, routes, {}, {part.name: part for part in keys}, {"up": UP})


def below(name: str, prefix: str, *limits: Limit, upstream: Upstream = UP, **more: object) -> Route:
    keys = more.pop("keys", (TENANT, CONNECTION, ACCOUNT))
    return Route(name, Match(path=PathPattern(prefix=prefix)), upstream, limits, keys, **more)  # type: ignore[arg-type]


def told(policies: PolicySet, request: Request, **more: object) -> Explanation:
    return explain(policies, request, "gateway", **more)  # type: ignore[arg-type]


def why_not(explanation: Explanation) -> dict[str, str]:
    return {case.limit.name: case.why_not for case in explanation.limits}


def test_each_limit_is_asked_or_says_why_not() -> None:
    found = told(a_set(below("erp", "/erp/", BY_TENANT, BY_CONNECTION)), Request("GET /erp/x", x_tenant_id="a"))
    assert found.refusal is None
    assert found.parts == {"tenant": "a", "connection": None, "account": None}
    assert why_not(found) == {"by-tenant": "", "by-connection": "skipped: the call has no connection"}
    assert [case.partition for case in found.limits] == ["by-tenant:{=a}", ""]
    assert found.ask is not None
    assert found.ask.kind.names == ("by-tenant", "by-tenant.shadow")


@pytest.mark.parametrize(
    ("tenant", "quota", "reason"), [("acme", 2000, ""), ("probe", 2000, "its mode is off"), ("other", 500, "")]
)
def test_the_override_that_applies_is_named(tenant: str, quota: int, reason: str) -> None:
    found = told(a_set(below("erp", "/erp/", BY_TENANT)), Request("GET /erp/x", x_tenant_id=tenant))
    (case,) = found.limits
    assert (case.limit.quota, case.why_not) == (quota, reason)
    assert case.override == next((one for one in BY_TENANT.overrides if one.match[0][1] == tenant), None)


def test_a_missing_part_that_rejects_is_the_answer_and_the_reason() -> None:
    found = told(a_set(below("erp", "/erp/", BY_TENANT, BY_CONNECTION)), Request("GET /erp/x", x_connection_id="c"))
    assert found.refusal is not None
    assert found.refusal.kind.code == "RATE_LIMIT_KEY_MISSING"
    assert "x-tenant-id" in why_not(found)["by-tenant"]
    assert why_not(found)["by-connection"] == ""
    assert found.ask is None


def test_values_that_are_known_replace_those_that_are_read() -> None:
    policies = a_set(below("erp", "/erp/", BY_TENANT, BY_CONNECTION))
    found = told(policies, Request("GET /erp/x", x_tenant_id="a"), known={"tenant": "b", "connection": "c", "x": "y"})
    assert found.parts == {"tenant": "b", "connection": "c", "account": None}


def test_routes_and_operations_that_were_passed_say_what_spoke_against_them() -> None:
    batch = Operation("batch", Match(methods=frozenset({"POST"})), cost={"by-tenant": 5})
    read = Operation("read", Match(), "item", {"by-tenant": 2}, {"by-tenant": MEASURE})
    policies = a_set(
        below("crm", "/crm/"),
        Route("beta", Match(headers=(("x-beta", None),)), UP),
        below("erp", "/erp/", BY_TENANT, operations=(batch, read), strip_prefix="/erp"),
        below("rest", "/"),
    )
    found = told(policies, Request("get /erp/x?a=1", x_tenant_id="a"))
    assert found.passed == (Passed("crm", "the path is not /crm/**"), Passed("beta", "the header x-beta is missing"))
    assert found.passed_operations == (Passed("batch", "the method is not POST"),)
    assert found.resolved is not None
    assert (found.resolved.operation, found.resolved.target, found.resolved.rest) == (read, "/v1/x?a=1", "/x")
    assert (found.limits[0].cost, found.limits[0].measure) == (2, MEASURE)


def test_a_limit_is_not_asked_about_what_costs_nothing_of_it_nor_for_whom_it_counts() -> None:
    ping = Operation("ping", Match(), cost={"by-tenant": 0})
    policies = a_set(below("erp", "/erp/", BY_TENANT, BY_CONNECTION, operations=(ping,)))
    found = told(policies, Request("GET /erp/x", x_connection_id="c"))
    assert found.refusal is None
    assert why_not(found) == {"by-tenant": "the call costs nothing of it", "by-connection": ""}
    assert found.ask is not None
    assert found.ask.kind.names == ("by-connection",)


def test_no_operation_fits() -> None:
    batch = Operation("batch", Match(methods=frozenset({"POST"})))
    found = told(a_set(below("erp", "/erp/", operations=(batch,))), Request("GET /erp/x"))
    assert found.resolved is not None
    assert found.resolved.operation is None
    assert found.passed_operations == (Passed("batch", "the method is not POST"),)


def test_an_operation_that_matches_but_costs_less_than_another_reading_was_not_passed() -> None:
    cheap = Operation("cheap", Match(path=PathPattern(prefix="/cheap/")))
    dear = Operation("dear", Match(path=PathPattern(segments=("dear",))), cost={"by-tenant": 9})
    policies = a_set(below("erp", "/erp/", BY_TENANT, operations=(cheap, dear), strip_prefix="/erp"))
    found = told(policies, Request("GET /erp/cheap/%2e%2e/dear", x_tenant_id="a"))
    assert found.resolved is not None
    assert found.resolved.operation is dear
    assert found.passed_operations == ()


def test_without_a_route_every_route_is_passed() -> None:
    found = told(a_set(below("erp", "/erp/")), Request("GET /x"))
    assert found.refusal is not None
    assert found.refusal.kind.status == 404
    assert found.resolved is None
    assert [passed.name for passed in found.passed] == ["erp"]


def test_a_route_that_matches_and_refuses_the_path_is_not_passed() -> None:
    found = told(a_set(below("erp", "/erp/")), Request("GET /erp/../x"))
    assert found.refusal is not None
    assert found.refusal.kind.status == 400
    assert found.passed == ()


def test_a_caller_named_twice_is_refused() -> None:
    request = Request("GET /erp/x?account=1&account=2", x_tenant_id="a")
    found = told(a_set(below("erp", "/erp/", BY_TENANT)), request)
    assert found.refusal is not None
    assert found.refusal.kind.status == 400
    assert found.limits == ()


def test_the_star_of_options_is_the_root() -> None:
    found = told(a_set(below("rest", "/")), Request("OPTIONS *"))
    assert found.resolved is not None
    assert found.resolved.target == "*"


SCHEME = ApiKeys("keys", "x-api-key", {})


def guarded(**more: object) -> PolicySet:
    route = below("erp", "/erp/", BY_TENANT, authenticate=(SCHEME,), keys=(VOUCHED,), **more)
    return a_set(route, keys=(VOUCHED,))


def test_credentials_that_nobody_looked_at_are_said_to_be_unchecked() -> None:
    found = told(guarded(require=(("role", "admin"),)), Request("GET /erp/x"))
    assert found.unchecked
    assert found.refusal is not None
    assert found.refusal.kind.status == 403


def test_credentials_that_hold_say_who_calls() -> None:
    found = told(guarded(), Request("GET /erp/x"), identity=Identity("keys", "k1", {"tenant": "acme"}))
    assert not found.unchecked
    assert found.refusal is None
    assert found.parts == {"tenant": "acme"}


@pytest.mark.parametrize(
    ("identity", "status"), [(NO_CREDENTIALS, 401), (Identity("keys", "k1", {"tenant": "acme"}), 403)]
)
def test_credentials_that_do_not_do_are_refused_first(identity: object, status: int) -> None:
    found = told(guarded(require=(("role", "admin"),)), Request("GET /erp/x"), identity=identity)
    assert found.refusal is not None
    assert found.refusal.kind.status == status


def test_a_repeated_caller_with_credentials_is_refused_for_these_first() -> None:
    query = replace(ACCOUNT, on_missing=OnMissing.SKIP)
    route = below("erp", "/erp/", authenticate=(SCHEME,), keys=(query,))
    request = Request("GET /erp/x?account=1&account=2")
    found = told(a_set(route, keys=(query,)), request, identity=NO_CREDENTIALS)
    assert found.refusal is not None
    assert found.refusal.kind.status == 401


# --- what is asked


def asked(route: Route, **parts: str | None) -> object:
    return ask_for(a_set(route, keys=(TENANT, CONNECTION, ACCOUNT, ADDRESS)), route, None, parts)


def test_guards_are_asked_before_the_limits_and_a_local_breaker_by_itself() -> None:
    learning = replace(UP, learning=Learning((), ("connection",)), pace=Pace(5, 1_000_000, key=("tenant",)))
    shared = asked(below("erp", "/", upstream=learning, breaker=BREAKER), tenant="a", connection="c")
    assert [guard.key for guard in shared.guards] == ["pause:up:{=c}", "breaker:fragile:{=c}"]  # type: ignore[attr-defined]
    assert shared.line == ("a",)  # type: ignore[attr-defined]
    local = asked(below("erp", "/", breaker=replace(BREAKER, shared=False)), tenant="a", connection="c")
    assert local.guards == ()  # type: ignore[attr-defined]
    assert local.own.key == "breaker:fragile:{=c}"  # type: ignore[attr-defined]
    both = asked(
        below("erp", "/", upstream=learning, breaker=replace(BREAKER, shared=False)), tenant="a", connection="c"
    )
    assert [guard.key for guard in both.guards] == ["pause:up:{=c}"]  # type: ignore[attr-defined]
    assert both.own.key == "breaker:fragile:{=c}"  # type: ignore[attr-defined]
    nobody = asked(below("erp", "/", breaker=BREAKER), tenant="a", connection=None)
    assert nobody.breaker is None  # type: ignore[attr-defined]


def test_a_pause_is_asked_about_also_where_a_local_breaker_is_not() -> None:
    paused = replace(UP, learning=Learning((), ("tenant",)))
    found = asked(
        below("erp", "/", upstream=paused, breaker=replace(BREAKER, shared=False)), tenant="a", connection=None
    )
    assert [guard.key for guard in found.guards] == ["pause:up:{=a}"]  # type: ignore[attr-defined]
    assert found.own is None  # type: ignore[attr-defined]
    assert not found.empty  # type: ignore[attr-defined]


def test_a_guard_whose_part_must_not_be_missing_refuses() -> None:
    refused = asked(below("erp", "/", breaker=replace(BREAKER, key=("tenant",))), tenant=None, connection="c")
    assert isinstance(refused, Refusal)


def test_a_missing_address_is_named_by_its_kind() -> None:
    refused = asked(below("erp", "/", BY_ADDRESS), tenant="a", address=None)
    assert isinstance(refused, Refusal)
    assert refused.detail == "The key part address (client_ip) is missing."


def test_anonymous_callers_are_asked_about_together() -> None:
    assert missing(a_set(keys=(ACCOUNT,)), ("account",), {}) is None


def test_variants_are_measured_like_their_limits() -> None:
    route = below("erp", "/", BY_TENANT, BY_CONNECTION, measures={"by-tenant": MEASURE})
    measured = asked(route, tenant="other", connection="c", account=None)
    assert measured.measures == {"by-tenant": MEASURE, "by-tenant.shadow": MEASURE}  # type: ignore[attr-defined]
    plain = replace(BY_TENANT, shadow=None)
    alone = asked(below("erp", "/", plain, measures={"by-tenant": MEASURE}), tenant="other", connection="c")
    assert alone.measures == {"by-tenant": MEASURE}  # type: ignore[attr-defined]


def test_what_credentials_vouch_for_is_not_read_from_the_request() -> None:
    resolved = resolve(guarded(), Request("GET /erp/x", tenant="forged"), "gateway")
    assert isinstance(resolved, Resolved)
    assert key_values(resolved, CIMultiDict(), "", None) == {"tenant": None}


# --- which way


@pytest.mark.parametrize("host", ["api.example", "API.example:8080", "api.example."])
def test_hosts_are_compared_by_name_alone(host: str) -> None:
    policies = a_set(Route("api", Match(host="api.example"), UP))
    assert isinstance(resolve(policies, Request("GET /"), host), Resolved)


def test_an_odd_path_is_refused_where_it_is_another_routes_and_costs_the_dearer_operation() -> None:
    cheap, dear = (
        Operation(name, Match(path=PathPattern(segments=(name,))), cost={"by-tenant": cost})
        for name, cost in (("cheap", 1), ("dear", 9))
    )
    policies = a_set(
        below("erp", "/erp/", BY_TENANT, operations=(cheap, dear), strip_prefix="/erp"), below("crm", "/crm/")
    )
    found = resolve(policies, Request("GET /erp/cheap;/../dear"), "gateway")
    assert isinstance(found, Refusal | Resolved)
    odd = resolve(policies, Request("GET /erp/cheap/%2e%2e/dear"), "gateway")
    assert isinstance(odd, Resolved)
    assert odd.operation is dear
    rest = a_set(below("erp", "/erp/"), below("rest", "/"))
    elsewhere = resolve(rest, Request("GET /x/%2e%2e/erp/y"), "gateway")
    assert isinstance(elsewhere, Refusal)


def test_a_prefix_that_is_stripped_whole_leaves_the_root() -> None:
    found = resolve(a_set(below("erp", "/erp/", strip_prefix="/erp/")), Request("GET /erp/"), "gateway")
    assert isinstance(found, Resolved)
    assert found.rest == "/"


# --- why not

names = st.sampled_from(["x-beta", "x-gamma"])
segments = st.sampled_from(["erp", "items", "{id}", "*"])
patterns = st.builds(PathPattern, st.sampled_from(["/", "/erp/", "/erp/items/"])) | st.builds(
    lambda texts: PathPattern(segments=tuple(texts)), st.lists(segments, max_size=3)
)
matches = st.builds(
    Match,
    st.sampled_from([None, "api.example", "*.example"]),
    st.none() | patterns,
    st.frozensets(st.sampled_from(["GET", "POST"]), max_size=1),
    st.lists(st.tuples(names, st.sampled_from([None, "on"])), max_size=2, unique_by=lambda one: one[0]).map(tuple),
)


@given(
    matches,
    st.sampled_from(["GET", "POST"]),
    st.sampled_from(["", "api.example", "example"]),
    st.lists(st.sampled_from(["erp", "items", "7", ""]), max_size=4).map(lambda texts: "/" + "/".join(texts)),
    st.dictionaries(names, st.sampled_from(["on", "off"])),
)
@settings(max_examples=as_many(300))
def test_something_speaks_against_a_match_exactly_when_it_does_not_match(
    match: Match, method: str, host: str, path: str, headers: dict[str, str]
) -> None:
    matched = find_route(a_set(Route("r", match, UP)), method, host, path, headers) is not None
    assert (mismatch(match, method, host, path, headers) is None) == matched


@pytest.mark.parametrize(
    ("match", "reason"),
    [
        (Match(methods=frozenset({"POST", "PUT"})), "the method is not POST or PUT"),
        (Match(host="api.example"), "the host is not api.example"),
        (Match(path=PathPattern(segments=("a", "{id}"))), "the path is not /a/{id}"),
        (Match(headers=(("x-beta", "on"),)), "the header x-beta is not on"),
        (Match(headers=(("x-gamma", None),)), "the header x-gamma is missing"),
        (Match(headers=(("x-beta", None),)), None),
        (Match(), None),
    ],
)
def test_the_reason_names_what_is_asked_for(match: Match, reason: str | None) -> None:
    assert mismatch(match, "GET", "h", "/b", {"x-beta": "off"}) == reason


def test_an_empty_pattern_is_the_root() -> None:
    assert path_text(PathPattern(segments=())) == "/"


# --- from a line of the access log

LINE = {"event_name": "http.access", "method": "POST", "path": "/erp/items", "route": "erp", "operation": "write"}


def test_a_line_tells_who_called_and_its_route_what_else_it_had() -> None:
    write = Operation("write", Match(headers=(("x-mode", "full"),)))
    other = Operation("other", Match(headers=(("x-other", None),)))
    match = Match(path=PathPattern(prefix="/erp/"), headers=(("x-beta", None),))
    policies = a_set(
        Route("also", replace(match, headers=(("x-also", None),)), UP, (BY_TENANT,)),
        Route("erp", match, UP, (BY_TENANT,), (TENANT,), operations=(other, write), strip_prefix="/erp"),
    )
    call = recorded(
        {**LINE, "tenant": "a", "query": "q=1", "http_host": "gw", "client_ip": "10.0.0.1"}, partial(assumed, policies)
    )
    assert call is not None
    assert (call.target, call.http_host, call.client_ip) == ("/erp/items?q=1", "gw", "10.0.0.1")
    assert call.headers == {"x-beta": "?", "x-mode": "full"}
    assert call.known == {"tenant": "a", "account": None, "connection": None}
    found = explain(policies, call, call.http_host, known=call.known)
    assert found.resolved is not None
    assert (found.resolved.route.name, found.resolved.operation) == ("erp", write)
    assert found.limits[0].partition == "by-tenant:{=a}"


@pytest.mark.parametrize("name", ["event_name", "method", "path"])
def test_a_line_without_a_request_is_none(name: str) -> None:
    assert recorded({key: value for key, value in LINE.items() if key != name}, nothing_assumed) is None


@pytest.mark.parametrize("assume", [partial(assumed, a_set()), nothing_assumed], ids=["route gone", "routes unknown"])
def test_where_the_route_is_not_known_nothing_is_assumed(assume: Assume) -> None:
    call = recorded(LINE, assume)
    assert call is not None
    assert call.headers == {}


def test_fields_of_a_line_are_there_once_or_not() -> None:
    fields = Said({"x-beta": "on"})
    assert (fields.getall("x-beta"), fields.getall("x-no"), fields.getall("x-no", ("d",))) == (("on",), (), ("d",))
