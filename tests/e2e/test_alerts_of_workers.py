"""Alerts that a worker has raised which does not live to clear them."""

import asyncio
import os
import signal
from pathlib import Path

import aiohttp

from tests.e2e.conftest import Launch, Process
from tests.fakes.gateways import launching
from tests.fakes.nursery import ROOT
from tests.fakes.upstream import Upstream, always

POLICIES = """
version: 1
upstreams: {up: {url: "%s"}}
routes: [{name: all, match: {path_prefix: /}, upstream: up}]
"""
ALERTS = "alerts: {error_rate: 0.5, calls: 2, over: 10s}\n"
BAD = b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"
HELD_UP = """
import asyncio, os

from gateway.app import Worker

run = Worker.run


async def held_up(self):
    while os.path.exists(%r):
        await asyncio.sleep(0.01)
    return await run(self)


Worker.run = held_up
"""
"""Imported by each interpreter: workers do not get ready as long as a file is there."""


async def call_all(gateway: Process) -> None:
    """Each worker often enough."""

    async def call() -> None:
        async with session.get(gateway.url):
            pass

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:
        while len({line["worker"] for line in gateway.calls()}) < 2 or len(gateway.calls()) < 40:
            await asyncio.gather(*[call() for _ in range(20)])


def told(gateway: Process) -> list[tuple[str, int]]:
    return [(line["state"], line["worker"]) for line in gateway.events("alert.error_rate")]


async def test_who_follows_a_worker_clears_what_it_has_raised(launch: Launch, upstream: Upstream) -> None:
    upstream.script = always(BAD)
    gateway = await launch(POLICIES % upstream.url, "--workers", "2", more=ALERTS)
    await gateway.said("gateway.ready", 2)
    await call_all(gateway)
    await gateway.said("alert.error_rate", 2)
    for pid in gateway.worker_pids().values():
        os.kill(pid, signal.SIGKILL)
    await gateway.said("alert.error_rate", 4)
    assert sorted(told(gateway)[:2]) == [("raised", 0), ("raised", 1)]
    assert sorted(told(gateway)[2:]) == [("cleared", 0), ("cleared", 1)]


async def test_what_a_worker_raises_while_its_successor_starts_is_cleared_once(
    redis_url: str, upstream: Upstream, tmp_path: Path
) -> None:
    upstream.script = always(BAD)
    starting = tmp_path / "starting"
    (tmp_path / "sitecustomize.py").write_text(HELD_UP % str(starting))
    async with launching(tmp_path, redis_url, env={"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}) as launch:
        gateway = await launch(POLICIES % upstream.url, "--workers", "2", more=ALERTS)
        await gateway.said("gateway.ready", 2)
        starting.touch()
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"http://127.0.0.1:{gateway.admin_port}/-/reload?workers") as answer,
        ):
            assert answer.status == 200
        await gateway.said("worker.started", 3)
        await call_all(gateway)
        await gateway.said("alert.error_rate", 2)
        starting.unlink()
        await gateway.said("worker.replaced", 2)
        await gateway.said("alert.error_rate", 4)
        assert sorted(told(gateway)[:2]) == [("raised", 0), ("raised", 1)]
        assert sorted(told(gateway)[2:]) == [("cleared", 0), ("cleared", 1)]
