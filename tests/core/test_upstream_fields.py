"""What of a request's head is sent on, and what this hop adds."""

from dataclasses import replace
from typing import NamedTuple

import pytest
from multidict import CIMultiDict

from gateway.core.access.credentials import Credential
from gateway.core.access.hidden import Hidden
from gateway.core.http.framing import Fields
from gateway.core.http.hop import Hop
from gateway.core.keys import KeyFrom, KeyPart, OnMissing
from gateway.core.policy import Match, Route
from gateway.core.upstream import Upstream
from gateway.core.upstream_fields import upstream_fields

UPSTREAM = Upstream("api", "https", "api.example", 443, "api.example")
TENANT = KeyPart("tenant", KeyFrom.HEADER, "x-tenant", OnMissing.SKIP)
ROUTE = Route("r", Match(), UPSTREAM, keys=(TENANT,))


class Came(NamedTuple):
    peer_ip: str = "192.0.2.1"
    scheme: str = "http"
    http_host: str = "gw.example"
    protocol: str = "HTTP/1.1"


class Head(NamedTuple):
    fields: Fields
    upgrade: str = ""
    chunked: bool = False

    @property
    def headers(self) -> CIMultiDict[str]:
        return CIMultiDict([(name.decode(), value.decode("latin-1")) for name, value in self.fields])


def sent(
    *fields: tuple[bytes, bytes],
    came: Came | None = None,
    route: Route = ROUTE,
    written: str = "off",
    trusted: bool = False,
    credential: Credential | None = None,
    **head: object,
) -> list[str]:
    hop, received = Hop("gw", written), Head(fields, **head)  # type: ignore[arg-type]
    lines = upstream_fields(route, hop, came or Came(), received, trusted=trusted, credential=credential)
    assert lines.endswith(b"\r\n")
    return lines.decode("latin-1").split("\r\n")[:-1]


def test_the_callers_fields_stay_as_they_came_behind_the_host() -> None:
    found = sent((b"X-One", b"1"), (b"Host", b"gw.example"), (b"x-ONE", b"\xe9"), (b"Expect", b"100-continue"))
    assert found == ["Host: api.example", "X-One: 1", "x-ONE: \xe9", "Via: 1.1 gw"]


@pytest.mark.parametrize(
    ("rewrite", "host", "expected"),
    [(True, "gw.example", "api.example"), (False, "gw.example", "gw.example"), (False, "", "api.example")],
)
def test_whose_host_it_is(rewrite: bool, host: str, expected: str) -> None:
    route = replace(ROUTE, upstream=replace(UPSTREAM, rewrite_host=rewrite))
    assert sent(came=Came(http_host=host), route=route)[0] == f"Host: {expected}"


@pytest.mark.parametrize(
    ("connection", "more", "head", "expected"),
    [
        (b"X-Drop, X-Tenant", (), {}, ["X-Tenant: t"]),
        (b"Upgrade", (), {"upgrade": "websocket"}, ["X-Drop: 1", "X-Tenant: t", "Connection: Upgrade", "Upgrade: websocket"]),
        (b"TE", ((b"TE", b"gzip, trailers"),), {}, ["X-Drop: 1", "X-Tenant: t", "Connection: TE", "TE: trailers"]),
        (b"TE", ((b"TE", b"gzip"),), {}, ["X-Drop: 1", "X-Tenant: t"]),
    ],
)  # fmt: skip
def test_what_connection_says_is_for_this_hop(
    connection: bytes, more: Fields, head: dict[str, object], expected: list[str]
) -> None:
    found = sent((b"Connection", connection), (b"X-Drop", b"1"), (b"X-Tenant", b"t"), *more, **head)
    assert found[1:-1] == expected


@pytest.mark.parametrize("keys", [(), (TENANT,)])
def test_what_the_gateway_shows_replaces_what_the_caller_showed(keys: tuple[KeyPart, ...]) -> None:
    ours = Credential("erp", "api", header="X-Erp", shown=Hidden("s"))
    said = ((b"Authorization", b"Bearer b"), (b"x_erp", b"b"), (b"X_Tenant", b"t"), (b"X-One", b"1"))
    kept = ["X-One: 1"] if keys else ["X_Tenant: t", "X-One: 1"]
    assert sent(*said, route=replace(ROUTE, keys=keys), credential=ours)[1:-1] == [*kept, "X-Erp: s"]


def test_trailers_are_announced_only_with_a_body_that_may_have_them() -> None:
    assert sent((b"Trailer", b"X-T"), chunked=True)[1:-1] == ["Trailer: X-T", "Transfer-Encoding: chunked"]
    assert sent((b"Trailer", b"X-T"))[1:-1] == []


def test_who_called_is_told_by_whom_we_know() -> None:
    said = ((b"X-Forwarded-For", b"198.51.100.7"), (b"Forwarded", b"for=198.51.100.7"), (b"X-Real-IP", b"6.6.6.6"))
    ours = 'for=192.0.2.1;proto=http;host=gw.example;by=_gw'  # fmt: skip
    assert sent(*said, written="forwarded")[1:] == ["Via: 1.1 gw", f"Forwarded: {ours}"]
    assert sent(*said, written="forwarded", trusted=True)[1:] == [
        "X-Forwarded-For: 198.51.100.7",
        "X-Real-IP: 6.6.6.6",
        "Via: 1.1 gw",
        f"Forwarded: for=198.51.100.7, {ours}",
    ]
    assert sent(*said, written="both", trusted=True)[1:] == [
        "X-Real-IP: 6.6.6.6",
        "Via: 1.1 gw",
        f"Forwarded: for=198.51.100.7, {ours}",
        "X-Forwarded-For: 198.51.100.7, 192.0.2.1",
        "X-Forwarded-Proto: http",
        "X-Forwarded-Host: gw.example",
    ]


@pytest.mark.parametrize(
    ("came", "expected"),
    [
        (Came("2001:db8::1", http_host="[::1]:80"), 'for="[2001:db8::1]";proto=http;host="[::1]:80";by=_gw'),
        (Came("", "https", ""), "for=unknown;proto=https;by=_gw"),
        (Came(http_host='a"b\\c'), r'for=192.0.2.1;proto=http;host="a\"b\\c";by=_gw'),
    ],
)
def test_addresses_as_the_standard_writes_them(came: Came, expected: str) -> None:
    assert sent(came=came, written="forwarded")[-1] == f"Forwarded: {expected}"
    assert len(sent(came=came, written="x-forwarded")) == (5 if came.http_host else 4)
