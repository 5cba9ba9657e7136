"""What DNS has said is known to workers that begin, and behind an edit, while DNS is away."""

import asyncio
import os
import signal
from pathlib import Path

import aiohttp
import pytest

from tests.conftest import StartServer
from tests.fakes.gateways import Process, launching
from tests.fakes.nursery import ROOT
from tests.fakes.ports import free_port
from tests.fakes.upstream import Upstream

POLICIES = """
version: 1
upstreams:
  up: {url: "http://up.invalid:%d"}
routes:
  - {name: all, match: {path_prefix: /}, upstream: up}
"""
DNS = """
import asyncio, os, socket

asked, opened = socket.getaddrinfo, asyncio.open_connection


def getaddrinfo(host, *more, flags=0, **kind):
    if str(host).endswith(".invalid") and not flags & socket.AI_NUMERICHOST:
        if not os.path.exists(%r):
            raise socket.gaierror(socket.EAI_AGAIN, "away")
        host = "127.0.0.1"
    return asked(host, *more, flags=flags, **kind)


async def open_connection(host=None, port=None, **more):
    if str(host).endswith(".invalid"):
        host = getaddrinfo(host, port)[0][4][0]
    return await opened(host, port, **more)


socket.getaddrinfo, asyncio.open_connection = getaddrinfo, open_connection
"""
"""Imported by each interpreter: DNS that is there as long as a file is. (uvloop asks for what it opens elsewhere.)"""


async def statuses(one: Process, calls: int) -> list[int]:
    """Of calls on a socket each: some for every worker."""

    async def status(session: aiohttp.ClientSession) -> int:
        async with session.get(one.url) as answer:
            return answer.status

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:
        return await asyncio.gather(*[status(session) for _ in range(calls)])


@pytest.fixture
def dns(tmp_path: Path) -> Path:
    """It is there until this is removed."""
    there = tmp_path / "dns"
    there.touch()
    (tmp_path / "sitecustomize.py").write_text(DNS % str(there))
    return there


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_while_dns_is_away_edits_and_new_workers_go_by_what_it_said(
    workers: str, redis_url: str, upstream: Upstream, dns: Path, tmp_path: Path
) -> None:
    async with launching(tmp_path, redis_url, env={"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}) as launch:
        text = POLICIES % int(upstream.url.rpartition(":")[2])
        one = await launch(text, "--workers", workers)
        await one.said("gateway.ready", int(workers))
        assert await statuses(one, 1) == [200]  # the other worker has not asked
        dns.unlink()
        loaded = len(one.events("policy.loaded"))
        edited = text.replace('"}', '", timeouts: {first_byte: 9s}}')
        (one.log.parent / "policies" / "test.yaml").write_text(edited)
        await one.said("policy.loaded", loaded + 1)
        assert {*await statuses(one, 10)} == {200}
        if workers == "1":
            return
        for pid in one.worker_pids().values():
            os.kill(pid, signal.SIGKILL)
        await one.said("gateway.ready", 4)
        assert {*await statuses(one, 20)} == {200}


async def test_while_dns_is_away_new_workers_find_the_store_where_its_name_led(
    start_redis_server: StartServer, upstream: Upstream, dns: Path, tmp_path: Path
) -> None:
    port = free_port()
    store = start_redis_server("--port", str(port))
    async with launching(
        tmp_path, f"redis://store.invalid:{port}", env={"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    ) as launch:
        one = await launch(POLICIES % int(upstream.url.rpartition(":")[2]), "--workers", "2")
        await one.said("gateway.ready", 2)
        dns.unlink()
        os.kill(one.worker_pids()[0], signal.SIGKILL)
        await one.said("gateway.ready", 3)
        assert one.events("store.degraded") == []
        os.kill(one.worker_pids()[1], signal.SIGKILL)
        await one.said("gateway.ready", 4)
        assert one.events("store.degraded") == []
        store.command("CLIENT", "KILL", "TYPE", "normal")
        await one.said("store.recovered", 2)
