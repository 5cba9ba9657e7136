"""Calls of the sandbox on a running gateway: real limits, sample answers, and an upstream that never hears of them."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from gateway.core.ask import Ask
from tests.app.conftest import Running, Start
from tests.fakes.upstream import Upstream

POLICIES = """
version: 1
keys:
  tenant: {from: header, name: X-Tenant-Id, on_missing: skip}
  connection: {from: header, name: X-Connection-Id, on_missing: skip}
limits:
  calls: {algorithm: rolling_window, limit: 5, window: 10m, key: [connection]}
breakers:
  connection: {key: [connection], consecutive_failures: 1, minimum_calls: 1, open_for: 1h}
retries:
  again: {attempts: 3, backoff: {schedule: [1h]}, on_status: [500]}
upstreams:
  up: {url: "%(url)s/base", learn_limits: {from: Retry-After, scope: connection, max: 15m}}
routes:
  - name: all
    match: {path_prefix: /a/}
    strip_prefix: /a
    upstream: up
    limits: [calls]
    breaker: connection
    retry: again
    modules:
      sandbox: {when: %(when)s, fixtures: "%(fixtures)s"}
"""
FIXTURES = """
records:
  orders:
    required: {who: text}
    items: [{id: "1", who: a}, {id: "2", who: b}]
answers:
  - {match: {path: /orders, query: {case: "500"}}, status: 500, body: {error: failed}}
  - {match: {path: /orders, query: {case: "429"}}, status: 429, headers: {Retry-After: "60"}, body: {error: slow down}}
  - {match: {path: /orders, query: {case: slow}}, list: orders, delay: 30s}
  - {match: {path: /orders}, list: orders}
  - {match: {path: "/orders/{id}"}, read: orders}
  - {match: {method: POST, path: /orders}, write: orders}
  - {match: {method: DELETE, path: "/orders/{id}"}, write: orders}
