"""Operations that no call can reach are pointed out, and no others."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.policy import Match, Operation, PathPattern, Route
from gateway.core.routing.match import find_operation, match_path
from gateway.core.upstream import Upstream
from gateway.policy import Report
from gateway.policy.compile.reach import check_reach
from gateway.policy.findings import Findings, Where
from gateway.policy.nodes import Node
from tests.fakes.examples import as_many
from tests.policy.whole import ON, a_route

Check = Callable[..., Report]

PATTERNS = ["a", "{x}", "*", "**", "a/**", "a/b", "{x}/b", "*/**", "", "b/a", "a/b/c", "b"]
PATHS = st.sampled_from(
    [
        None,
        *(PathPattern(prefix=p) for p in ("/", "/a/", "/a/b/")),
        *(PathPattern(None, tuple(p.split("/"))) for p in PATTERNS),
    ]
)
METHODS = st.sampled_from([frozenset[str](), frozenset({"GET"}), frozenset({"GET", "PUT"}), frozenset({"POST"})])
HEADERS = st.sampled_from([(), (("x", "1"),), (("x", None),), (("y", "1"),), (("x", "1"), ("y", "1"))])
CALLS = [
    (method, path, headers)
    for method in ("GET", "PUT", "POST")
    for path in (
        "/",
        "/a",
        "/b",
        "/a/",
        "/a/b",
        "/b/b",
        "/b/a",
        "/a/b/c",
        "/a/b/",
        "/a/a/b",
        "/c/c/c/c",
        "//b",
        "/a//b",
    )
    for headers in ({}, {"x": "1"}, {"x": "2"}, {"y": "1"}, {"x": "1", "y": "1"}, {"x": "2", "y": "1"})
]


@settings(max_examples=as_many(400), deadline=None)
@given(
    st.sampled_from(["", "/a"]), PATHS, METHODS, st.lists(st.tuples(PATHS, METHODS, HEADERS), min_size=1, max_size=3)
)
def test_what_is_pointed_out_is_never_found(strip, path, methods, matches) -> None:
    if strip and not (path and (path.prefix or "/" + "/".join(path.segments) + "/").startswith("/a/")):
        return  # refused before
    operations = tuple(Operation(str(n), Match(path=p, methods=m, headers=h)) for n, (p, m, h) in enumerate(matches))
    upstream = Upstream("u", "http", "h", 80, "h")
    route = Route("r", Match(path=path, methods=methods), upstream, operations=operations, strip_prefix=strip)
    findings = Findings()
    check_reach(route, Node(Where("p.yaml"), {"operations": Node(Where("p.yaml"), [])}), findings)
    never = {found.message.split("'")[1] for found in findings.warnings}
    for method, full, headers in CALLS:
        if (methods and method not in methods) or (path and match_path(path, full, full.split("/")) is None):
            continue
        rest = full.removeprefix(strip)
        found = find_operation(route, method, rest if rest.startswith("/") else "/" + rest, headers)
        assert found is None or found.name not in never


@pytest.mark.parametrize(
    ("match", "operations", "says"),
    [
        (
            "{}",
            "[{name: any}, {name: b, match: {method: POST}}]",
            "operation 'b' never applies: 'any' before it matches all of its calls (put what is more specific first)",
        ),
        (
            "{}",
            "[{name: a, match: {path: '/{id}'}}, {name: b, match: {path: /new}}]",
            "operation 'b' never applies: 'a' before it matches all of its calls (put what is more specific first)",
        ),
        (
            "{path_prefix: /crm/}",
            "[{name: b, match: {path: /erp/x}}]",
            "operation 'b' never applies: no call of this route has such a path",
        ),
        (
            "{path_prefix: /crm/v1/}, strip_prefix: /crm",
            "[{name: b, match: {path: /crm/v1/x}}]",
            "operation 'b' never applies: no call of this route has such a path "
            "(paths are relative to what strip_prefix '/crm' leaves)",
        ),
        (
            "{method: [GET, HEAD]}",
            "[{name: b, match: {method: POST}}]",
            "operation 'b' never applies: no call of this route has such a method",
        ),
    ],
)
def test_it_is_told_where_it_stands(report_of: Check, match: str, operations: str, says: str) -> None:
    text = f"name: r, {ON}, match: {match}, operations: {operations}"
    report = report_of(a_route(text))
    assert report.errors == ()
    [found] = [one for one in report.warnings if one.code == "never-applies"]
    assert (found.text, found.line, found.col) == (says, 8, 6 + text.index("{name: b"))


@pytest.mark.parametrize(
    "operations",
    [
        "[{name: a, match: {method: POST}}, {name: b, match: {method: [POST, PUT]}}]",
        "[{name: a, match: {path: /a/**}}, {name: b, match: {path: '/{x}/**'}}, {name: rest}]",
        "[{name: a, match: {header: {x: '1'}}}, {name: b, match: {header: {x: '*'}}}, {name: c, match: {path: /a}}]",
    ],
)
def test_operations_that_apply(report_of: Check, operations: str) -> None:
    report = report_of(a_route(f"name: r, {ON}, operations: {operations}"))
    assert (report.errors, [one for one in report.warnings if one.code == "never-applies"]) == ((), [])
