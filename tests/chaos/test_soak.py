"""Long load with one fault after the other: nothing grows, nothing stays behind, and every 5xx has its reason.

Two minutes, a fault every few seconds; `GATEWAY_TEST_SOAK_S=1800 pytest tests/chaos/test_soak.py` for half an hour with
one a minute, in which memory has to stand still.
"""

import asyncio
import itertools
import os
import re
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.chaos.conftest import Figures, Fleet
from tests.chaos.outage import TIMEOUT_S, policies
from tests.fakes.gateways import Process
from tests.fakes.ledger import Ledger
from tests.fakes.load import Call, Load
from tests.fakes.redis_server import RedisServer
from tests.fakes.waiting import eventually, pause

SOAK_S = float(os.environ.get("GATEWAY_TEST_SOAK_S", "120"))
RATE, TENANTS, WORKERS = 200, 200, 2
LONG_S, REST_S = 1200.0, 30.0
PAUSE_S = 60.0 if SOAK_S >= LONG_S else 6.0
SLACK_S = 0.1
OPENED_ONCE = 2 * WORKERS
"""Files that workers open when they first need them, and keep."""
MIB = 2**20

pytestmark = pytest.mark.timeout(SOAK_S * 2 + 120)


class Used(NamedTuple):
    """What the workers use."""

    memory_bytes: int
    files: int
    store_connections: int

    @classmethod
    def by(cls, gateway: Process, server: RedisServer) -> "Used":
        folders = [Path(f"/proc/{pid}") for pid in gateway.worker_pids().values()]
        found = [re.search(r"VmRSS:\s+(\d+)", (folder / "status").read_text()) for folder in folders]
        memory = sum(1024 * int(one[1]) for one in found if one)
        files = sum(len(list((folder / "fd").iterdir())) for folder in folders)
        names = [line for line in server.command("CLIENT", "LIST").splitlines() if "cmd=client" not in line]
        return cls(memory, files, len(names))


async def killed(server: RedisServer) -> None:
    server.kill()
    await pause(1, "the fault lasts")
    server.spawn()
    await asyncio.to_thread(server.wait_until_it_answers)


async def frozen(server: RedisServer) -> None:
    server.freeze()
    await pause(1, "the fault lasts")
    server.thaw()


async def cut_off(server: RedisServer) -> None:
    server.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


async def forgetful(server: RedisServer) -> None:
    server.command("SCRIPT", "FLUSH")


async def full(server: RedisServer) -> None:
    server.command("CONFIG", "SET", "maxmemory", "1")
    await pause(1, "the fault lasts")
    server.command("CONFIG", "SET", "maxmemory", "0")


FAULTS: tuple[Callable[[RedisServer], Awaitable[None]], ...] = (killed, frozen, cut_off, forgetful, full)


def plan() -> Iterator[tuple[float, Call]]:
    number = 0
    while True:
        posture, tenant = ("local", "deny")[number % 2], f"t{number // 2 % TENANTS}"
        yield number / RATE, Call(f"/{posture}/{tenant}/{number}", tenant)
        number += 1


def outages(gateway: Process) -> list[tuple[float, float]]:
    """From when to when some worker had no store, by what the workers said, on the event loop's clock."""
    behind_s = time.time() - asyncio.get_running_loop().time()
    began: dict[int, float] = {}
    found = []
    for event in gateway.events("store.degraded", "store.recovered"):
        at_s = datetime.fromisoformat(event["timestamp"]).timestamp() - behind_s
        if event["event_name"] == "store.degraded":
            began[event["worker"]] = at_s - TIMEOUT_S - SLACK_S
        else:
            found.append((began.pop(event["worker"]), at_s + SLACK_S))
    assert not began, "the store is back for everybody"
    return found


def unexplained(calls: list[Call], without_store: list[tuple[float, float]]) -> list[Call]:
    """Those that failed although their limit goes on without a store, or there was one all the time."""

    def has_a_reason(call: Call) -> bool:
        away = any(left_s <= call.ended_s and call.sent_s <= back_s for left_s, back_s in without_store)
        return call.status == 503 and call.target.startswith("/deny/") and away

    return [call for call in calls if call.status not in (200, 429) and not has_a_reason(call)]


def slope(samples: list[tuple[float, Used]]) -> float:
    """By how many MiB in ten minutes each worker grew, in the second half."""
    later = samples[(len(samples) - 1) // 2 :]
    fit = statistics.linear_regression([at_s for at_s, _ in later], [used.memory_bytes for _, used in later])
    return fit.slope * 600 / WORKERS / MIB


async def test_one_fault_after_the_other(
    fleet: Fleet, ledger: Ledger, own_redis_server: RedisServer, figures: Figures
) -> None:
    text, patience = policies(ledger.url), f"{TIMEOUT_S * 1000:g}ms"
    gateway = await fleet(text, "--workers", str(WORKERS), patience=patience)
    loop = asyncio.get_running_loop()
    wrong: list[Call] = []
    used: list[tuple[float, Used]] = []

    def all_there() -> bool:
        return len(gateway.worker_pids()) >= WORKERS <= Used.by(gateway, own_redis_server).store_connections

    await eventually(all_there, gap_s=0.05)
    count, at_rest = 0, Used.by(gateway, own_redis_server)

    async def suffer(fault: Callable[[RedisServer], Awaitable[None]]) -> None:
        await fault(own_redis_server)
        await pause(PAUSE_S, "all is well between two faults")
        await eventually(
            lambda: len(gateway.events("store.degraded")) == len(gateway.events("store.recovered")), gap_s=0.05
        )

    async with Load([gateway.port]) as load:
        running = asyncio.create_task(load.run(plan()))
        ends_s = loop.time() + SOAK_S
        for fault in itertools.cycle(FAULTS):
            await suffer(fault)
            ended = [call for call in load.calls if call.ended_s]
            wrong += unexplained(ended, outages(gateway))
            count += len(ended)
            load.calls[:] = [call for call in load.calls if not call.ended_s]
            ledger.arrivals.clear()
            used.append((loop.time(), Used.by(gateway, own_redis_server)))
            if loop.time() > ends_s and len(used) >= len(FAULTS):
                break
        running.cancel()
        await asyncio.wait([running])
        await load.idle()

    def spare() -> int:
        return Used.by(gateway, own_redis_server).files - at_rest.files - len(ledger.transports)

    with suppress(AssertionError):  # the figures tell it first
        await eventually(lambda: spare() <= OPENED_ONCE, gap_s=0.1, within_s=REST_S)
    grown, steep = (used[-1][1].memory_bytes - used[0][1].memory_bytes) / WORKERS / MIB, slope(used)
    figures(
        f"soak, {SOAK_S:g} s, {RATE} a second",
        calls=count,
        faults=len(used),
        lost=len(gateway.events("store.degraded")),
        unexplained=len(wrong),
        memory_mib="/".join(f"{one.memory_bytes / WORKERS / MIB:.1f}" for _, one in used),
        mib_in_ten_minutes=steep,
        files="/".join(str(one.files) for _, one in used),
        files_at_rest=at_rest.files,
        files_more_at_the_end=spare(),
        store_connections="/".join(str(one.store_connections) for _, one in used),
    )
    assert wrong == []
    assert spare() <= OPENED_ONCE
    assert {one.store_connections for _, one in used} == {WORKERS}
    assert grown <= 4 + SOAK_S / 600  # MiB a worker: what is remembered of callers, and a MiB in ten minutes
    assert SOAK_S < LONG_S or steep <= 1