"""
WHEN = "{key: connection, prefix: sbx_}"


@pytest.fixture
def fixtures(tmp_path: Path) -> Path:
    file = tmp_path / "fixtures.yaml"
    file.write_text(FIXTURES)
    return file


@pytest.fixture
async def gateway(start: Start, upstream: Upstream, fixtures: Path) -> Running:
    return await start(POLICIES % {"url": upstream.url, "when": WHEN, "fixtures": fixtures})


async def call(
    gateway: Running, target: str, method: str = "GET", body: bytes = b"", who: str = "sbx_1", more: str = ""
) -> tuple[int, dict[str, str], bytes]:
    length = f"Content-Length: {len(body)}\r\n" if body else ""
    head = f"{method} {target} HTTP/1.1\r\nHost: a\r\nX-Connection-Id: {who}\r\n{length}{more}Connection: close\r\n\r\n"
    raw = await gateway.raw(head.encode() + body)
    start, _, content = raw.partition(b"\r\n\r\n")
    status, *fields = start.decode().split("\r\n")
    return (
        int(status.split()[1]),
        {name.lower(): value for name, _, value in (f.partition(": ") for f in fields)},
        content,
    )


async def test_a_read_is_answered_from_the_fixtures(gateway: Running, upstream: Upstream) -> None:
    status, fields, body = await call(gateway, "/a/orders?who=b")
    assert (status, json.loads(body)["items"]) == (200, [{"id": "2", "who": "b"}])
    assert fields["x-gateway-sandbox"] == "true"
    assert fields["content-type"] == "application/json"
    assert fields["x-request-id"]
    assert fields["date"]
    assert "calls" in fields["ratelimit"]
    assert fields["x-ratelimit-remaining"] == "4"
    (record,) = await gateway.records.wait(1)
    assert (record.status, record.response_source, record.upstream_status) == (200, "sandbox", 0)
    assert (record.bytes_out, record.error_class, record.connection) == (len(body), "", "sbx_1")
    assert upstream.received == []


async def test_other_connections_reach_the_upstream(gateway: Running, upstream: Upstream) -> None:
    assert (await call(gateway, "/a/orders", who="real"))[2] == b"ok"
    assert (await call(gateway, "/a/orders", who="sbx_1"))[1]["x-gateway-sandbox"] == "true"
    assert (await call(gateway, "/a/orders", who="real"))[2] == b"ok"
    assert [one.target for one in upstream.received] == ["/base/orders"] * 2


async def test_limits_are_real(gateway: Running) -> None:
    statuses = [(await call(gateway, "/a/orders"))[0] for _ in range(7)]
    assert statuses == [200] * 5 + [429] * 2
    assert [one.response_source for one in await gateway.records.wait(7)][-1] == "limit"


async def test_errors_neither_open_the_breaker_nor_pause_nor_are_repeated(gateway: Running, upstream: Upstream) -> None:
    for case in ("500", "429", "500", "429"):
        status, fields, body = await call(gateway, f"/a/orders?case={case}")
        assert (status, fields["x-gateway-sandbox"]) == (int(case), "true")
        assert json.loads(body)["error"]
    assert (await call(gateway, "/a/orders/1"))[0] == 200
    records = await gateway.records.wait(5)
    assert {(one.breaker, one.breaker_state, one.attempts, one.upstream_status) for one in records} == {
        ("", "", None, 0)
    }


async def test_writes_are_checked_and_have_no_effect(gateway: Running, upstream: Upstream) -> None:
    status, fields, body = await call(gateway, "/a/orders", "POST", b'{"who": "me"}')
    assert (status, json.loads(body)) == (201, {"who": "me", "id": "sandbox-3"})
    status, fields, body = await call(gateway, "/a/orders", "POST", b'{"whom": "me"}')
    assert (status, fields["content-type"]) == (422, "application/problem+json")
    assert fields["x-gateway-sandbox"] == "true"
    problem = json.loads(body)
    assert (problem["code"], problem["detail"]) == ("SANDBOX_INVALID", "who is missing.")
    status, fields, body = await call(gateway, "/a/orders/1", "DELETE")
    assert (status, body) == (204, b"")
    assert "content-length" not in fields
    assert json.loads((await call(gateway, "/a/orders"))[2])["total"] == 2
    assert [one.response_source for one in await gateway.records.wait(4)] == ["sandbox"] * 4
    assert upstream.received == []


async def test_what_the_fixtures_do_not_know(gateway: Running) -> None:
    status, fields, body = await call(gateway, "/a/nothing")
    assert (status, json.loads(body)["code"]) == (404, "SANDBOX_NO_FIXTURE")
    assert fields["x-gateway-sandbox"] == "true"


async def test_a_body_comes_in_pieces_when_it_is_asked_for(gateway: Running) -> None:
    chunked = b"7\r\n" + b'{"who":' + b"\r\n5\r\n" + b'"me"}' + b"\r\n0\r\n\r\n"
    head = b"POST /a/orders HTTP/1.1\r\nHost: a\r\nX-Connection-Id: sbx_1\r\nExpect: 100-continue\r\n"
    raw = await gateway.raw(head + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n" + chunked)
    assert b"HTTP/1.1 201 Created\r\n" in raw


@pytest.mark.parametrize("field", ["Content-Length: 1048577", "Transfer-Encoding: chunked"])
async def test_a_body_is_bounded(gateway: Running, field: str) -> None:
    body = b" " * 1_048_577
    sent = body if field.startswith("Content") else b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    head = f"POST /a/orders HTTP/1.1\r\nHost: a\r\nX-Connection-Id: sbx_1\r\n{field}\r\nConnection: close\r\n\r\n"
    raw = await gateway.raw(head.encode() + sent, until=b"CONTENT_TOO_LARGE")
    assert raw.startswith(b"HTTP/1.1 413 ")
    assert b"\r\nX-Gateway-Sandbox: true\r\n" in raw


async def test_a_body_that_breaks_off(gateway: Running) -> None:
    head = b"POST /a/orders HTTP/1.1\r\nHost: a\r\nX-Connection-Id: sbx_1\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert (await gateway.raw(head + b"zz\r\n")).startswith(b"HTTP/1.1 400 ")


async def test_head_has_no_body(gateway: Running) -> None:
    status, fields, body = await call(gateway, "/a/orders", "HEAD")
    assert (status, body, fields["content-length"]) == (200, b"", str(len((await call(gateway, "/a/orders"))[2])))


async def test_a_slow_answer_keeps_its_slot_and_ends_with_its_caller(gateway: Running) -> None:
    waits: list[float] = []
    begun = asyncio.Event()

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        begun.set()
        await asyncio.Event().wait()

    gateway.gateway.sleep = sleep
    _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(b"GET /a/orders?case=slow HTTP/1.1\r\nHost: a\r\nX-Connection-Id: sbx_1\r\n\r\n")
    await begun.wait()
    writer.close()
    (record,) = await gateway.records.wait(1)
    assert (waits, record.status, record.aborted_by) == ([30.0], 499, "client")


async def test_by_header_every_value_counts(start: Start, upstream: Upstream, fixtures: Path) -> None:
    """A write that may be meant for the sandbox never reaches the upstream."""
    when = "{header: X-Mode, values: [sandbox]}"
    gateway = await start(POLICIES % {"url": upstream.url, "when": when, "fixtures": fixtures})
    for more in ("X-Mode: sandbox\r\n", "X-Mode: live\r\nX-Mode: sandbox\r\n"):
        assert (await call(gateway, "/a/orders", who="x", more=more))[1]["x-gateway-sandbox"] == "true"
    assert (await call(gateway, "/a/orders", who="x", more="X-Mode: live\r\n"))[2] == b"ok"
    assert len(upstream.received) == 1


async def test_credentials_are_those_of_real_connections_alone(
    start: Start, upstream: Upstream, fixtures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_OF_ONE", "s3cret")
    entry = """
credentials:
  one: {upstream: up, match: {connection: real}, type: bearer, token: "env:SECRET_OF_ONE"}
"""
    gateway = await start(POLICIES % {"url": upstream.url, "when": WHEN, "fixtures": fixtures} + entry)
    assert (await call(gateway, "/a/orders"))[0] == 200
    assert (await call(gateway, "/a/orders", who="real"))[2] == b"ok"
    assert (await call(gateway, "/a/orders", who="nobody"))[0] == 403


async def test_what_is_charged_by_the_answer_stays_reserved(start: Start, upstream: Upstream, fixtures: Path) -> None:
    """Nobody knows what the upstream would have said."""
    priced = POLICIES.replace(
        "limits: [calls]",
        "limits: [calls]\n    cost: {calls: {from: response_header, name: X-Units, reserve: 3}}",
    )
    gateway = await start(priced % {"url": upstream.url, "when": WHEN, "fixtures": fixtures})
    assert (await call(gateway, "/a/orders"))[0] == 200
    (record,) = await gateway.records.wait(1)
    decision: Any = await gateway.gateway.store.peek(Ask(record.ask.charges))
    assert [verdict.remaining for verdict in decision.verdicts] == [2]
