"""A fleet whose store freezes, is killed, or was never there: real processes, counted by their upstream."""

import asyncio
from collections import Counter
from typing import Any

import aiohttp
import redis.asyncio

from tests.conftest import StartServer
from tests.e2e.conftest import Launch, Process
from tests.fakes.gateways import ask_readiness
from tests.fakes.ports import free_port
from tests.fakes.upstream import Upstream
from tests.fakes.waiting import eventually

POLICIES = """
version: 1
keys:
  tenant: {from: header, name: X-Tenant-Id, on_missing: reject}
limits:
  window: {algorithm: rolling_window, limit: 40, window: 10m, key: [tenant], on_store_error: local}
upstreams:
  up: {url: "%(url)s"}
routes:
  - {name: all, match: {path_prefix: /}, upstream: up, limits: [window]}
"""
IMPATIENT = {"GATEWAY_STORE__TIMEOUT": "2s"}
"""Longer than a busy host makes a store look lost that is not."""


async def calls(one: Process, count: int, tenant: str) -> Counter[int]:
    """So many calls, each on a socket of its own, so that every worker gets some."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=20, force_close=True)) as session:

        async def call() -> int:
            async with session.get(one.url, headers={"X-Tenant-Id": tenant}) as answer:
                await answer.read()
                return answer.status

        return Counter(await asyncio.gather(*(call() for _ in range(count))))


async def know_each_other(client: Any, workers: int) -> None:
    """Every worker has been told of all of them: it was heard of twice after all had been. The second time it had the
    answer of the first."""
    heard = "gw:{fleet}:heard"

    async def all_there() -> bool:
        return await client.zcard(heard) == workers

    await eventually(all_there)
    for _ in range(2):
        latest = (await client.zrange(heard, -1, -1, withscores=True))[0][1]

        async def all_again(since: float = latest) -> bool:
            return await client.zcount(heard, f"({since}", "+inf") == workers

        await eventually(all_again)


def store_events(fleet: list[Process]) -> Counter[str]:
    return Counter(
        line["event_name"] for one in fleet for line in one.events() if line["event_name"].startswith("store.")
    )


async def test_two_gateways_share_a_limit_while_their_store_is_frozen(
    launch: Launch, upstream: Upstream, own_redis_server: Any
) -> None:
    fleet = [
        await launch(POLICIES % {"url": upstream.url}, "--workers", "2", store=own_redis_server.url, env=IMPATIENT)
        for _ in range(2)
    ]
    async with redis.asyncio.Redis.from_url(own_redis_server.url) as client:
        await know_each_other(client, 4)
        own_redis_server.freeze()
        during = sum([await calls(one, 150, "acme") for one in fleet], Counter())
        assert during == {200: 40, 429: 260}
        assert len(upstream.received) == 40
        own_redis_server.thaw()

        await eventually(lambda: store_events(fleet)["store.recovered"] == 4)
        assert await calls(fleet[0], 20, "acme") == {429: 20}  # it knows what was spent without it
        assert await calls(fleet[1], 5, "globex") == {200: 5}
    assert store_events(fleet) == {"store.degraded": 4, "store.recovered": 4}
    for one in fleet:
        assert await one.stop() == 0
        degraded = [line for line in one.calls() if line["store"] == "local"]
        assert {line["store_error"] for line in degraded} <= {"timeout", "other"}
        assert len(degraded) >= 140


async def test_a_gateway_starts_and_serves_without_its_store(launch: Launch, upstream: Upstream) -> None:
    store = f"redis://127.0.0.1:{free_port()}/0"
    gateway = await launch(POLICIES % {"url": upstream.url}, "--workers", "2", store=store)
    answer = await ask_readiness(gateway, "?verbose")
    assert b" 200 " in answer.partition(b"\r\n")[0]
    assert b"down for " in answer
    assert b"(connect: " in answer
    assert await calls(gateway, 150, "acme") == {200: 40, 429: 110}
    await gateway.said("store.degraded", 2)
    assert store_events([gateway]) == {"store.degraded": 2}


async def test_a_store_that_would_forget_counters_is_told_of_by_one_worker(
    launch: Launch, upstream: Upstream, start_redis_server: StartServer
) -> None:
    server = start_redis_server("--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru")
    gateway = await launch(POLICIES % {"url": upstream.url}, "--workers", "2", store=server.url)
    [told] = await gateway.said("store.evicts", 1)
    assert (told["level"], told["maxmemory_policy"]) == ("warning", "allkeys-lru")
    assert told["message"] == "The store forgets counters when its memory is full"
    server.kill()
    await gateway.said("store.degraded", 2)
    server.start()
    await gateway.said("store.recovered", 2)
    assert await gateway.stop() == 0
    assert gateway.events("store.evicts") == [told]
