"""What tests of breakers and pauses have in common: a policy set, calls, and what was told of them."""

import asyncio

from gateway.core.guards import Breaker, Change, Guard, Pausing, State
from tests.app.conftest import Running
from tests.app.test_rate_limit_answers import parse
from tests.fakes.upstream import Upstream
from tests.fakes.waiting import eventually

Answer = tuple[int, dict[str, str], bytes]

POLICIES = """
version: 1
keys:
  tenant: {from: header, name: X-Tenant-Id, on_missing: anonymous}
  connection: {from: header, name: X-Connection-Id, on_missing: skip}
limits:
  tenant-10m: {algorithm: rolling_window, limit: 100, window: 10m, key: [tenant]}
breakers:
  connection: {key: [connection], scope: %(scope)s, %(numbers)s, open_for: 30s, half_open_calls: %(probes)s}
upstreams:
  up: {url: "%(url)s", learn_limits: {from: [Retry-After], scope: connection, max: 15m}}
routes:
  - {name: all, match: {path_prefix: /}, upstream: up, limits: [%(limits)s], breaker: connection}
"""
IN_A_ROW = "consecutive_failures: 3"
BAD = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 3\r\n\r\nbad"
GUARD = Guard(Breaker("connection", ("connection",)), "breaker:connection:{=c1}")
PAUSE = Guard(Pausing("up", 900_000_000), "pause:up:{=c1}")


def policies(
    upstream: Upstream,
    scope: str = "shared",
    numbers: str = IN_A_ROW,
    probes: int = 1,
    limits: str = "tenant-10m",
) -> str:
    return POLICIES % {"url": upstream.url, "scope": scope, "numbers": numbers, "probes": probes, "limits": limits}


async def call(gateway: Running, connection: str = "c1", method: str = "GET") -> Answer:
    """One call, and the record of it complete, so that what it says has reached the breaker."""
    seen = len(gateway.records.all)
    head = [f"{method} /x HTTP/1.1", "Host: a", "Connection: close", f"X-Connection-Id: {connection}", "", ""]
    answer = parse(await gateway.raw("\r\n".join(head).encode()))
    await gateway.records.wait(seen + 1)
    await told(gateway)
    return answer


async def told(gateway: Running) -> None:
    """Until the breakers have heard what was sent to them."""
    telling = gateway.gateway.breakers._telling | gateway.gateway.pauses._telling
    if telling:
        await asyncio.wait(telling)


def changes(gateway: Running) -> list[tuple[str, Change]]:
    """Collects what breakers do."""
    seen: list[tuple[str, Change]] = []
    gateway.gateway.breakers.on_change = lambda guard, change: seen.append((guard.key, change))
    return seen


async def ready_to_probe(gateway: Running) -> None:
    """As if the time for which it is open were over."""
    store = gateway.gateway.breakers.own if _has_its_own(gateway) else gateway.gateway.store
    await store.force(GUARD, State.OPEN, 1)


async def closed_for_all(gateway: Running) -> None:
    """Until the store says so."""

    async def closed() -> bool:
        return (await gateway.gateway.store.guards([GUARD]))[1][0].state is State.CLOSED

    await eventually(closed)


def _has_its_own(gateway: Running) -> bool:
    return not gateway.gateway.policies.breakers["connection"].shared
