"""Calls while the store does not answer: each limit's posture, slots given back, shares that add up."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.callers import MAX_VALUE_CHARS, Callers
from gateway.core.ask import Ask
from gateway.core.limits import Algorithm, Charge, Limit, Posture
from gateway.core.shares import Fleet, share
from gateway.store.local.store import LocalStore
from gateway.store.outage.fallback import Fallback
from tests.app.conftest import Running, Start
from tests.fakes.patience import impatience
from tests.fakes.stores import patient
from tests.fakes.upstream import Received, Socket, Upstream
from tests.fakes.waiting import eventually

POLICIES = """
version: 1
keys:
  tenant: {from: header, name: X-Tenant-Id, on_missing: anonymous}
limits:
  window: {algorithm: rolling_window, limit: 3, window: 10m, key: [tenant], on_store_error: %(window)s}
  slots: {algorithm: concurrency, limit: 2, lease: 60s, key: [tenant], on_store_error: %(slots)s}
upstreams:
  up: {url: "%(url)s"}
routes:
  - {name: all, match: {path_prefix: /}, upstream: up, limits: [window, slots]}
"""
GET = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


@asynccontextmanager
async def degraded(start: Start, upstream: Upstream, server: Any, **postures: str) -> AsyncIterator[Running]:
    """A gateway whose store is frozen meanwhile."""
    gateway = await start(POLICIES % {"url": upstream.url, **postures})
    await gateway.gateway.store.close()
    store = gateway.gateway.store = patient(server.url)
    await store.start()
    server.freeze()
    try:
        with impatience(store._pipeline):
            yield gateway
    finally:
        server.thaw()


async def test_local_counts_here(start: Start, upstream: Upstream, own_redis_server: Any) -> None:
    async with degraded(start, upstream, own_redis_server, window="local", slots="local") as gateway:
        answers = [await gateway.raw(GET) for _ in range(5)]
    assert [status_of(answer) for answer in answers] == [200, 200, 200, 429, 429]
    assert not any(b"\r\nRateLimit" in answer for answer in answers)  # the numbers would be one worker's
    assert (wait := re.search(rb"\r\nRetry-After: (\d+)\r\n", answers[4]))
    assert b"\r\nX-RateLimit-Remaining: 0\r\nX-RateLimit-Reset: %b\r\n" % wait[1] in answers[4]
    assert b"Limit window (3 per 600 s) is used up as far as it can be given without the store." in answers[4]
    assert [record.store for record in await gateway.records.wait(5)] == ["local"] * 5
    assert len(gateway.gateway.leases) == 0


async def test_workers_without_a_unit_refuse_like_others(
    start: Start, upstream: Upstream, own_redis_server: Any
) -> None:
    """Three units, eight workers: this gateway is each of them in turn."""
    answers = []
    async with degraded(start, upstream, own_redis_server, window="local", slots="allow") as gateway:
        for rank in range(8):
            gateway.gateway.fallback.share_with(Fleet(8, rank))
            gateway.gateway.fallback._local.forget_charges(list(gateway.gateway.fallback._local.keys()))
            answers.append(await gateway.raw(GET))
    assert sorted(map(status_of, answers)) == [200] * 3 + [429] * 5
    told = [answer for answer in answers if status_of(answer) == 429]
    assert all(b"\r\nRetry-After: " in answer and b'"violated-policies":["window"]' in answer for answer in told)
    assert gateway.crashes == []


async def test_deny_refuses_at_once_and_allow_lets_in(start: Start, upstream: Upstream, own_redis_server: Any) -> None:
    async with degraded(start, upstream, own_redis_server, window="deny", slots="local") as gateway:
        answer = await gateway.raw(GET)
    assert status_of(answer) == 503
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "RATE_LIMIT_STORE_UNAVAILABLE"
    assert upstream.received == []


async def test_slots_of_a_call_that_timed_out_are_given_back(
    start: Start, upstream: Upstream, own_redis_server: Any
) -> None:
    async with degraded(start, upstream, own_redis_server, window="local", slots="allow") as gateway:
        assert status_of(await gateway.raw(GET)) == 200
    store = gateway.gateway.store
    await eventually(lambda: store.up)  # type: ignore[attr-defined]
    ask = gateway.gateway.callers.asked(
        gateway.gateway.policies, gateway.gateway.policies.routes[0], None, {"tenant": None}
    )
    assert isinstance(ask, Ask)
    slots = [charge for charge in ask.charges if charge.limit.name == "slots"]
    assert (await store.peek(Ask(slots))).verdicts[0].remaining == 2


WINDOW = Limit("w", Algorithm.ROLLING_WINDOW, 500, 600_000_000, ("tenant",))


@given(st.integers(1, 1000), st.integers(1, 64))
def test_shares_add_up_to_exactly_the_limit(quota: int, workers: int) -> None:
    limit = replace(WINDOW, quota=quota)
    assert sum(share(limit, Fleet(workers), index).quota for index in range(workers)) == quota


@pytest.mark.parametrize(
    ("own", "told"), [("", "Limit w (500 per 600 s) is used up as far as"), ("Ask sales.", "Ask sales.")]
)
def test_callers_are_told_of_the_whole_limit(own: str, told: str) -> None:
    limit = replace(WINDOW, detail=own)
    assert share(limit, Fleet(4, gateways=2), 0).detail.startswith(told)


async def test_a_call_that_costs_more_than_the_share_is_refused() -> None:
    fallback = Fallback(LocalStore(), Fleet(8, 7))
    _, decision = await fallback.admit(Ask([Charge(WINDOW, "k", 100)]), "")
    assert decision is not None
    assert not decision.admitted
    one = replace(WINDOW, quota=1, on_store_error=Posture.LOCAL)
    admitted = 0
    for index in range(8):
        _, decision = await Fallback(LocalStore(), Fleet(8, index)).admit(Ask([Charge(one, "k", 1)]), "")
        assert decision is not None
        admitted += decision.admitted
    assert admitted == 1


@pytest.mark.parametrize(("size", "remembered"), [(MAX_VALUE_CHARS, 1), (MAX_VALUE_CHARS + 1, 0)])
async def test_huge_identities_are_not_remembered(gateway: Running, size: int, remembered: int) -> None:
    callers = Callers()
    policies = gateway.gateway.policies
    callers.asked(policies, policies.routes[0], None, {"tenant": "x" * size, "connection": None})
    assert len(callers) == remembered


async def test_a_call_cut_by_the_drain_is_not_blamed_on_the_caller(gateway: Running, upstream: Upstream) -> None:
    async def never(_request: Received, socket: Socket) -> None:
        await socket.reader.read()

    upstream.script = never
    _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(GET)
    await upstream.until(lambda: len(upstream.received) == 1)
    gateway.gateway.cut_at = 0.0
    gateway.listener.stop_accepting()
    assert await gateway.listener.wait_closed(0.01) == 1
    [record] = await gateway.records.wait(1)
    assert (record.status, record.aborted_by) == (503, "gateway")
    writer.close()


@pytest.mark.parametrize("target", ["/x/../erp/y", "//erp/y", "/./erp/y", "/%65rp/y", "/x%2f..%2ferp/y"])
async def test_a_path_that_another_route_could_claim_is_refused(start: Start, upstream: Upstream, target: str) -> None:
    policies = (POLICIES % {"url": upstream.url, "window": "local", "slots": "local"}) + (
        "  - {name: erp, match: {path_prefix: /erp/}, upstream: up, limits: [window]}\n"
    )
    gateway = await start(policies)
    answer = await gateway.raw(f"GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
    assert status_of(answer) == 400
    assert upstream.received == []
