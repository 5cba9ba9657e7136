"""Leads: where one path went, all others with its beginning go too, as `resolve` itself would have it."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict

from gateway.core.policy import Match, Operation, PolicySet, Route
from gateway.core.routing.lead import Lead, lead
from gateway.core.routing.resolve import Resolved, resolve
from gateway.wire.asked import Asked
from tests.core.routing.test_match import HOSTS, MATCHES, UPSTREAM, pattern, policies, prefix, route
from tests.fakes.examples import as_many

SEGMENTS = st.sampled_from(["a", "b", "c"]) | st.sampled_from(["", "%61", "a;v", "*"])
TARGETS = st.builds(
    lambda some, query: "/" + "/".join(some) + query,
    st.lists(SEGMENTS, min_size=1, max_size=5),
    st.sampled_from(["", "?", "?a/b=%61", "?x=1"]),
)
OPERATIONS = st.lists(
    st.builds(Operation, st.sampled_from(["one", "two"]), MATCHES.map(lambda m: replace(m, host=None)))
)
ROUTES = st.builds(
    Route,
    st.just("r"),
    MATCHES,
    st.sampled_from([UPSTREAM, replace(UPSTREAM, base_path="/base")]),
    operations=OPERATIONS.map(lambda some: tuple(some[:2])),
    strip_prefix=st.sampled_from(["", "", "/a", "/a/b", "/b"]),
)


def asked(method: str, target: str, headers: dict[str, str]) -> Asked:
    return Asked(method, target, CIMultiDict(headers))


@settings(max_examples=as_many(200))
@given(
    st.lists(ROUTES, min_size=1, max_size=5),
    st.sampled_from(["GET", "POST", "put"]),
    st.sampled_from(HOSTS),
    st.lists(TARGETS, min_size=2, max_size=4),
    st.sampled_from([{}, {"x-a": "1"}, {"x-a": "2"}]),
)
def test_a_lead_goes_where_each_path_would_go(
    routes: list[Route], method: str, host: str, targets: list[str], headers: dict[str, str]
) -> None:
    a_set = policies(*routes)
    for target in targets:
        head = asked(method, target, headers)
        resolved = resolve(a_set, head, host)
        found = lead(a_set, head, host, resolved) if isinstance(resolved, Resolved) else None
        if not isinstance(resolved, Resolved) or found is None:
            continue
        assert found.follow(target) == resolved.target
        for other in targets:
            to = found.follow(other)
            there = resolve(a_set, asked(method, other, headers), host)
            if to is not None:
                assert isinstance(there, Resolved)
                assert there.route is resolved.route
                assert there.operation is resolved.operation
                assert there.target == to


ITEMS = route("items", path=prefix("/v1/items/"))
ORDER = route("order", path=pattern("/v1/orders/{id}"))
ANY = route("any")
READ = Operation("read", Match(methods=frozenset({"GET"})))
BATCH = Operation("batch", Match(path=pattern("/items/batch")))


@pytest.mark.parametrize(
    ("routes", "method", "target", "expected"),
    [
        ([ITEMS], "GET", "/v1/items/7?x=/", Lead("/v1/items/", 0, "")),
        ([ITEMS], "GET", "/v1/items", None),  # no path begins so with a `/` behind it
        ([ORDER, ITEMS], "GET", "/v1/items/7", Lead("/v1/items/", 0, "")),
        ([ORDER], "GET", "/v1/orders/7", None),  # not every path behind it
        ([ANY], "GET", "/v1/orders/7", Lead("/v1/", 0, "")),
        ([ANY], "GET", "/v1", None),
        ([ORDER, ANY], "GET", "/v1/orders/7/lines", None),
        ([ORDER, ANY], "GET", "/v1/items/7", Lead("/v1/items/", 0, "")),
        ([route("deep", path=prefix("/a/b/c/d/"))], "GET", "/a/b/c/d/e", None),  # few paths begin so
        ([route("rest", path=pattern("/v1/items/**"))], "GET", "/v1/items/7", Lead("/v1/items/", 0, "")),
        ([route("head", path=prefix("/v1/"), headers=(("x-b", None),)), ANY], "GET", "/v1/x", Lead("/v1/", 0, "")),
        ([route("post", path=prefix("/v1/"), methods=frozenset({"POST"})), ANY], "GET", "/v1/x", Lead("/v1/", 0, "")),
        ([route("other", path=prefix("/v1/"), host="*.other"), ANY], "GET", "/v1/x", Lead("/v1/", 0, "")),
        ([ANY], "OPTIONS", "/v1/x", None),  # what ends here depends on more
        ([ANY], "GET", "/v1/%78", None),
        ([replace(ITEMS, operations=(READ,))], "GET", "/v1/items/7", Lead("/v1/items/", 0, "")),
        ([replace(ITEMS, operations=(READ,))], "POST", "/v1/items/7", Lead("/v1/items/", 0, "")),
        ([replace(ITEMS, strip_prefix="/v1", operations=(BATCH,))], "GET", "/v1/items/7", None),
        ([replace(ITEMS, strip_prefix="/v1/items", operations=(BATCH,))], "GET", "/v1/items/7", None),
        ([replace(ITEMS, strip_prefix="/v1/items")], "GET", "/v1/items/7", Lead("/v1/items/", 9, "")),
        ([replace(ANY, strip_prefix="/v1/items")], "GET", "/v1/items/7", Lead("/v1/items/", 9, "")),
        ([replace(ANY, strip_prefix="/v1/")], "GET", "/v1/items/7", Lead("/v1/", 4, "/")),
        ([replace(ANY, upstream=replace(UPSTREAM, base_path="/b"))], "GET", "/v1/items/7", Lead("/v1/", 0, "/b")),
    ],
)
def test_where_a_path_leads(routes: list[Route], method: str, target: str, expected: Lead | None) -> None:
    a_set: PolicySet = policies(*routes)
    head = asked(method, target, {})
    resolved = resolve(a_set, head, "h")
    if isinstance(resolved, Resolved):
        assert lead(a_set, head, "h", resolved) == expected
    else:
        assert expected is None


def test_a_lead_is_for_what_begins_so_and_can_be_read_in_one_way() -> None:
    one = Lead("/v1/items/", 3, "/base")
    assert one.follow("/v1/items/7?a=%61") == "/base/items/7?a=%61"
    assert one.follow("/v1/items/") == "/base/items/"
    assert one.follow("/v1/items") is None
    assert one.follow("/v1/orders/7") is None
    for odd in ("/v1/items/%37", "/v1/items//7", "/v1/items/../7", "/v1/items/7;v=1", "/v1/items/a\\b"):
        assert one.follow(odd) is None
