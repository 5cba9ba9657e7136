"""The state of connections, as every worker of every gateway tells it: two gateways with two workers each."""

import asyncio
from typing import Any

import aiohttp
import pytest

from tests.e2e.conftest import Launch, Process
from tests.fakes.upstream import Received, Socket, Upstream
from tests.fakes.waiting import eventually

POLICIES = """
version: 1
keys:
  tenant: {from: header, name: X-Tenant-Id, on_missing: reject}
  connection: {from: header, name: X-Connection-Id, on_missing: skip}
limits:
  connection-1m: {algorithm: token_bucket, rate: 1, per: 10m, burst: 50, key: [connection]}
breakers:
  connection: {key: [tenant, connection], consecutive_failures: 3, open_for: 10m}
upstreams:
  up: {url: "%(url)s", learn_limits: {from: Retry-After, scope: connection}}
routes:
  - name: all
    upstream: up
    limits: [connection-1m]
    breaker: connection
    operations:
      - {name: product.read, entity: product, match: {method: GET, path: "/product/*"}}
      - {name: vendor.read, entity: vendor, match: {method: GET, path: "/vendor/*"}}
"""
STATUSES = {"unauthorized": 401, "forbidden": 403, "limited": 429, "failing": 500}


async def by_path(request: Received, _socket: Socket) -> bytes:
    """/product/failing is answered with 500, and so on."""
    status = STATUSES.get(request.target.rpartition("/")[2], 200)
    retry = b"Retry-After: 500\r\n" if status == 429 else b""
    return b"HTTP/1.1 %d X\r\n%bContent-Length: 2\r\n\r\nok" % (status, retry)


@pytest.fixture
async def fleet(launch: Launch, upstream: Upstream) -> list[Process]:
    """Two gateways that share a store."""
    upstream.script = by_path
    policies = POLICIES % {"url": upstream.url}
    return list(await asyncio.gather(*(launch(policies, "--workers", "2") for _ in range(2))))


async def call(gateway: Process, path: str, connection: str) -> int:
    """On a socket of its own, so that any worker may get it."""
    headers = {"X-Tenant-Id": "acme", "X-Connection-Id": connection, "Connection": "close"}
    async with aiohttp.ClientSession() as session, session.get(gateway.url + path, headers=headers) as answer:
        return answer.status


async def ask(gateway: Process, path: str) -> Any:
    """What one of its workers says; nobody knows which."""
    url = f"http://127.0.0.1:{gateway.admin_port}/-/connections{path}"
    async with aiohttp.ClientSession() as session, session.get(url, headers={"Connection": "close"}) as answer:
        return await answer.json()


async def until(gateway: Process, path: str, **expected: Any) -> dict[str, Any]:
    """The document, as soon as it says this."""

    async def so() -> dict[str, Any]:
        document = await ask(gateway, path)
        return document if expected.items() <= document.items() else {}

    return await eventually(so, f"{path}: {expected}")


def told(gateway: Process) -> list[dict[str, Any]]:
    """What it wrote to standard output about connections."""
    return [line for line in gateway.events() if line["event_name"].startswith("connection.")]


async def test_every_worker_of_every_gateway_gives_the_same_answer(fleet: list[Process]) -> None:
    first, second = fleet
    for number in range(8):
        assert await call(fleet[number % 2], "/product/1", "conn_42") == 200
    assert await call(first, "/vendor/1", "conn_42") == 200
    assert await call(second, "/product/unauthorized", "conn_42") == 401
    operations = {
        "product.read": {"ok": 8, "rejected": 0, "failed": 1},
        "vendor.read": {"ok": 1, "rejected": 0, "failed": 0},
    }
    document = await until(first, "/conn_42", state="auth_required", operations=operations)
    assert document["tenant"] == "acme"
    assert document["last_failure"]["class"] == "auth_error"
    assert (document["last_failure"]["status"], document["last_failure"]["entity"]) == (401, "product")
    assert document["limits"]["connection-1m"]["remaining"] == 40  # asking costs nothing
    assert document["entities"]["vendor"]["ok"] == 1
    for gateway in fleet:
        workers: set[int] = set()
        while len(workers) < 2:  # several at once, so that both of them get some
            workers.update(await asyncio.gather(*(worker_of(gateway) for _ in range(8))))
            for again in await asyncio.gather(*(ask(gateway, "/conn_42") for _ in range(8))):
                assert again | {"limits": document["limits"]} == document


async def worker_of(gateway: Process) -> int:
    url = f"http://127.0.0.1:{gateway.admin_port}/readyz?verbose"
    async with aiohttp.ClientSession() as session, session.get(url, headers={"Connection": "close"}) as answer:
        return int((await answer.json())["worker"])


