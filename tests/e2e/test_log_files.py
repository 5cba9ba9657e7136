"""Log files of real gateways: rotated under load by four workers at once, killed in mid-write, on a pipe nobody reads."""

import asyncio
import json
import os
import signal
from pathlib import Path

import httpx

from tests.e2e.conftest import Launch, Process
from tests.fakes.upstream import Upstream

POLICIES = """
version: 1
upstreams: {up: {url: "%s"}}
routes: [{name: all, match: {path_prefix: /}, upstream: up}]
"""
LANES = 8


async def call_until(gateway: Process, done: asyncio.Event, answered: list[str]) -> None:
    """Calls, one after the other; notes the ids of those that were answered."""
    async with httpx.AsyncClient(base_url=gateway.url) as caller:
        while not done.is_set():
            try:
                answer = await caller.get("/x")
            except httpx.TransportError:
                continue
            answered.append(answer.headers["X-Request-Id"])


def ids(*logs: Path) -> list[str]:
    return [json.loads(line)["request_id"] for log in logs for line in log.read_bytes().splitlines()]


async def test_rotation_under_load_loses_no_line(launch: Launch, upstream: Upstream) -> None:
    gateway = await launch(POLICIES % upstream.url, "--workers", "4")
    done, answered = asyncio.Event(), []
    lanes = [asyncio.create_task(call_until(gateway, done, answered)) for _ in range(LANES)]
    rotated = []
    for number in range(5):
        more = len(answered) + 100
        while len(answered) < more:
            await asyncio.sleep(0.01)
        rotated.append(gateway.log.rename(gateway.log.with_suffix(f".{number}")))
        gateway.process.send_signal(signal.SIGUSR1)
        while not gateway.log.exists():
            await asyncio.sleep(0.01)
    done.set()
    await asyncio.gather(*lanes)
    assert await gateway.stop() == 0
    assert sorted(ids(*rotated, gateway.log)) == sorted(answered)
    assert all(log.stat().st_size for log in rotated)


async def test_workers_killed_in_mid_write_tear_at_most_one_line_each(launch: Launch, upstream: Upstream) -> None:
    gateway = await launch(POLICIES % upstream.url, "--workers", "2")
    done, answered = asyncio.Event(), []
    lanes = [asyncio.create_task(call_until(gateway, done, answered)) for _ in range(LANES)]
    killed = 0
    for _ in range(3):
        more = len(answered) + 100
        while len(answered) < more:
            await asyncio.sleep(0.01)
        for pid in gateway.worker_pids().values():
            os.kill(pid, signal.SIGKILL)
            killed += 1
        while len(gateway.events("worker.exited")) < killed or len(gateway.events("worker.started")) < killed + 2:
            await asyncio.sleep(0.01)
    done.set()
    await asyncio.gather(*lanes)
    assert await gateway.stop() == 0
    torn, whole = 0, set()
    for line in gateway.log.read_bytes().splitlines():
        try:
            whole.add(json.loads(line)["request_id"])
        except ValueError:
            torn += 1
    assert torn <= killed
    assert len(whole & set(answered)) > len(answered) / 2
