"""Routing: each rule by example, and the indexed search equal to trying every route with a regular expression."""

import re
import sys
from collections.abc import Callable, Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict

from gateway.core.policy import Match, Operation, PathPattern, PolicySet, Route
from gateway.core.routing.match import find_operation, find_route, host_matches, match_path
from gateway.core.routing.resolve import resolve
from gateway.core.upstream import Upstream
from gateway.wire.asked import Asked
from tests.fakes.examples import as_many

UPSTREAM = Upstream("u", "http", "localhost", 80, "localhost")


def pattern(text: str) -> PathPattern:
    return PathPattern(segments=tuple(text.split("/")[1:]))


def prefix(text: str) -> PathPattern:
    return PathPattern(prefix=text)


def policies(*routes: Route) -> PolicySet:
    return PolicySet("0" * 12, routes, {}, {}, {"u": UPSTREAM})


def route(name: str, **conditions: object) -> Route:
    return Route(name, Match(**conditions), UPSTREAM)  # type: ignore[arg-type]


def found(a_set: PolicySet, method: str, path: str, host: str = "h", **headers: str) -> str | None:
    match = find_route(a_set, method, host, path, CIMultiDict({k.replace("_", "-"): v for k, v in headers.items()}))
    return match[0].name if match else None


@pytest.mark.parametrize(
    ("path", "matches"),
    [
        ("/erp", True),
        ("/erp/", True),
        ("/erp/a/b", True),
        ("/erp//", True),
        ("/erpx", False),
        ("/ERP/a", False),
        ("/%65rp/a", False),
        ("/", False),
        ("erp/", False),
    ],
)
def test_a_prefix_ends_at_a_segment_border(path: str, matches: bool) -> None:
    assert (match_path(prefix("/erp/"), path, path.split("/")) is not None) == matches


@pytest.mark.parametrize(
    ("text", "path", "parameters"),
    [
        ("/a", "/a", {}),
        ("/a", "/a/", None),
        ("/a/", "/a/", {}),
        ("/a/", "/a", None),
        ("/a/", "/a/b", None),
        ("/", "/", {}),
        ("/a/{id}", "/a/7", {"id": "7"}),
        ("/a/{id}", "/a/{id}", {"id": "{id}"}),
        ("/a/{id}", "/a/x%2Fy", {"id": "x%2Fy"}),
        ("/a/{id}", "/a/", None),
        ("/a/{id}", "/a/7/8", None),
        ("/{a}/{b}", "/1/2", {"a": "1", "b": "2"}),
        ("/a/*", "/a/x", {}),
        ("/a/*", "/a/*", {}),
        ("/a/*", "/a/", None),
        ("/a/*", "/a", None),
        ("/a/*/c", "/a/b/c", {}),
        ("/a/*/c", "/a/b/d", None),
        ("/a/**", "/a", {}),
        ("/a/**", "/a/", {}),
        ("/a/**", "/a/b/c", {}),
        ("/a/**", "/b", None),
        ("/a/b/**", "/a", None),
        ("/{x}/**", "/q/b", {"x": "q"}),
        ("/**", "/", {}),
        ("/**", "/a//b", {}),
        ("/**", "*", None),
        ("/*", "*/a", None),
    ],
)
def test_a_pattern_goes_segment_by_segment(text: str, path: str, parameters: Mapping[str, str] | None) -> None:
    assert match_path(pattern(text), path, path.split("/")) == parameters


def test_the_empty_pattern_fits_nothing_with_a_segment() -> None:
    assert match_path(PathPattern(), "/a", ["", "a"]) is None


@pytest.mark.parametrize(
    ("a_pattern", "host", "matches"),
    [
        ("api.example", "api.example", True),
        ("api.example", "x.api.example", False),
        ("*.example", "api.example", True),
        ("*.example", "a.b.example", True),
        ("*.example", "example", False),
        ("*.example", ".example", False),
        ("*.example", "badexample", False),
    ],
)
def test_hosts(a_pattern: str, host: str, matches: bool) -> None:
    assert host_matches(a_pattern, host) == matches


