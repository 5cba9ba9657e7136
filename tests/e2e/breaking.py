"""What tests of breakers of whole fleets have in common: calls, how they end, and what is told of it."""

import asyncio
import json
from collections import Counter

import aiohttp

from gateway.core.guards import Breaker, Guard, State
from gateway.store.redis import RedisStore
from tests.e2e.conftest import Process
from tests.fakes.waiting import eventually

BAD = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 3\r\n\r\nbad"
GUARD = Guard(Breaker("connection", ("connection",)), "breaker:connection:{=c1}")
CONCURRENCY = 20
HELD, PASSED = (503, "CIRCUIT_OPEN"), (200, "")
"""How a call ends: status, code of the problem."""


async def calls(gateways: list[Process], count: int, waits: list[int] | None = None) -> Counter[tuple[int, str]]:
    """`count` GETs to each gateway, `CONCURRENCY` at a time on as many sockets: (status, code of the problem)."""
    slots = asyncio.Semaphore(CONCURRENCY * len(gateways))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def one(gateway: Process) -> tuple[int, str]:
            async with slots, session.get(f"{gateway.url}/x", headers={"X-Connection-Id": "c1"}) as answer:
                body = await answer.read()
                if waits is not None:
                    waits.append(int(answer.headers["Retry-After"]))
                return answer.status, json.loads(body)["code"] if body[:1] == b"{" else ""

        return Counter(await asyncio.gather(*(one(gateway) for _ in range(count) for gateway in gateways)))


async def ready_to_probe(store: RedisStore) -> None:
    """As if the time for which it is open were over."""
    await store.force(GUARD, State.OPEN, 1)


def events(gateway: Process) -> list[str]:
    """The names of what the gateway's workers told."""
    lines = (gateway.log.parent / "stdout").read_bytes().splitlines()
    return [json.loads(line)["event_name"] for line in lines if line.startswith(b"{")]


def changes(gateway: Process) -> list[str]:
    """The events about breakers."""
    return [name for name in events(gateway) if name.startswith("breaker.")]


async def until_held(gateways: list[Process], count: int) -> None:
    """Call until every one of so many calls to each is held back."""

    async def held() -> bool:
        return await calls(gateways, count) == {HELD: count * len(gateways)}

    await eventually(held)
