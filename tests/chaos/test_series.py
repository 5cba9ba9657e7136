"""Callers of whom no two are alike: what is kept of them does not grow, and metrics are about routes and limits alone."""

import random
import re
import string
import time
from collections.abc import Iterator

import httpx

from tests.chaos.conftest import Figures, Fleet
from tests.chaos.test_soak import MIB, Used
from tests.fakes.gateways import Process
from tests.fakes.ledger import Ledger
from tests.fakes.load import Call, Load, by_status
from tests.fakes.redis_server import RedisServer
from tests.fakes.waiting import PATIENCE_S

CALLS, WARM, RATE = 100_000, 20_000, 1_500
WORKERS = 2
POLICIES = """
version: 1
keys:
  tenant: {from: header, name: X-Tenant-Id, on_missing: reject}
limits:
  calls: {algorithm: rolling_window, limit: 1000, window: 10s, key: [tenant]}
upstreams: {up: {url: "%s"}}
routes: [{name: all, match: {path_prefix: /}, upstream: up, limits: [calls]}]
"""


def plan(first: int, count: int) -> Iterator[tuple[float, Call]]:
    """Paths and tenants that never come again; every other method is one that nobody knows."""
    rng = random.Random(first)
    for number in range(count):
        method = "".join(rng.choices(string.ascii_uppercase, k=12)) if number % 2 else "GET"
        call = Call(f"/{first + number}/{rng.getrandbits(64):x}?q={number}", f"tenant-{first + number}", method=method)
        yield number / RATE, call


async def scraped(gateway: Process) -> tuple[set[str], float]:
    """The series, without the values of `process_*` and the like; and how long the answer took, in milliseconds."""
    async with httpx.AsyncClient(timeout=PATIENCE_S) as client:
        began_s = time.perf_counter()
        text = (await client.get(f"http://127.0.0.1:{gateway.admin_port}/metrics")).text
        took_ms = 1000 * (time.perf_counter() - began_s)
    return set(re.findall(r"^(gateway_\S+) ", text, re.MULTILINE)), took_ms


async def test_a_hundred_thousand_strangers(
    fleet: Fleet, ledger: Ledger, own_redis_server: RedisServer, figures: Figures
) -> None:
    quiet = {"GATEWAY_LOGGING__ACCESS": "/dev/null"}
    gateway = await fleet(POLICIES % ledger.url, "--workers", str(WORKERS), env=quiet)
    async with Load([gateway.port]) as load:
        await load.run(plan(0, WARM))
        before, used_before = (await scraped(gateway))[0], Used.by(gateway, own_redis_server)
        await load.run(plan(WARM, CALLS))
        seen = by_status(load.calls)
    after, took_ms = await scraped(gateway)
    grown = (Used.by(gateway, own_redis_server).memory_bytes - used_before.memory_bytes) / WORKERS / MIB
    figures(f"{CALLS:,} strangers", calls=seen, series=len(after), scrape_ms=took_ms, grown_mib=grown)
    assert set(seen) == {200}, seen
    assert after == before
    assert grown <= 32  # MiB a worker