def test_a_route_needs_all_its_conditions() -> None:
    one = policies(
        route(
            "one",
            host="h",
            path=prefix("/a/"),
            methods=frozenset({"GET", "POST"}),
            headers=(("x-beta", "on"), ("x-any", None)),
        )
    )
    assert found(one, "GET", "/a/b", X_Beta="on", x_any="") == "one"
    assert found(one, "PUT", "/a/b", X_Beta="on", x_any="") is None
    assert found(one, "GET", "/b", X_Beta="on", x_any="") is None
    assert found(one, "GET", "/a/b", "other", X_Beta="on", x_any="") is None
    assert found(one, "GET", "/a/b", X_Beta="off", x_any="") is None
    assert found(one, "GET", "/a/b", X_Beta="on") is None


def test_the_first_route_wins_and_an_exact_host_comes_before_others() -> None:
    some = policies(
        route("host", host="api.example", path=prefix("/a/")),
        route("wild", host="*.example"),
        route("literal", path=pattern("/a/b")),
        route("wildcard", path=pattern("/*/b")),
        route("rest"),
    )
    assert found(some, "GET", "/a/b", "api.example") == "host"
    assert found(some, "GET", "/b", "api.example") == "wild"
    assert found(some, "GET", "/a/b", "www.example") == "wild"
    assert found(some, "GET", "/a/b") == "literal"
    assert found(some, "GET", "/c/b") == "wildcard"
    assert found(some, "GET", "/c") == "rest"
    assert found(some, "OPTIONS", "*") == "rest"
    assert found(policies(), "GET", "/") is None


def test_path_parameters_come_back_raw() -> None:
    match = find_route(policies(route("one", path=pattern("/t/{tenant}/**"))), "GET", "h", "/t/a%20b/c", {})
    assert match is not None
    assert match[1] == {"tenant": "a%20b"}


def test_operations_are_tried_in_order() -> None:
    operations = (
        Operation("batch", Match(path=pattern("/product/batch"), methods=frozenset({"POST"}))),
        Operation("beta", Match(headers=(("x-beta", None),))),
        Operation("read", Match(path=pattern("/product/*"))),
    )
    erp = Route("erp", Match(), UPSTREAM, operations=operations)

    def operation(method: str, path: str, **headers: str) -> str | None:
        one = find_operation(erp, method, path, headers)
        return one.name if one else None

    assert operation("POST", "/product/batch") == "batch"
    assert operation("GET", "/product/batch") == "read"
    assert operation("GET", "/product/7", **{"x-beta": "1"}) == "beta"
    assert operation("GET", "/other") is None
    assert find_operation(Route("none", Match(), UPSTREAM), "GET", "/", {}) is None


SEGMENTS = st.sampled_from(["a", "b", "", "%61"])
PATHS = st.lists(SEGMENTS, min_size=1, max_size=4).map(lambda some: "/" + "/".join(some)) | st.just("*")
PATTERNS = st.builds(
    lambda some, rest: pattern("/" + "/".join([*some, *rest])),
    st.lists(SEGMENTS | st.sampled_from(["*", "{x}", "{y}"]), min_size=1, max_size=3),
    st.sampled_from([[], ["**"]]),
)
PREFIXES = st.lists(st.sampled_from(["a", "b"]), max_size=2).map(
    lambda some: prefix("/" + "".join(s + "/" for s in some))
)
HOSTS = ["h.example", "g.example", "other", "a.h.example"]
MATCHES = st.builds(
    Match,
    host=st.sampled_from([None, None, *HOSTS, "*.example", "*.h.example"]),
    path=st.none() | PATTERNS | PREFIXES,
    methods=st.frozensets(st.sampled_from(["GET", "POST"])),
    headers=st.sampled_from([(), (("x-a", "1"),), (("x-a", None),)]),
)


