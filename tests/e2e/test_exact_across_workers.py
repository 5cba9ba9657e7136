"""The main promise, through real sockets and real processes: exact, for the whole fleet, counted by the upstream."""

import asyncio
from collections import Counter

import aiohttp

from tests.e2e.conftest import Launch, Process
from tests.fakes.upstream import Upstream

POLICIES = """
version: 1
keys:
  tenant: {from: header, name: X-Tenant-Id, on_missing: reject}
  connection: {from: header, name: X-Connection-Id, on_missing: skip}
limits:
  tenant-10m: {algorithm: rolling_window, limit: 500, window: 10m, key: [tenant]}
  connection-1m: {algorithm: token_bucket, rate: 1, per: 10m, burst: 3, key: [connection]}
upstreams:
  up: {url: "%(url)s", timeouts: {connect: 60s, first_byte: 60s}}
routes:
  - {name: all, match: {path_prefix: /}, upstream: up, limits: [tenant-10m, connection-1m]}
"""


async def calls(process: Process, count: int, concurrency: int, **headers: str) -> list[aiohttp.ClientResponse]:
    """`count` GETs, `concurrency` at a time on as many sockets; the answers with their bodies read."""
    slots = asyncio.Semaphore(concurrency)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, force_close=False)) as session:

        async def one(number: int) -> aiohttp.ClientResponse:
            async with slots, session.get(f"{process.url}/item/{number}", headers=headers) as answer:
                await answer.read()
                return answer

        return await asyncio.gather(*map(one, range(count)))


async def test_of_2000_calls_of_one_tenant_exactly_500_reach_the_upstream(launch: Launch, upstream: Upstream) -> None:
    gateway = await launch(POLICIES % {"url": upstream.url}, "--workers", "4")
    answers = await calls(gateway, 2000, 300, **{"X-Tenant-Id": "acme"})
    statuses = Counter(answer.status for answer in answers)
    assert statuses == {200: 500, 429: 1500}
    assert len(upstream.received) == 500
    remaining = sorted(int(answer.headers["X-RateLimit-Remaining"]) for answer in answers if answer.status == 200)
    assert remaining == list(range(500))  # every unit was given out once
    assert all(1 <= int(answer.headers["Retry-After"]) <= 600 for answer in answers if answer.status == 429)
    [other] = await calls(gateway, 1, 1, **{"X-Tenant-Id": "globex"})
    assert (other.status, other.headers["X-RateLimit-Remaining"]) == (200, "499")
    assert await gateway.stop() == 0
    lines = gateway.calls()
    assert len(lines) == 2001
    assert len({line["worker"] for line in lines}) == 4
    assert len({line["request_id"] for line in lines}) == 2001


async def test_a_bucket_that_refuses_does_not_charge_the_tenant(launch: Launch, upstream: Upstream) -> None:
    gateway = await launch(POLICIES % {"url": upstream.url}, "--workers", "2")
    answers = await calls(gateway, 50, 20, **{"X-Tenant-Id": "acme", "X-Connection-Id": "c-1"})
    assert Counter(answer.status for answer in answers) == {200: 3, 429: 47}
    assert len(upstream.received) == 3
    [next_call] = await calls(gateway, 1, 1, **{"X-Tenant-Id": "acme", "X-Connection-Id": "c-2"})
    assert '"tenant-10m";r=496' in next_call.headers["RateLimit"]


async def test_two_gateways_share_one_window(launch: Launch, upstream: Upstream) -> None:
    policies = POLICIES % {"url": upstream.url}
    first, second = await asyncio.gather(launch(policies), launch(policies))
    both = await asyncio.gather(*(calls(one, 600, 100, **{"X-Tenant-Id": "acme"}) for one in (first, second)))
    assert sum(answer.status == 200 for answers in both for answer in answers) == 500
    assert len(upstream.received) == 500
