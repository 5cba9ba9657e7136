"""What the sandbox answers: pure, and the same for the same call."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from gateway.core.guards import Breaker
from gateway.core.policy import Match, PathPattern, Route
from gateway.core.problems import SANDBOX_INVALID, SANDBOX_NO_FIXTURE, Refusal
from gateway.core.sandbox import MARK, Answer, Fixtures, Reply, Sandbox, When
from gateway.core.sandbox.samples import (
    MOST_PARAMETERS,
    Asked,
    Found,
    Listed,
    Record,
    Records,
    Whole,
    Written,
    as_json,
)
from gateway.core.upstream import Learning, Pace, Upstream

_MEMBERS: list[dict[str, Any]] = [{"id": f"{n}", "open": n % 2 == 0, "total": n, "who": "ü"} for n in range(1, 6)]
ORDERS = Records(
    "orders",
    "id",
    {one["id"]: Record(one, as_json(one)) for one in _MEMBERS},
    {"who": "text", "total": "number"},
    {"lines": "list", "count": "integer", "paid": "boolean", "address": "object"},
)
ONE = PathPattern(segments=("orders", "{id}"))
ALL = PathPattern(segments=("orders",))
FIXTURES = Fixtures(
    [
        Answer(ALL, Whole(b"late"), frozenset({"GET"}), query=(("case", "late"),), status=429, delay_us=7),
        Answer(ALL, Whole(b"any"), frozenset({"GET"}), query=(("any", None),)),
        Answer(ALL, Whole(b"by header"), headers=(("x-case", "h"),)),
        Answer(ALL, Listed(ORDERS, page=2, most=4), frozenset({"GET"})),
        Answer(ALL, Written(ORDERS), frozenset({"POST"})),
        Answer(ONE, Found(ORDERS, "id"), frozenset({"GET"}), content_type="a/b", fields=(("x-a", "b"),)),
        Answer(ONE, Written(ORDERS, "id"), frozenset({"PUT", "PATCH", "DELETE"}), content_type="a/b"),
        Answer(PathPattern(segments=("bare",)), Listed(ORDERS, wrap="")),
    ],
    "fixtures.yaml",
    "abc",
)


def ask(method: str, target: str, body: bytes = b"", **headers: str) -> Reply | Refusal:
    path, _, query = target.partition("?")
    return FIXTURES.reply(Asked(method, path, query, CIMultiDict(headers), body))


def good(method: str, target: str, body: bytes = b"", **headers: str) -> Any:
    reply = ask(method, target, body, **headers)
    assert isinstance(reply, Reply)
    assert MARK in reply.fields
    return json.loads(reply.body) if reply.body[:1] in (b"{", b"[") else reply.body


def bad(method: str, target: str, body: bytes = b"") -> Refusal:
    refusal = ask(method, target, body)
    assert isinstance(refusal, Refusal)
    assert refusal.source == "sandbox"
    assert refusal.extra_fields == (MARK,)
    return refusal


def ids(target: str) -> list[str]:
    return [one["id"] for one in good("GET", target)["items"]]


def test_a_list_is_filtered_and_given_page_by_page() -> None:
    assert good("GET", "/orders") == {"items": _MEMBERS[:2], "total": 5, "limit": 2, "offset": 0}
    assert ids("/orders?limit=4&offset=3") == ["4", "5"]
    assert ids("/orders?open=true") == ["2", "4"]
    assert ids("/orders?total=3&unknown=x") == ["3"]
    assert ids("/orders?who=%C3%BC&limit=1") == ["1"]
    assert good("GET", "/orders?who=nobody")["total"] == 0
    assert good("GET", "/orders?paid=true")["total"] == 0  # a member that no sample has
    assert len(good("GET", "/bare")) == 5
    assert ids("/orders?open=true&open=false") == ["2", "4"]  # the first of a repeated parameter


def test_a_record_without_a_member_fits_no_value_of_it() -> None:
    some = [{"id": "1", "status": "open"}, {"id": "2"}]
    records = Records("some", "id", {one["id"]: Record(one, as_json(one)) for one in some})
    for query, fitting in (("status=open", ["1"]), ("status=", []), ("other=x", ["1", "2"])):
        body = Listed(records).make(Asked("GET", "/some", query, {}), {})
        assert isinstance(body, bytes)
        assert [one["id"] for one in json.loads(body)["items"]] == fitting, query


@pytest.mark.parametrize(
    "page", ["limit=0", "limit=5", "limit=x", "limit=", "limit=٣", "offset=-1", "offset=1234567890"]
)
def test_a_page_that_is_none(page: str) -> None:
    assert bad("GET", f"/orders?{page}").kind == SANDBOX_INVALID


def test_too_many_parameters() -> None:
    flood = "&".join(f"p{n}=1" for n in range(MOST_PARAMETERS + 1))
    assert "more than 50" in bad("GET", f"/orders?{flood}").detail


def test_one_record() -> None:
    assert good("GET", "/orders/2") == _MEMBERS[1]
    assert good("HEAD", "/orders/%32") == _MEMBERS[1]
    assert bad("GET", "/orders/9").kind == SANDBOX_NO_FIXTURE
    reply = ask("GET", "/orders/1")
    assert isinstance(reply, Reply)
    assert reply.fields == (("Content-Type", "a/b"), ("x-a", "b"), MARK)


def test_error_cases_are_chosen_by_query_or_header() -> None:
    reply = ask("GET", "/orders?case=late")
    assert isinstance(reply, Reply)
    assert (reply.status, reply.body, reply.delay_us) == (429, b"late", 7)
    assert good("GET", "/orders?any=") == b"any"
    assert good("DELETE", "/orders", **{"X-Case": "h"}) == b"by header"
    assert bad("DELETE", "/orders").kind == SANDBOX_NO_FIXTURE


def test_a_new_record_is_checked_and_forgotten() -> None:
    body = b'{"who": "me", "total": 1.5, "more": [1]}'
    reply = ask("POST", "/orders", body)
    assert isinstance(reply, Reply)
    assert reply.status == 201
    assert json.loads(reply.body) == {"who": "me", "total": 1.5, "more": [1], "id": "sandbox-6"}
    assert reply == ask("POST", "/orders", body)
    assert good("POST", "/orders", b'{"who": "me", "total": 1, "id": "mine"}')["id"] == "mine"
    assert good("GET", "/orders")["total"] == 5


def test_writing_over_a_record() -> None:
    assert good("PATCH", "/orders/2", b'{"total": 9, "id": "7"}') == {**_MEMBERS[1], "total": 9}
    assert good("PUT", "/orders/2", b'{"who": "x", "total": 9}') == {"who": "x", "total": 9, "id": "2"}
    assert good("DELETE", "/orders/2") == b""
    deleted = ask("DELETE", "/orders/2")
    assert isinstance(deleted, Reply)
    assert (deleted.status, deleted.fields) == (204, (MARK,))
    for method in ("PATCH", "PUT", "DELETE"):
        assert bad(method, "/orders/9", b"{}").kind == SANDBOX_NO_FIXTURE


@pytest.mark.parametrize(
    ("method", "body", "detail"),
    [
        ("POST", b"{}", "who is missing; total is missing."),
        ("POST", b'{"who": null, "total": true}', "who is missing; total must be a number."),
        ("POST", b'{"who": 1, "total": "1"}', "who must be a text; total must be a number."),
        ("PATCH", b'{"who": null}', "who is missing."),
        ("PATCH", b'{"lines": {}, "count": 1.5}', "lines must be a list; count must be an integer."),
        ("PATCH", b'{"paid": 1, "address": []}', "paid must be a boolean; address must be an object."),
        ("POST", b"[]", "The body is not a JSON object."),
        ("POST", b"", "The body is not JSON."),
        ("POST", b"{", "The body is not JSON."),
        ("POST", b"\xff{}", "The body is not JSON."),
        ("POST", b'{"total": NaN}', "The body is not JSON."),
        ("POST", b'{"total": 1e999}', "The body is not JSON."),
        ("POST", b'{"a":' + b"[" * 100_000, "The body is not JSON."),
        ("POST", b'{"total": ' + b"9" * 5000 + b"}", "The body is not JSON."),
    ],
)
def test_what_is_wrong_with_a_write_is_said(method: str, body: bytes, detail: str) -> None:
    refusal = bad(method, "/orders" if method == "POST" else "/orders/1", body)
    assert (refusal.kind, refusal.detail) == (SANDBOX_INVALID, detail)


def test_optional_members_may_be_missing() -> None:
    assert good("PATCH", "/orders/1", b'{"lines": null, "address": {}, "count": 2, "paid": false}')["count"] == 2


def test_no_answer_fits() -> None:
    for target in ("/", "/orders/1/2", "/nothing"):
        assert bad("GET", target).kind == SANDBOX_NO_FIXTURE


@given(st.binary(max_size=60), st.text(max_size=30), st.sampled_from(["GET", "POST", "PUT", "PATCH", "HEAD", "X"]))
def test_whatever_is_sent_there_is_an_answer(body: bytes, query: str, method: str) -> None:
    for path in ("/orders", "/orders/1", "/bare"):
        FIXTURES.reply(Asked(method, path, query, CIMultiDict(), body))


@given(
    st.recursive(
        st.text() | st.integers() | st.booleans() | st.none(),
        lambda inner: st.dictionaries(st.text(), inner),
        max_leaves=20,
    )
)
def test_what_is_written_comes_back(value: Any) -> None:
    body = as_json({"who": "me", "total": 1, "extra": value})
    assert good("POST", "/orders", body)["extra"] == json.loads(as_json(value))


def test_which_calls_go_to_the_sandbox() -> None:
    headers = CIMultiDict([("X-Connection-Id", "real"), ("X-Connection-Id", "sbx_1")])
    assert When(header="x-connection-id", prefix="sbx_").holds({}, headers)
    assert not When(header="x-other", prefix="sbx_").holds({}, headers)
    assert When(key="connection", values=frozenset({"demo"})).holds({"connection": "demo"}, headers)
    for value in ("demo2", "", None):
        assert not When(key="connection", values=frozenset({"demo"})).holds({"connection": value}, headers)


def test_a_route_faces_its_caller_without_what_belongs_to_the_upstream() -> None:
    learning = Learning((), ("connection",))
    upstream = Upstream("up", "http", "h", 80, "h", learning=learning, pace=Pace(1, 1), credentials_optional=True)
    sandbox = Sandbox(When(key="connection", prefix="sbx_"), FIXTURES)
    route = Route("r", Match(), upstream, breaker=Breaker("b", ("connection",)), sandbox=sandbox)
    assert route.facing({"connection": "real"}, {}) is route
    faced = route.facing({"connection": "sbx_1"}, {})
    assert (faced.name, faced.fixtures, faced.breaker, faced.retry, faced.sandbox) == ("r", FIXTURES, None, None, None)
    assert (faced.upstream.learning, faced.upstream.pace, faced.upstream.credentials_optional) == (None, None, False)
    assert faced.upstream == upstream
    assert Route("r", Match(), upstream).facing({"connection": "sbx_1"}, {}).fixtures is None


def test_fixtures_are_equal_when_their_texts_are() -> None:
    same, other = Fixtures([], "elsewhere", "abc"), Fixtures([], "fixtures.yaml", "abd")
    assert same == FIXTURES
    assert hash(FIXTURES) == hash(same)
    assert FIXTURES not in (other, "abc")
    assert str(FIXTURES) == "abc"
    assert len(FIXTURES) == 8
