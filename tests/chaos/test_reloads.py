"""Policies, workers and whole gateways that change for a minute, under calls and streams: nobody notices, and nothing
starts anew."""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.chaos.conftest import Figures, Fleet
from tests.fakes.drip import Drip, read_stream, stream_until
from tests.fakes.gateways import Process
from tests.fakes.ledger import Ledger
from tests.fakes.load import Call, Load, by_status, percentile_ms
from tests.fakes.ports import free_port
from tests.fakes.waiting import pause

RELOADS, RESTARTS, UPGRADES, OVER_S = 100, 10, 10, 60.0
RATE, TENANTS, LIMIT = 200, 10, 300
SHORT, LONG = 15, 700
"""Lines of a stream, ten a second: the long ones live through every reload."""
LANES = 8

POLICIES = """
version: 1
keys:
  tenant: {from: header, name: X-Tenant-Id, on_missing: skip}
limits:
  counted: {algorithm: rolling_window, limit: %(limit)d, window: 10m, key: [tenant]}
breakers:
  fragile: {key: [], consecutive_failures: 3, open_for: 10m, max_open_for: 10m}
upstreams:
  up: {url: "%(up)s"}
  drip: {url: "%(drip)s"}
  broken: {url: "http://127.0.0.1:%(broken)d"}
routes:
  - {name: calls, match: {path_prefix: /calls/}, upstream: up, limits: [counted]}
  - {name: streams, match: {path_prefix: /streams/}, upstream: drip}
  - {name: broken, match: {path_prefix: /broken/}, upstream: broken, breaker: fragile}
"""


@dataclass
class Minute:
    """What became of the callers while it lasted."""

    gateway: Process
    load: Load
    ledger: Ledger
    folder: Path
    urls: dict[str, object]
    streams: Counter[str] = field(default_factory=Counter)
    broken: Counter[str] = field(default_factory=Counter)

    def save(self, limit: int) -> None:
        """A new limit for everybody, as an editor saves it."""
        new = self.folder / ".new"
        new.write_text(POLICIES % {**self.urls, "limit": limit})
        new.rename(self.folder / "test.yaml")

    async def reload(self, query: str = "") -> str:
        """Have it done now; what came of it."""
        async with httpx.AsyncClient(timeout=60) as client:
            answer = await client.post(f"http://127.0.0.1:{self.gateway.admin_port}/-/reload{query}")
        return str(answer.json()["result"])

    def nobody_noticed(self) -> None:
        assert set(by_status(self.load.calls)) == {200, 429}, by_status(self.load.calls)
        assert set(self.streams) == {"whole"}, self.streams

    def nothing_began_anew(self, most: int) -> None:
        """The counters and the breaker are those of before."""
        for tenant in range(TENANTS):
            assert self.ledger.count(f"/calls/t{tenant}/") <= most
        assert set(self.broken) == {"502", "503"}, self.broken
        assert self.broken["502"] == 3

    def figures(self) -> dict[str, object]:
        calls = self.load.calls
        return {"calls": by_status(calls), "p99_ms": percentile_ms(calls, 99), "streams": dict(self.streams)}


def plan() -> Iterator[tuple[float, Call]]:
    number = 0
    while True:
        tenant = f"t{number % TENANTS}"
        yield number / RATE, Call(f"/calls/{tenant}/{number}", tenant)
        number += 1


async def fail_until(over: asyncio.Event, port: int, seen: Counter[str]) -> None:
    """Calls to the upstream that is not there, one after the other."""
    while not over.is_set():
        seen[(await read_stream(port, "/broken", 0)).split()[1]] += 1
        await pause(0.1, "not too many")


@asynccontextmanager
async def a_minute(fleet: Fleet, ledger: Ledger, *, long_streams: int) -> AsyncIterator[Minute]:
    """Callers of all kinds while the body runs."""
    async with Drip() as drip:
        urls: dict[str, object] = {"up": ledger.url, "drip": drip.url, "broken": free_port()}
        gateway = await fleet(
            POLICIES % {**urls, "limit": LIMIT}, "--workers", "2", more="drain: {delay: 0s, grace: 30s}\n"
        )
        async with Load([gateway.port]) as load:
            minute = Minute(gateway, load, ledger, gateway.log.parent / "policies", urls)
            over = asyncio.Event()
            running = asyncio.create_task(load.run(plan()))
            lanes = [stream_until(over, gateway.port, "/streams", SHORT, minute.streams) for _ in range(LANES)]
            lanes += [stream_until(over, gateway.port, "/streams", LONG, minute.streams) for _ in range(long_streams)]
            tasks = [asyncio.create_task(lane) for lane in [*lanes, fail_until(over, gateway.port, minute.broken)]]
            try:
                yield minute
            finally:
                over.set()
                running.cancel()
                with suppress(asyncio.CancelledError):
                    await running
                await asyncio.gather(*tasks)
            await load.idle()


async def every(period_s: float, times: int) -> AsyncIterator[int]:
    """Counts, in time, however long each turn takes."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    for number in range(times):
        await pause(max(0.0, began + number * period_s - loop.time()), "turns come in time")
        yield number


async def test_a_hundred_reloads_in_a_minute(fleet: Fleet, ledger: Ledger, figures: Figures) -> None:
    async with a_minute(fleet, ledger, long_streams=LANES) as minute:
        async for number in every(OVER_S / RELOADS, RELOADS):
            minute.save(LIMIT - number % 2)
            assert await minute.reload() in ("loaded", "unchanged"), "the watch may have been quicker"
    loaded = minute.gateway.events("policy.loaded")
    figures(f"{RELOADS} reloads in {OVER_S:g} s", loaded=len(loaded), **minute.figures())
    minute.nobody_noticed()
    minute.nothing_began_anew(LIMIT)
    assert len(loaded) >= RELOADS
    assert minute.streams["whole"] > 2 * LANES


async def test_workers_are_replaced_all_the_time(fleet: Fleet, ledger: Ledger, figures: Figures) -> None:
    async with a_minute(fleet, ledger, long_streams=0) as minute:
        async for number in every(OVER_S / RESTARTS, RESTARTS):
            await minute.reload("?workers")
            await minute.gateway.said("worker.replaced", 2 * (number + 1))
    replaced = minute.gateway.events("worker.replaced")
    figures(f"{RESTARTS} times new workers in {OVER_S:g} s", replaced=len(replaced), **minute.figures())
    minute.nobody_noticed()
    minute.nothing_began_anew(LIMIT)
    assert {event["exit_code"] for event in replaced} == {0}
    assert not minute.gateway.events("worker.exited", "worker.cut")


async def test_new_versions_all_the_time(fleet: Fleet, ledger: Ledger, figures: Figures) -> None:
    """Each in the place of the one before, with workers of its own."""
    async with a_minute(fleet, ledger, long_streams=0) as minute:
        gateway = minute.gateway
        pid = gateway.process.pid
        async for number in every(OVER_S / UPGRADES, UPGRADES):
            os.kill(pid, signal.SIGUSR2)
            pid = (await gateway.said("upgrade.done", number + 1))[-1]["pid"]
            await gateway.said("worker.replaced", 2 * (number + 1))
    os.kill(pid, signal.SIGINT)
    await gateway.said("gateway.stopped", 2 * (UPGRADES + 1))
    figures(f"{UPGRADES} times a new version in {OVER_S:g} s", **minute.figures())
    minute.nobody_noticed()
    minute.nothing_began_anew(LIMIT)
    assert {event["cut_calls"] for event in gateway.events("gateway.stopped")} == {0}
    assert not gateway.events("worker.cut", "upgrade.failed")
