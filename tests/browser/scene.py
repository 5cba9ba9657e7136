"""A gateway, its upstream and its callers, for pages to show something."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from tests.fakes.gateways import Process, start_gateway
from tests.fakes.upstream import OK, Received, Socket, Upstream
from tests.fakes.waiting import eventually

TOKEN = "correct horse battery staple"
EVIL = "<script>window.broken=1</script>\"'><img src=x onerror=window.broken=2>&amp;{{main}}${1}"
LONG = "x" * 1_000
UNICODE = "Zo\u00eb \u202e\u6771\u4eac"
POLICIES = """
version: 1
keys:
  tenant: {from: header, name: X-Tenant-Id, on_missing: reject}
  connection: {from: header, name: X-Connection-Id, on_missing: anonymous}
limits:
  tenant-10m: {algorithm: rolling_window, limit: 20, window: 10m, key: [tenant]}
  connection-1m: {algorithm: token_bucket, rate: 60, per: 1m, burst: 50, key: [tenant, connection]}
  at-once: {algorithm: concurrency, limit: 64, key: []}
breakers:
  connection: {key: [connection], consecutive_failures: 3, open_for: 1h, max_open_for: 1h}
upstreams:
  erp: {url: "%s"}
routes:
  - {name: all, match: {path_prefix: /}, upstream: erp, limits: [tenant-10m, connection-1m, at-once], breaker: connection}
"""
WAIT_S = 30


async def erp(request: Received, _socket: Socket) -> bytes:
    """Answers by the connection: one is down, one is not let in."""
    connection = request.fields("X-Connection-Id")
    status = {"conn_7": "503 Service Unavailable", "conn_3": "401 Unauthorized"}.get(*connection, "")
    return f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode() if status else OK


@dataclass
class Scene:
    """One gateway and those who talk to it."""

    gateway: Process
    client: aiohttp.ClientSession

    @property
    def admin(self) -> str:
        return f"http://127.0.0.1:{self.gateway.admin_port}"

    async def call(self, tenant: str, connection: str = "conn_1", times: int = 1, path: str = "/orders") -> None:
        fields = {"X-Tenant-Id": tenant, "X-Connection-Id": connection}
        for _ in range(times):
            async with self.client.get(self.gateway.url + path, headers=fields) as answer:
                await answer.read()

    async def status(self) -> Any:
        async with self.client.get(f"{self.admin}/-/status") as answer:
            return await answer.json()

    async def bad_day(self) -> None:
        """Refusals, failures, and callers with names that nobody should have. Ends when the gateway knows of it."""
        await self.call("acme", times=30)
        await self.call("globex", "conn_2", times=5)
        for name in (EVIL, LONG, UNICODE):
            await self.call(name, "conn_1", times=22, path="/%3Cimg%20src=x%20onerror=window.broken=3%3E")
            await self.call("umbrella", name)
        await self.call("initech", "conn_7", times=5)
        await self.call("initech", "conn_3", times=2)
        await eventually(self._known, gap_s=0.05)

    async def _known(self) -> bool:
        found = await self.status()
        troubled = {one["connection"]: one["state"] for one in found["connections"]["not_online"]}
        wanted = {"conn_7": "offline", "conn_3": "auth_required"}
        return troubled == wanted and len(found["top_rejected"]) >= 4 and bool(found["breakers"]["not_closed"])


@asynccontextmanager
async def staged(folder: Path, *arguments: str, store: str = "embedded", **options: Any) -> AsyncIterator[Scene]:
    """A gateway with two workers, both of them ready."""
    async with Upstream(erp) as upstream, aiohttp.ClientSession() as client:
        policies = POLICIES % upstream.url
        workers = ("--workers", "2", *arguments)
        gateway = await start_gateway(folder / "gateway", policies, *workers, store=store, **options)
        try:
            async with asyncio.timeout(WAIT_S):
                await eventually(lambda: len(gateway.events("gateway.ready")) >= 2)
            yield Scene(gateway, client)
        finally:
            await gateway.end()