def regex(path: PathPattern) -> str:
    """The pattern as a regular expression, by its documentation."""
    if path.prefix is not None:
        return re.escape(path.prefix.rstrip("/")) + ("(/.*)?" if path.prefix != "/" else "/.*")
    text = ""
    for segment in path.segments or ():
        if segment == "**":
            text += "(/.*)?"
        elif segment == "*" or segment.startswith("{"):
            text += "/[^/]+"
        else:
            text += "/" + re.escape(segment)
    return text


def holds(match: Match, method: str, host: str, path: str, headers: Mapping[str, str]) -> bool:
    """Every condition, one by one."""
    wanted = match.host
    return (
        (not match.methods or method in match.methods)
        and (wanted is None or host == wanted or (wanted[0] == "*" and host.endswith(wanted[1:])))
        and (match.path is None or re.fullmatch(regex(match.path), path) is not None)
        and all(name in headers and value in (None, headers[name]) for name, value in match.headers)
    )


@settings(max_examples=as_many(400))
@given(
    st.lists(MATCHES, max_size=6),
    st.sampled_from(["GET", "POST", "PUT"]),
    st.sampled_from(HOSTS),
    PATHS,
    st.sampled_from([{}, {"x-a": "1"}, {"x-a": "2"}]),
)
def test_the_index_finds_what_trying_every_route_finds(
    matches: list[Match], method: str, host: str, path: str, headers: dict[str, str]
) -> None:
    in_order = sorted(matches, key=lambda match: match.host is None or match.host.startswith("*"))  # exact hosts first
    routes = [Route(str(number), match, UPSTREAM) for number, match in enumerate(in_order)]
    expected = next((one.name for one in routes if holds(one.match, method, host, path, headers)), None)
    got = find_route(policies(*routes), method, host, path, headers)
    assert (got[0].name if got else None) == expected


def test_a_thousand_routes_are_not_tried_one_by_one() -> None:
    many = policies(*(route(f"r{number}", path=prefix(f"/r{number}/")) for number in range(1000)), route("rest"))
    assert max(len(some) for table in many.by_host.values() for some in table.values()) == 2
    assert found(many, "GET", "/r999/x") == "r999"
    assert found(many, "GET", "/other") == "rest"


HOSTILE = ["(a+)+$", "(.*a){20}", "^.*.*.*$", "[a-z]+", "(?=a)"]
LINE_LIMIT = 8_192


def lines_executed(work: Callable[[], object]) -> int:
    """Of Python, as a measure of time that is the same on every machine."""
    count = 0

    def trace(_frame: object, event: str, _argument: object) -> object:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)  # type: ignore[arg-type]
    try:
        work()
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize("text", HOSTILE)
def test_patterns_are_texts_and_no_regular_expressions(text: str) -> None:
    path = PathPattern(segments=(text, "{x}", "**"))
    assert match_path(path, f"/{text}/1/2", ["", text, "1", "2"]) == {"x": "1"}
    assert match_path(path, "/aaaa/1/2", ["", "aaaa", "1", "2"]) is None


@pytest.mark.parametrize("piece", ["a", "/", "/a", "%2f", "/%2e%2e", "//", "/*", ";a", "%", "%2", "%%41"])
def test_the_longest_path_costs_little_and_about_twice_as_much_as_half_of_it(piece: str) -> None:
    hostile = [
        route(str(number), path=PathPattern(segments=(*(("{a}", "*", text) * 5), "**")))
        for number, text in enumerate(HOSTILE)
    ]
    a_set = policies(*hostile, route("rest", path=prefix("/")))

    def cost(length: int) -> int:
        path = (piece * length)[:length]
        return lines_executed(lambda: resolve(a_set, Asked("GET", f"/{path}!", CIMultiDict()), "h"))

    assert cost(LINE_LIMIT) <= 2.5 * cost(LINE_LIMIT // 2) + 10
    assert cost(LINE_LIMIT) <= 6 * LINE_LIMIT
