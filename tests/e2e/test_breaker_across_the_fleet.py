"""One breaker for the whole fleet: two gateways with two workers each, and an upstream that fails on command."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from time import monotonic
from typing import Any

import aiohttp
import pytest

from gateway.core.guards import Guard, Pausing, State
from gateway.core.guards.pause import Pause
from gateway.store.redis import RedisStore
from tests.e2e.breaking import BAD, CONCURRENCY, GUARD, HELD, PASSED, calls, changes, events, ready_to_probe, until_held
from tests.e2e.conftest import Launch
from tests.fakes.stores import patient, started
from tests.fakes.upstream import OK, Received, Socket, Upstream, always
from tests.fakes.waiting import eventually, pause, turns

POLICIES = """
version: 1
keys:
  connection: {from: header, name: X-Connection-Id, on_missing: skip}
breakers:
  connection: {key: [connection], consecutive_failures: 5, open_for: 30s}
upstreams:
  up: {url: "%(url)s", timeouts: {connect: %(connect)s, first_byte: %(first_byte)s, idle: 500ms}}
routes:
  - {name: all, match: {path_prefix: /}, upstream: up, breaker: connection}
"""
PERMIT_S = 3
"""How long the permit of a probe is out at least that takes 500 ms, 1 s and 500 ms at most. On a busy machine it may
lapse between two steps of a test."""
PATIENCE_S = 30
"""How long the calls of one test may take on a busy machine."""


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[RedisStore]:
    """The fleet's store, to look at it and to let time pass."""
    async with started(patient(redis_url)) as one:
        yield one


def policies(upstream: Upstream, connect: str = "20s", first_byte: str = "20s") -> str:
    return POLICIES % {"url": upstream.url, "connect": connect, "first_byte": first_byte}


async def test_threshold_silence_one_probe_recovery(launch: Launch, upstream: Upstream, store: RedisStore) -> None:
    text = policies(upstream)
    fleet = list(await asyncio.gather(launch(text, "--workers", "2"), launch(text, "--workers", "2")))
    assert await calls(fleet, 100) == {PASSED: 200}

    upstream.received.clear()
    upstream.script = always(BAD)
    outcomes = await calls(fleet, 300)
    reached = len(upstream.received)
    in_flight = CONCURRENCY * len(fleet)
    # A caller that has its answer may be let in once more, by another worker, before its failure is with the store.
    assert 5 <= reached <= 5 + 2 * in_flight
    assert outcomes == {(503, ""): reached, HELD: 600 - reached}

    assert await calls(fleet, 100) == {HELD: 200}, "silence"
    assert len(upstream.received) == reached

    answer_it = asyncio.Event()

    async def hold(_request: Received, _socket: Socket) -> bytes:
        await answer_it.wait()
        return OK

    upstream.script = hold
    await ready_to_probe(store)
    crowd = asyncio.ensure_future(calls(fleet, 100))
    await upstream.until(lambda: len(upstream.received) > reached)
    assert await calls(fleet, 100) == {HELD: 200}, "while the probe is out"
    answer_it.set()
    outcomes = await crowd
    assert outcomes[PASSED] + outcomes[HELD] == 200
    assert await calls(fleet, 100) == {PASSED: 200}, "recovered"

    for gateway in fleet:
        assert await gateway.stop() == 0
    told = Counter(name for gateway in fleet for name in changes(gateway))
    assert told == {"breaker.opened": 1, "breaker.half_open": 1, "breaker.closed": 1}


async def test_500_waiting_clients_come_back_without_a_relapse(
    launch: Launch, upstream: Upstream, store: RedisStore
) -> None:
    """Each tries until it is served: what was held back never reached the upstream, so it gets every call once."""
    text = policies(upstream)
    fleet = list(await asyncio.gather(launch(text, "--workers", "2"), launch(text)))
    upstream.script = always(BAD)
    await until_held(fleet, 10)
    upstream.script = always(OK)
    upstream.received.clear()

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def served(number: int) -> int:
            url, tries, status = f"{fleet[number % 2].url}/x", 0, 0
            while status != 200:
                async with session.get(url, headers={"X-Connection-Id": "c1"}) as answer:
                    status, tries = answer.status, tries + 1
                    assert status in (200, 503), await answer.text()
                await pause(0.05, "a client that comes back rather soon")
            return tries

        waiting = asyncio.gather(*map(served, range(500)))
        await turns()
        await ready_to_probe(store)
        assert sum(await waiting) > 500, "some had to wait"
    assert len(upstream.received) == 500
    for gateway in fleet:
        assert await gateway.stop() == 0
    told = Counter(name for gateway in fleet for name in changes(gateway))
    assert told == {"breaker.opened": 1, "breaker.half_open": 1, "breaker.closed": 1}


