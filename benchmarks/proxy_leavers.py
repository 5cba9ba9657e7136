"""Callers that leave in the middle of their calls: `python -m benchmarks.proxy_leavers [COUNT]` (5,000).

A fifth of them in each phase: inside a head, inside an upload, before the answer, inside it, inside a tunnel; half of
them with a FIN, half with a RST. What each held is seen in use first, then it has to be given back: calls in flight,
sockets of callers and to the upstream, slots of a concurrency limit, file descriptors.
"""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from benchmarks.proxy_process import MIB, Gateway, Source, request

SLOTS = 10_000
POLICY = """
version: 1
limits: {slots: {algorithm: concurrency, limit: 10000, lease: 60s, key: []}}
upstreams: {up: {url: "http://127.0.0.1:%d"}}
routes: [{name: all, match: {path_prefix: /}, upstream: up, limits: [slots]}]
"""
PATIENCE_S = 10.0
BATCH = 100

Socket = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Phase(NamedTuple):
    """What a caller has sent when it leaves, and what it has seen of the answer."""

    sent: bytes
    seen: int = 0
    is_call: bool = True


PHASES = {
    "inside a head": Phase(b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ", is_call=False),
    "inside an upload": Phase(request("/2", "Content-Length: 1000000", method="POST") + bytes(1000)),
    "before the answer": Phase(request("/hold")),
    "inside the answer": Phase(request(f"/{64 * MIB}"), seen=1000),
    "inside a tunnel": Phase(request("/tunnel", "Connection: Upgrade", "Upgrade: raw") + bytes(1000), seen=1000),
}


class Held(NamedTuple):
    """What the gateway says that it holds."""

    calls: int
    sockets: int
    upstream_sockets: int
    slots: int

    @classmethod
    async def by(cls, gateway: Gateway) -> "Held":
        series = await gateway.metrics()
        slots = json.loads(await gateway.ask_admin("/-/limits/slots"))
        return cls(
            int(sum(value for name, value in series.items() if name.startswith("gateway_requests_in_flight"))),
            int(series['gateway_open_connections{listener="calls"}']),
            int(series['gateway_upstream_connections{state="active",upstream="up"}']),
            SLOTS - int(slots["remaining"]),
        )


NOTHING = Held(0, 0, 0, 0)


async def until(condition: Callable[[], Awaitable[bool]]) -> float | None:
    """Seconds until the condition held; None when it never did."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    while not await condition():
        if loop.time() - started > PATIENCE_S:
            return None
        await asyncio.sleep(0.02)
    return loop.time() - started


async def arrive(gateway: Gateway, phase: Phase, count: int) -> list[Socket]:
    async def one() -> Socket:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port, limit=2**12)
        writer.write(phase.sent)
        await reader.readexactly(phase.seen)
        return reader, writer

    callers: list[Socket] = []
    for start in range(0, count, BATCH):
        callers += await asyncio.gather(*(one() for _ in range(min(BATCH, count - start))))
    return callers


def leave(callers: list[Socket]) -> None:
    for number, (_, writer) in enumerate(callers):
        if number % 2:
            writer.close()
        else:
            writer.transport.abort()


async def measure(count: int) -> bool:
    """Whether nothing of any phase was left behind."""
    good, each = True, count // len(PHASES)
    async with Source() as source, Gateway(source.port, policy=POLICY) as gateway:
        leave(await arrive(gateway, Phase(request("/2"), seen=10), 2))
        await until(lambda: _holds(gateway, NOTHING))
        files = gateway.open_files()
        for name, phase in PHASES.items():
            callers = await arrive(gateway, phase, each)
            calls = each if phase.is_call else 0
            came = await until(lambda calls=calls: _holds(gateway, Held(calls, each, calls, calls)))  # type: ignore[misc]
            leave(callers)
            gone = await until(lambda: _holds(gateway, NOTHING))
            closed = await until(lambda: _is_back(gateway, source, files))
            good = good and None not in (came, gone, closed)
            print(
                f"{each} callers left {name}: all held {came is not None}, given back after {gone} s, closed {closed}"
            )
        errors = gateway.errors()
    print(errors, end="", file=sys.stderr)
    return good and not errors


async def _holds(gateway: Gateway, held: Held) -> bool:
    return await Held.by(gateway) == held


async def _is_back(gateway: Gateway, source: Source, files: int) -> bool:
    return source.open_sockets <= 2 and gateway.open_files() <= files + 2


if __name__ == "__main__":
    raise SystemExit(0 if asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 5_000)) else 1)
