"""Upstreams are shown what is set up for the caller, once, and never what the caller showed."""

import json

import aiohttp
import pytest

from tests.app.conftest import Start
from tests.fakes.upstream import Upstream

POLICIES = """
version: 1
keys:
  tenant: {from: header, name: X-Tenant-Id, on_missing: skip}
  connection: {from: header, name: X-Connection-Id, on_missing: skip}
upstreams:
  up: {url: "%(url)s/base", credentials: %(rest)s}
credentials:
  c1: {upstream: up, match: {connection: c1}, type: header, name: X-Api-Key, value: "env:FIRST"}
  c2: {upstream: up, match: {connection: c2}, type: bearer, token: "env:SECOND"}
  acme: {upstream: up, match: {connection: c2, tenant: acme}, type: basic, username: me, password: "env:FIRST"}
  c3: {upstream: up, match: {connection: c3}, type: query, name: api_key, value: "env:FIRST"}
retries:
  once: {attempts: 2, backoff: {schedule: [1ms]}, on_status: [503]}
routes:
  - {name: all, match: {path_prefix: /}, upstream: up, retry: once}
"""
THEIRS = {"Authorization": "Bearer theirs", "X-Api-Key": "theirs", "X_Api_Key": "theirs"}


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIRST", "s3cr3t one")
    monkeypatch.setenv("SECOND", "s3cr3t-two")


@pytest.mark.parametrize(
    ("who", "path", "shown", "target"),
    [
        ({"X-Connection-Id": "c1"}, "/a", {"X-Api-Key": ["s3cr3t one"], "Authorization": []}, "/base/a"),
        ({"X-Connection-Id": "c2"}, "/a", {"Authorization": ["Bearer s3cr3t-two"]}, "/base/a"),
        (
            {"X-Connection-Id": "c2", "X-Tenant-Id": "acme"},
            "/a",
            {"Authorization": ["Basic bWU6czNjcjN0IG9uZQ=="]},
            "/base/a",
        ),
        ({"X-Connection-Id": "c3"}, "/a?x=1&api_key=theirs", {"Authorization": []}, "/base/a?x=1&api_key=s3cr3t%20one"),
    ],
)
async def test_each_connection_has_its_own(
    start: Start, upstream: Upstream, who: dict[str, str], path: str, shown: dict[str, list[str]], target: str
) -> None:
    gateway = await start(POLICIES % {"url": upstream.url, "rest": "required"})
    async with aiohttp.ClientSession(headers=THEIRS | who) as caller:
        for _ in range(3):  # the second and third are sent from memory
            async with caller.get(gateway.url + path) as answer:
                assert answer.status == 200
        async with caller.get(gateway.url + path + ("&" if "?" in path else "?") + "y=2") as answer:
            assert answer.status == 200
    for got in upstream.received:
        assert {name: got.fields(name) for name in shown} == shown
        assert got.fields("X_Api_Key") == ([] if who["X-Connection-Id"] == "c1" else ["theirs"])
    assert [got.target for got in upstream.received[:3]] == [target] * 3
    assert upstream.received[3].target.count("api_key=") == target.count("api_key=")
    assert "s3cr3t" not in json.dumps([vars(record) for record in await gateway.records.wait(4)], default=str)


async def test_trace_would_show_them_to_the_caller(start: Start, upstream: Upstream) -> None:
    gateway = await start(POLICIES % {"url": upstream.url, "rest": "optional"})
    for method, status in ((b"GET", 200), (b"TRACE", 405), (b"trace", 405)):
        lines = b" /x HTTP/1.1\r\nHost: a\r\nX-Connection-Id: c1\r\nConnection: close\r\n\r\n"
        assert (await gateway.raw(method + lines)).startswith(b"HTTP/1.1 %d " % status)
    assert [request.method for request in upstream.received] == ["GET"]


async def test_a_further_attempt_shows_them_too(start: Start, upstream: Upstream) -> None:
    answers = iter(
        [b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"] * 2
    )

    async def script(_got: object, _socket: object) -> bytes:
        return next(answers)

    upstream.script = script
    gateway = await start(POLICIES % {"url": upstream.url, "rest": "required"})
    async with aiohttp.ClientSession() as caller:
        for connection in ("c2", "c3"):
            async with caller.get(f"{gateway.url}/a", headers={"X-Connection-Id": connection}) as answer:
                assert answer.status == 200
    first, again, other, other_again = upstream.received
    assert first.fields("Authorization") == again.fields("Authorization") == ["Bearer s3cr3t-two"]
    assert other.target == other_again.target == "/base/a?api_key=s3cr3t%20one"


async def test_nobody_borrows_the_credentials_of_somebody_else(start: Start, upstream: Upstream) -> None:
    gateway = await start(POLICIES % {"url": upstream.url, "rest": "required"})
    async with aiohttp.ClientSession() as caller:
        for who in ({}, {"X-Connection-Id": "c4"}, {"X-Connection-Id": "C1"}):
            async with caller.get(f"{gateway.url}/a", headers=who) as answer:
                problem = await answer.json(content_type=None)
                assert (answer.status, problem["code"]) == (403, "CREDENTIALS_MISSING")
                assert problem["detail"] == "No credentials for upstream up are set up for this caller."
        two = b"GET /a HTTP/1.1\r\nHost: a\r\nX-Connection-Id: c1\r\nX-Connection-Id: c2\r\nConnection: close\r\n\r\n"
        assert b" 400 " in await gateway.raw(two)
    assert upstream.received == []


async def test_optional_ones_let_the_callers_own_pass(start: Start, upstream: Upstream) -> None:
    gateway = await start(POLICIES % {"url": upstream.url, "rest": "optional"})
    async with aiohttp.ClientSession(headers=THEIRS) as caller, caller.get(f"{gateway.url}/a?api_key=theirs"):
        pass
    (got,) = upstream.received
    assert (got.fields("Authorization"), got.fields("X-Api-Key")) == (["Bearer theirs"], ["theirs"])
    assert got.target == "/base/a?api_key=theirs"