async def test_1000_callers_of_a_paused_connection_reach_nobody(launch: Launch, upstream: Upstream) -> None:
    text = policies(upstream).replace("timeouts:", "learn_limits: {from: Retry-After, scope: connection}, timeouts:")
    fleet = list(await asyncio.gather(launch(text, "--workers", "2"), launch(text)))
    upstream.script = always(b"HTTP/1.1 429 Wait\r\nRetry-After: 60\r\nContent-Length: 0\r\n\r\n")
    waits: list[int] = []
    assert await calls(fleet[:1], 1, waits) == {(429, ""): 1}
    upstream.script = always(OK)
    assert await calls(fleet, 500, waits) == {(429, "UPSTREAM_RATE_LIMITED"): 1000}
    assert len(upstream.received) == 1
    assert waits[0] == 60
    assert min(waits) >= 60 - PATIENCE_S
    assert max(waits) <= 66
    for gateway in fleet:
        assert await gateway.stop() == 0
    told = [name for gateway in fleet for name in events(gateway) if name == "upstream.paused"]
    assert len(told) == 1


async def test_the_fleet_sends_no_more_calls_than_the_upstream_says_are_left(
    launch: Launch, upstream: Upstream, store: RedisStore
) -> None:
    learn = "learn_limits: {from: X-RateLimit-Reset, scope: connection, as_limit: true}, timeouts:"
    text = policies(upstream).replace("timeouts:", learn)
    fleet = list(await asyncio.gather(launch(text, "--workers", "2"), launch(text, "--workers", "2")))

    async def metered(_request: Received, _socket: Socket) -> bytes:
        said = b"X-RateLimit-Remaining: %d\r\nX-RateLimit-Reset: 600\r\n" % max(0, 50 - len(upstream.received))
        return (OK if len(upstream.received) <= 50 else BAD).replace(b"\r\n\r\n", b"\r\n" + said + b"\r\n")

    upstream.script = metered
    assert await calls(fleet[:1], 1) == {PASSED: 1}
    pause_of_it = Guard(Pausing("up", 900_000_000, ("connection",)), "pause:up:{=c1}")

    async def all_know() -> bool:
        """What an answer says is told the store while the answer goes on to the caller."""
        _, (kept,) = await store.guards([pause_of_it])
        return isinstance(kept, Pause) and kept.left == 49

    await eventually(all_know)
    assert await calls(fleet, 100) == {PASSED: 49, (429, "UPSTREAM_RATE_LIMITED"): 151}
    assert len(upstream.received) == 50


async def test_a_gateway_killed_while_probing_does_not_stick_the_breaker(
    launch: Launch, upstream: Upstream, store: RedisStore
) -> None:
    """How long a permit is out at most follows from the time-outs: here from those of the one who asks."""
    dies, lives = await asyncio.gather(launch(policies(upstream)), launch(policies(upstream, "500ms", "1s")))
    began_s = monotonic()
    await store.force(GUARD, State.OPEN, 1)
    never = asyncio.Event()

    async def hang(_request: Received, _socket: Socket) -> Any:
        await never.wait()

    upstream.script = hang
    probing = asyncio.ensure_future(calls([dies], 1))
    await upstream.until(lambda: len(upstream.received) == 1)
    dies.process.kill()  # its workers end with it
    with pytest.raises(aiohttp.ClientError):
        await probing
    upstream.script = always(OK)
    answered, passed_s = await calls([lives], 1), monotonic() - began_s
    assert answered == {HELD: 1} or passed_s > PERMIT_S, "the permit is still out"

    async def let_in() -> bool:
        return await calls([lives], 1) != {HELD: 1}

    await eventually(let_in)
    assert await calls([lives], 10) == {PASSED: 10}
    never.set()
