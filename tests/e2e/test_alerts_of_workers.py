"""Alerts that a worker has raised which does not live to clear them."""

import asyncio
import os
import signal

import aiohttp

from tests.e2e.conftest import Launch
from tests.fakes.upstream import Upstream, always

POLICIES = """
version: 1
upstreams: {up: {url: "%s"}}
routes: [{name: all, match: {path_prefix: /}, upstream: up}]
"""
ALERTS = "alerts: {error_rate: 0.5, calls: 2, over: 10s}\n"
BAD = b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"


async def test_who_follows_a_worker_clears_what_it_has_raised(launch: Launch, upstream: Upstream) -> None:
    upstream.script = always(BAD)
    gateway = await launch(POLICIES % upstream.url, "--workers", "2", more=ALERTS)
    await gateway.said("gateway.ready", 2)

    async def call() -> None:
        async with session.get(gateway.url):
            pass

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:
        while len({line["worker"] for line in gateway.calls()}) < 2 or len(gateway.calls()) < 40:
            await asyncio.gather(*[call() for _ in range(20)])
    await gateway.said("alert.error_rate", 2)
    for pid in gateway.worker_pids().values():
        os.kill(pid, signal.SIGKILL)
    told = await gateway.said("alert.error_rate", 4)
    assert [(line["state"], line["upstream"]) for line in told] == [("raised", "up")] * 2 + [("cleared", "up")] * 2
    assert {line["worker"] for line in told[2:]} == {0, 1}