async def test_open_issues_events_and_the_log_of_errors(fleet: list[Process]) -> None:
    paths = {"locked": "forbidden", "busy": "limited", "shaky": "failing", "fine": "1"}
    for gateway in fleet:
        for connection, path in paths.items():
            await call(gateway, f"/product/{path}", connection)
    await until(fleet[1], "/busy", state="rate_limited")
    assert 400 < (await ask(fleet[1], "/busy"))["paused_s"] <= 500
    expected = [("locked", "permission_denied"), ("busy", "rate_limited"), ("shaky", "degraded")]

    async def listed() -> bool:
        answers = [(await ask(gateway, "?state=!online"))["connections"] for gateway in fleet]
        return all([(one["connection"], one["state"]) for one in answer] == expected for answer in answers)

    await eventually(listed)
    await until(fleet[0], "/fine", state="online")
    for gateway in fleet:
        assert await gateway.stop() == 0
    lines = [line for gateway in fleet for line in told(gateway)]
    events = sorted(
        (line["event_name"], line["connection"]) for line in lines if line["event_name"] != "connection.error"
    )
    assert events == [
        ("connection.degraded", "shaky"),
        ("connection.permission_denied", "locked"),
        ("connection.rate_limited", "busy"),
    ]
    errors = [line for line in lines if line["event_name"] == "connection.error"]
    called = {line["request_id"]: line for gateway in fleet for line in gateway.calls()}
    assert len(errors) == 5  # of two gateways' calls; that of the second to the paused connection was never sent
    for line in errors:
        assert line["upstream_status"] == called[line["request_id"]]["upstream_status"]
        assert (line["operation"], line["tenant"]) == ("product.read", "acme")
    assert {line["connection"] for line in errors} == {"locked", "busy", "shaky"}


async def test_offline_while_the_breaker_is_open_and_online_again(fleet: list[Process]) -> None:
    first, second = fleet
    for _ in range(3):
        assert await call(first, "/product/failing", "conn_42") == 500
        await until(second, "/conn_42", state="degraded")
    assert await call(second, "/product/1", "conn_42") == 503
    for gateway in fleet:
        document = await until(gateway, "/conn_42", state="offline")
        (breaker,) = document["breakers"]
        assert breaker.pop("next_probe_s") > 500
        assert (breaker["name"], breaker["state"], breaker["reason"]) == ("connection", "open", "consecutive_failures")
        assert document["last_failure"]["status"] == 500
    url = f"http://127.0.0.1:{second.admin_port}/-/breakers/connection/acme/conn_42"
    order = {"state": "open", "ttl": "1ms"}
    async with aiohttp.ClientSession() as session, session.post(url, json=order) as answer:
        assert answer.status == 200
    while await call(second, "/product/1", "conn_42") == 503:  # until that millisecond is over
        pass
    for gateway in fleet:
        document = await until(gateway, "/conn_42", state="online")
        assert document["breakers"][0]["state"] == "closed"
    for gateway in fleet:
        assert await gateway.stop() == 0
    lines = sorted((line for gateway in fleet for line in told(gateway)), key=lambda line: line["timestamp"])
    changes = [line["event_name"] for line in lines if line["event_name"] != "connection.error"]
    assert changes == ["connection.degraded", "connection.offline", "connection.online"]


TWO_BREAKERS = """
version: 1
keys:
  tenant: {from: header, name: X-Tenant-Id, on_missing: reject}
  connection: {from: header, name: X-Connection-Id, on_missing: skip}
breakers:
  one: {key: [tenant, connection], consecutive_failures: 3, open_for: 10m}
  two: {key: [tenant, connection], consecutive_failures: 3, open_for: 10m}
upstreams:
  up: {url: "%(url)s"}
routes:
  - {name: a, match: {path_prefix: /a/}, upstream: up, breaker: one, operations: [{name: a, match: {path: "/**"}}]}
  - {name: b, match: {path_prefix: /b/}, upstream: up, breaker: two, operations: [{name: b, match: {path: "/**"}}]}
"""


async def test_a_connection_is_offline_as_long_as_one_of_its_breakers_refuses(
    launch: Launch, upstream: Upstream
) -> None:
    upstream.script = by_path
    gateway = await launch(TWO_BREAKERS % {"url": upstream.url}, "--workers", "2")
    for _ in range(3):
        assert await call(gateway, "/a/failing", "conn_7") == 500
    failed = 3
    while await call(gateway, "/a/failing", "conn_7") == 500:  # until the other worker's failure has been told, too
        failed += 1
    assert await call(gateway, "/a/1", "conn_7") == 503
    await until(gateway, "/conn_7", state="offline")
    for count in (1, 2, 3):
        assert await call(gateway, "/b/1", "conn_7") == 200
        assert await call(gateway, "/a/1", "conn_7") == 503
        counted = {"a": {"ok": 0, "rejected": 0, "failed": failed}, "b": {"ok": count, "rejected": 0, "failed": 0}}
        await until(gateway, "/conn_7", state="offline", operations=counted)
    url = f"http://127.0.0.1:{gateway.admin_port}/-/breakers/one/acme/conn_7"
    async with aiohttp.ClientSession() as session, session.post(url, json={"state": "closed", "ttl": "10m"}) as answer:
        assert answer.status == 200

    async def online() -> bool:
        return await call(gateway, "/a/1", "conn_7") == 200 and (await ask(gateway, "/conn_7"))["state"] == "online"

    await eventually(online, "an answer through the breaker to be told")
    await gateway.said("connection.online", 1)
    events = [line["event_name"].removeprefix("connection.") for line in told(gateway)]
    assert [name for name in events if name not in ("error", "degraded")] == ["offline", "online"]
