"""What the log is told about an answer of ours is what the caller was told, whichever part of the gateway made it."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable

import pytest

from gateway.core.ask import Ask
from gateway.core.limits import Decision
from gateway.record import CallRecord
from gateway.settings import Bounds
from gateway.store import StoreDown
from tests.app.conftest import Running, Start
from tests.fakes.upstream import OK, Received, Socket, Upstream, always
from tests.fakes.waiting import eventually

POLICIES = """
version: 1
keys:
  tenant: {from: header, name: X-Tenant-Id, on_missing: reject}
  connection: {from: header, name: X-Connection-Id, on_missing: skip}
limits:
  once: {algorithm: rolling_window, limit: 1, window: 10m, key: [tenant]}
  sure: {algorithm: rolling_window, limit: 9, window: 10m, key: [tenant], on_store_error: deny}
  slot: {algorithm: concurrency, limit: 1, key: [tenant]}
breakers:
  erp: {key: [connection], consecutive_failures: 1, open_for: 20s}
upstreams:
  up: {url: "%(url)s", learn_limits: {scope: connection}}
  narrow: {url: "%(url)s", max_sockets: 1}
  gone: {url: "http://127.0.0.1:1"}
routes:
  - {name: once, match: {path_prefix: /once/}, upstream: up, limits: [once]}
  - {name: sure, match: {path_prefix: /sure/}, upstream: up, limits: [sure]}
  - {name: slot, match: {path_prefix: /slot/}, upstream: up, limits: [slot]}
  - {name: held, match: {path_prefix: /held/}, upstream: up, limits: [sure], breaker: erp}
  - {name: narrow, match: {path_prefix: /narrow/}, upstream: narrow}
  - {name: gone, match: {path_prefix: /gone/}, upstream: gone}
"""
FIELDS = "Host: a\r\nConnection: close\r\nX-Tenant-Id: acme\r\nX-Connection-Id: conn_\udce9\r\n\r\n"


async def ask(gateway: Running, path: str, method: str = "GET") -> bytes:
    return await gateway.raw(f"{method} {path} HTTP/1.1\r\n{FIELDS}".encode("utf-8", "surrogateescape"))


async def used_up(gateway: Running, upstream: Upstream) -> bytes:
    await ask(gateway, "/once/")
    return await ask(gateway, "/once/")


async def used_up_and_remembered(gateway: Running, upstream: Upstream) -> bytes:
    await used_up(gateway, upstream)
    return await ask(gateway, "/once/")


async def paused(gateway: Running, upstream: Upstream) -> bytes:
    upstream.script = always(b"HTTP/1.1 429 No\r\nRetry-After: 40\r\nContent-Length: 0\r\n\r\n")
    await ask(gateway, "/held/")
    await eventually(lambda: not gateway.gateway.calls)
    return await ask(gateway, "/held/")


async def open_breaker(gateway: Running, upstream: Upstream) -> bytes:
    upstream.script = always(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")
    await ask(gateway, "/held/")
    await eventually(lambda: not gateway.gateway.calls)
    return await ask(gateway, "/held/")


async def store_away(gateway: Running, upstream: Upstream) -> bytes:
    async def down(_ask: Ask, _lease: str) -> Decision:
        raise StoreDown("timeout")

    gateway.gateway.store.admit = down  # type: ignore[method-assign]
    return await ask(gateway, "/sure/")


async def while_another_runs(gateway: Running, upstream: Upstream, path: str) -> bytes:
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def wait(_request: Received, _socket: Socket) -> bytes:
        arrived.set()
        await go_on.wait()
        return OK

    upstream.script = wait
    first = asyncio.create_task(ask(gateway, path))
    await arrived.wait()
    answer = await ask(gateway, path)
    go_on.set()
    await first
    return answer


async def slots_taken(gateway: Running, upstream: Upstream) -> bytes:
    return await while_another_runs(gateway, upstream, "/slot/")


async def sockets_taken(gateway: Running, upstream: Upstream) -> bytes:
    return await while_another_runs(gateway, upstream, "/narrow/")


async def too_many_calls(gateway: Running, upstream: Upstream) -> bytes:
    return await while_another_runs(gateway, upstream, "/once/")


async def unreachable(gateway: Running, upstream: Upstream) -> bytes:
    return await ask(gateway, "/gone/")


async def no_route(gateway: Running, upstream: Upstream) -> bytes:
    return await ask(gateway, "/nowhere")


async def nobody(gateway: Running, upstream: Upstream) -> bytes:
    return await gateway.raw(b"GET /once/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")


async def no_request(gateway: Running, upstream: Upstream) -> bytes:
    return await gateway.raw(b"GET / HTTP/3.0\r\n\r\n")


Made = Callable[[Running, Upstream], Awaitable[bytes]]


def told(record: CallRecord) -> dict[str, object]:
    return {
        "status": record.status,
        "code": record.code,
        "request_id": record.request_id,
        "retry_after": record.retry_after_s,
        "bytes": record.bytes_out,
    }


@pytest.mark.parametrize(
    ("made", "code", "waits"),
    [
        (used_up, "RATE_LIMIT_EXCEEDED", True),
        (used_up_and_remembered, "RATE_LIMIT_EXCEEDED", True),
        (slots_taken, "CONCURRENCY_LIMIT_EXCEEDED", True),
        (paused, "UPSTREAM_RATE_LIMITED", True),
        (open_breaker, "CIRCUIT_OPEN", True),
        (store_away, "RATE_LIMIT_STORE_UNAVAILABLE", True),
        (sockets_taken, "UPSTREAM_BUSY", True),
        (too_many_calls, "GATEWAY_BUSY", True),
        (unreachable, "UPSTREAM_UNREACHABLE", False),
        (no_route, "NO_ROUTE", False),
        (nobody, "RATE_LIMIT_KEY_MISSING", False),
        (no_request, "HTTP_VERSION_NOT_SUPPORTED", False),
    ],
)
async def test_the_record_says_what_the_caller_was_told(
    start: Start, upstream: Upstream, made: Made, code: str, waits: bool
) -> None:
    bounds = Bounds(calls_in_flight=1) if made is too_many_calls else Bounds()
    gateway = await start(POLICIES % {"url": upstream.url}, bounds=bounds)
    head, _, body = (await made(gateway, upstream)).partition(b"\r\n\r\n")
    fields = dict(re.findall(r"([\w-]+): (.*)\r", head.decode() + "\r"))
    problem = json.loads(body)
    assert problem["code"] == code
    assert problem["instance"] == f"urn:request:{problem['request_id']}"
    assert problem.get("connection_id", "conn_\\xe9") == "conn_\\xe9"  # as the log writes it
    assert str(problem.get("retry_after", "")) == fields.get("Retry-After", "")
    assert ("Retry-After" in fields) == waits
    if problem["status"] == 429:
        assert fields["X-RateLimit-Remaining"] == "0"
        assert fields["X-RateLimit-Reset"] == fields["Retry-After"]
    said = {
        "status": int(head.split()[1]),
        "code": problem["code"],
        "request_id": fields["X-Request-Id"],
        "retry_after": problem.get("retry_after", 0),
        "bytes": len(body),
    }
    await eventually(lambda: any(record.request_id == problem["request_id"] for record in gateway.records.all))
    assert [told(record) for record in gateway.records.all if record.request_id == problem["request_id"]] == [said]
    assert said["bytes"] == int(fields["Content-Length"])
