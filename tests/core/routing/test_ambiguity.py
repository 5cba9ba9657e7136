"""What another server may understand otherwise is refused: other routes, other callers, cheaper operations."""

import pytest
from multidict import CIMultiDict

from gateway.core.keys import KeyFrom, KeyPart, OnMissing
from gateway.core.limits import Algorithm, Limit
from gateway.core.policy import Match, Operation, PathPattern, PolicySet, Route
from gateway.core.routing.ambiguity import MAX_ODD_SEGMENTS, ambiguous, dearest, leaves, odd, said_twice
from gateway.core.routing.match import find_route
from gateway.core.upstream import Upstream

UP = Upstream("up", "http", "up.example", 80, "up.example")
REGION = KeyPart("region", KeyFrom.PATH, "region", OnMissing.REJECT)
TENANT = KeyPart("tenant", KeyFrom.QUERY, "tenant_id", OnMissing.REJECT)
CALLER = KeyPart("caller", KeyFrom.API_KEY, "x-api-key", OnMissing.REJECT)
LIMIT = Limit("l", Algorithm.ROLLING_WINDOW, 10, 1_000_000, ())


def prefix(name: str, path: str, *keys: KeyPart) -> Route:
    return Route(name, Match(path=PathPattern(prefix=path)), UP, keys=keys)


def pattern(name: str, path: str, *keys: KeyPart, operations: tuple[Operation, ...] = ()) -> Route:
    match = Match(path=PathPattern(segments=tuple(path.strip("/").split("/"))))
    return Route(name, match, UP, (LIMIT,), keys, operations)


def doubted(path: str, *routes: Route) -> bool:
    """As the gateway asks: only odd paths are looked at twice."""
    policies = PolicySet("0", routes, {}, {}, {})
    found = find_route(policies, "GET", "", path, {})
    assert found is not None, path
    return odd(path) and ambiguous(policies, found, "GET", "", path, {})


@pytest.mark.parametrize(
    "path",
    [
        "/x/../admin/y",
        "/x/%2e%2e/admin/y",
        "/x/..%2fadmin/y",
        "/x\\..\\admin/y",
        "/x/..%5cadmin/y",
        "//admin/y",
        "/./admin/y",
        "/%61dmin/y",
        "/%2561dmin/y",
        "/;a=b/admin/y",
        "/x/..;/admin/y",
        "/admin;a=b/y",
        "/%61dmin/..;/y",  # only a server that keeps parameters stays in /admin/
        "/%61dmin/../y",  # only one that does not resolve dots
        "/admin/../x",
        "/admin/..;/x",
        "/" + ";/" * (MAX_ODD_SEGMENTS + 1),
    ],
)
def test_a_path_that_may_be_another_routes(path: str) -> None:
    assert doubted(path, prefix("admin", "/admin/"), prefix("rest", "/"))


@pytest.mark.parametrize(
    "path",
    ["/x/../y", "/x//y", "/x/%61dmin", "/x;admin/y", "/admin/a%2Fb;c=d/../e//f", "/x/100%25", "/%E9", "/x/.well"],
)
def test_an_odd_path_of_one_route(path: str) -> None:
    assert not doubted(path, prefix("admin", "/admin/"), prefix("rest", "/"))


@pytest.mark.parametrize(
    ("path", "wrong"),
    [
        ("/erp/acme/x", False),
        ("/erp/%61cme/x", False),
        ("/erp/acme/x%2Fy/../z//;a=b", False),
        ("/erp/caf%C3%A9/x", False),
        ("/erp/caf%E9/x", False),
        ("/erp/100%25/x", False),
        ("/erp/acme;v=1/x", True),
        ("/erp/acme%3Bv=1/x", True),
        ("/erp/acme%2Fx", True),
        ("/erp/acme%5Cx", True),
        ("/erp/acme\\x", True),
        ("/erp/./acme/x", True),
        ("/erp/%2e/acme/x", True),
        ("/erp/;/acme/x", True),
        ("/erp/other/%2e%2e/acme/x", True),
        ("/erp/%2561cme/x", True),
    ],
)
def test_a_path_that_may_say_another_caller(path: str, wrong: bool) -> None:
    assert doubted(path, pattern("erp", "/erp/{region}/**", REGION)) == wrong


def test_a_reading_too_short_to_say_a_caller_is_another() -> None:
    assert doubted("/erp/x/../acme", pattern("erp", "/erp/*/{region}/**", REGION))


def test_only_the_segments_of_key_parts_count() -> None:
    assert not doubted("/erp/acme;v=1/x", pattern("erp", "/erp/{region}/**"))
    assert not doubted("/erp/acme/a%2Fb", pattern("erp", "/erp/{region}/{file}", REGION))


def test_the_dearest_operation_of_an_odd_path() -> None:
    dear = Operation("batch", Match(path=PathPattern(segments=("x", "batch"))), cost={"l": 5})
    free = Operation("free", Match(path=PathPattern(segments=("x", "**"))), cost={"l": 0})
    other = Operation("other", Match(path=PathPattern(segments=("y",))))
    route = pattern("erp", "/**", operations=(dear, free, other))
    assert dearest(route, free, "GET", "/x/%62atch", {}) is dear
    assert dearest(route, free, "GET", "/x/;a/y", {}) is free
    assert dearest(route, dear, "GET", "/x/batch/../z", {}) is dear
    assert dearest(route, None, "GET", "/%79", {}) is None
    assert dearest(route, None, "GET", "/x/../y", {}) is None


@pytest.mark.parametrize(
    ("query", "wrong"),
    [
        ("", False),
        ("a=b", False),
        ("tenant_id=acme", False),
        ("tenant%5Fid=acme&a=1;b=2", False),
        ("tenant_id=a%3Bb", False),
        ("tenant_id=acme&tenant_id=acme", True),
        ("tenant_id=acme&tenant%5fid=other", True),
        ("tenant_id=acme&Tenant_ID=other", True),
        ("TENANT_ID=acme", True),
        ("tenant_id[]=acme", True),
        ("tenant_id=acme&tenant_id[0]=other", True),
        ("tenant.id=acme", True),
        ("+tenant+id=acme", True),
        ("tenant_id%00x=acme", True),
        ("a=1;tenant_id=acme", True),
        ("tenant_id=acme;x=1", True),
        ("tenant_id=new;tenant_id=acme", True),
    ],
)
def test_a_parameter_that_may_say_another_caller(query: str, wrong: bool) -> None:
    assert said_twice(prefix("all", "/", REGION, TENANT), CIMultiDict(), query) == wrong


def test_a_field_said_twice() -> None:
    route = prefix("all", "/", CALLER)
    assert not said_twice(route, CIMultiDict([("X-Api-Key", "a")]), "tenant_id=1&tenant_id=2")
    assert said_twice(route, CIMultiDict([("X-Api-Key", "a"), ("x-api-key", "a")]), "")


def test_leaving_a_route() -> None:
    assert leaves(pattern("erp", "/erp/*"), "/erp/..")
    assert leaves(prefix("erp", "/erp/"), "/erp/../x")
    assert not leaves(prefix("erp", "/erp/"), "/erp/x/..")
    assert not leaves(prefix("all", "/"), "/..")
    assert not leaves(Route("all", Match(), UP), "/..")
    assert leaves(Route("all", Match(), Upstream("up", "http", "h", 80, "h", base_path="/v2")), "/..")
