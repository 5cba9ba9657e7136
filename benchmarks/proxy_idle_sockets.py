"""What an idle caller costs: `python -m benchmarks.proxy_idle_sockets [COUNT]` (10,000), with an honest caller beside.

The idle sockets are of three kinds, one after the other: kept alive after a call, silent, and stuck in the middle of a
head. Bytes each, and how long one honest call after the other takes meanwhile.
"""

import asyncio
import contextlib
import resource
import sys
import time

from benchmarks.proxy_process import Gateway, Source, request

CALL = request("/2")
KINDS = {"kept alive": CALL, "silent": b"", "half a head": b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: "}
LONG = "header_time: 120s, idle_time: 120s, sockets: 20000, calls_in_flight: 100"
BATCH = 200


async def hold(gateway: Gateway, count: int, first: bytes) -> list[asyncio.StreamWriter]:
    held: list[asyncio.StreamWriter] = []

    async def one() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port, limit=2**12)
        writer.write(first)
        if first == CALL:
            await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(2)
        held.append(writer)

    for start in range(0, count, BATCH):
        await asyncio.gather(*(one() for _ in range(min(BATCH, count - start))))
    return held


async def probe(gateway: Gateway, calls: int) -> list[float]:
    """Milliseconds of each of some calls, each on a socket of its own."""
    times = []
    for _ in range(calls):
        started = time.perf_counter()
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        with contextlib.closing(writer):
            writer.write(CALL)
            head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        times.append((time.perf_counter() - started) * 1e3)
    return sorted(times)


async def measure(count: int) -> bool:
    good = True
    for kind, first in KINDS.items():
        async with Source() as source, Gateway(source.port, bounds=LONG) as gateway:
            await probe(gateway, 50)
            before, cpu = gateway.rss_bytes(), gateway.cpu_s()
            held = await hold(gateway, count, first)
            each = (gateway.rss_bytes() - before) / count
            cost_us = (gateway.cpu_s() - cpu) / count * 1e6
            cpu, started = gateway.cpu_s(), time.monotonic()
            await asyncio.sleep(2)
            idle_cpu = (gateway.cpu_s() - cpu) / (time.monotonic() - started) * 100
            times = await probe(gateway, 200)
            p99 = times[int(len(times) * 0.99)]
            good = good and p99 <= 250
            print(
                f"{count} {kind:12} {each:7.0f} bytes each, {cost_us:4.0f} us CPU to open, idle CPU {idle_cpu:4.1f} %; "
                f"honest caller p50 {times[len(times) // 2]:.1f} ms, p99 {p99:.1f} ms",
                flush=True,
            )
            for writer in held:
                writer.transport.abort()
    return good


if __name__ == "__main__":
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    raise SystemExit(0 if asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)) else 1)
