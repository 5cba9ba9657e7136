"""What is held in memory: a tenant's key in the store, an idle caller, a worker."""

import asyncio
from pathlib import Path
from typing import Any

from benchmarks import limits_memory, limits_server
from benchmarks.load import varied
from benchmarks.peers import gateway
from benchmarks.peers.shape import LIMITS
from benchmarks.proxy_idle_sockets import KINDS, LONG, hold
from benchmarks.proxy_process import Gateway, Source
from benchmarks.stage import standing

IDLE = 5_000
CALLS = 500
TENANTS = (1, 100, 10_000)


def measured(upstream_port: int, seconds: float) -> dict[str, Any]:
    """Bytes of each."""
    return {
        "key_of_500_calls_bytes": _key(),
        "idle_socket_bytes": asyncio.run(_idle_sockets()),
        "worker_rss_bytes": _worker(upstream_port, seconds),
    }


def _key() -> dict[str, int]:
    """MEMORY USAGE of a full rolling window of 500 calls, by server."""
    with limits_server.servers() as found:
        return {name: limits_memory.filled(client, limits_server.ROLLING, CALLS) for name, client in found}


async def _idle_sockets() -> dict[str, float]:
    """Growth of the worker's resident memory for each of many idle callers, by what they have sent."""
    each = {}
    for kind, first in KINDS.items():
        async with Source() as source, Gateway(source.port, bounds=LONG) as one:
            before = one.rss_bytes()
            held = await hold(one, IDLE, first)
            each[kind] = (one.rss_bytes() - before) / IDLE
            for writer in held:
                writer.transport.abort()
    return each


def _worker(upstream_port: int, seconds: float) -> dict[str, int]:
    """Resident memory of the largest process, by how many tenants have called; code shared with others included."""
    sizes = {}
    with standing(gateway.PEER, LIMITS["admitted"], upstream_port) as stand:
        for tenants in TENANTS:
            varied(tenants).run(stand.place.port, seconds)
            sizes[f"{tenants:,}"] = max(_rss_bytes(pid) for pid in stand.proxy.members())
    return sizes


def _rss_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/status").read_text().split("VmRSS:")[1].split()[0]) * 1024
