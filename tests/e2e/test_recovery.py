"""An upstream that comes back, with limited strength, to 500 clients that waited; and breakers whose store is gone."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator

import aiohttp
import pytest

from gateway.store.redis import RedisStore
from tests.conftest import RedisServer
from tests.e2e.breaking import BAD, HELD, PASSED, calls, changes, ready_to_probe, until_held
from tests.e2e.conftest import Launch, Process
from tests.fakes.stores import patient, started
from tests.fakes.upstream import OK, Received, Socket, Upstream, always
from tests.fakes.waiting import pause, turns

POLICIES = """
version: 1
keys:
  connection: {from: header, name: X-Connection-Id, on_missing: skip}
limits:
  at-once: {algorithm: concurrency, limit: 30, key: [connection], lease: 60s}
breakers:
  connection: {key: [connection], consecutive_failures: 5, open_for: 30s, scope: %(scope)s}
retries:
  quick: {attempts: 3, backoff: {schedule: [10ms]}}
upstreams:
  up: {url: "%(url)s"}
routes:
  - {name: all, match: {path_prefix: /}, upstream: up, limits: [at-once], breaker: connection, retry: quick}
"""
STRENGTH = 40
CLIENTS = 500


class Weak:
    """Serves `STRENGTH` calls at a time; whoever comes beyond that gets an error."""

    def __init__(self) -> None:
        self.busy = self.overrun = 0

    async def __call__(self, _request: Received, _socket: Socket) -> bytes:
        self.busy += 1
        try:
            if self.busy > STRENGTH:
                self.overrun += 1
                return BAD
            await pause(0.01, "what serving a call takes")
            return OK
        finally:
            self.busy -= 1


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[RedisStore]:
    async with started(patient(redis_url)) as one:
        yield one


async def all_served(fleet: list[Process]) -> None:
    """Each client tries until it is served, and comes back rather soon."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def served(number: int) -> None:
            url, status = f"{fleet[number % len(fleet)].url}/x", 0
            while status != 200:
                async with session.get(url, headers={"X-Connection-Id": "c1"}) as answer:
                    status = answer.status
                    assert status in (200, 429, 503), await answer.text()
                await pause(0.05, "a client that comes back rather soon")

        await asyncio.gather(*map(served, range(CLIENTS)))


async def test_500_clients_do_not_bring_down_again_an_upstream_that_can_take_40(
    launch: Launch, upstream: Upstream, store: RedisStore
) -> None:
    text = POLICIES % {"url": upstream.url, "scope": "shared"}
    fleet = list(await asyncio.gather(launch(text, "--workers", "2"), launch(text)))
    upstream.script = always(BAD)
    await until_held(fleet, 10)
    upstream.script = weak = Weak()
    upstream.received.clear()
    waiting = asyncio.ensure_future(all_served(fleet))
    await turns()
    await ready_to_probe(store)
    await waiting
    assert CLIENTS <= len(upstream.received) <= CLIENTS * 1.2
    assert weak.overrun == 0
    for gateway in fleet:
        assert await gateway.stop() == 0
    told = Counter(name for gateway in fleet for name in changes(gateway))
    assert told == {"breaker.opened": 1, "breaker.half_open": 1, "breaker.closed": 1}


async def test_with_the_store_killed_each_worker_opens_its_own(
    launch: Launch, upstream: Upstream, own_redis_server: RedisServer
) -> None:
    text = POLICIES % {"url": upstream.url, "scope": "shared"}
    gateway = await launch(text, "--workers", "2", store=own_redis_server.url)
    own_redis_server.kill()
    assert await calls([gateway], 20) == {PASSED: 20}
    upstream.received.clear()
    upstream.script = always(BAD)
    await until_held([gateway], 20)
    reached = len(upstream.received)
    assert await calls([gateway], 100) == {HELD: 100}, "silence"
    assert len(upstream.received) == reached


async def test_the_admin_listener_asks_every_worker_about_breakers_of_their_own(
    launch: Launch, upstream: Upstream
) -> None:
    gateway = await launch(POLICIES % {"url": upstream.url, "scope": "local"}, "--workers", "2")
    upstream.script = always(BAD)
    await until_held([gateway], 20)
    url = f"http://127.0.0.1:{gateway.admin_port}/-/breakers/connection/c1"
    async with aiohttp.ClientSession() as session:
        async with session.get(url) as answer:
            document = json.loads(await answer.read())
        assert [one["worker"] for one in document["workers"]] == [0, 1]
        assert "open" in {one["state"] for one in document["workers"]}
        async with session.post(url, json={"state": "closed", "ttl": "10m"}) as answer:
            document = json.loads(await answer.read())
    assert [one["state"] for one in document["after"]["workers"]] == ["closed", "closed"]
    upstream.script = always(OK)
    assert await calls([gateway], 50) == {PASSED: 50}
