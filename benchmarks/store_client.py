"""What one decision costs the gateway's own process: CPU microseconds per `RedisStore.admit`, encoding and decoding
included, the server's CPU not.

    python benchmarks/store_client.py [--url redis://...] [--concurrency 64] [--decisions 100000] [--rounds 5]

Without --url it starts the embedded server. Every caller decides two limits (a 500 per 10 min rolling window and a
token bucket) of its own, one after the other, in a loop; `process_time` is read around all of them. Beside it stand
the same commands sent through redis-py, from a connection pool, one caller at a time per connection.
"""

import argparse
import asyncio
import platform
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import redis
import redis.asyncio

from gateway.core.ask import Ask
from gateway.core.limits import Algorithm, Charge, Limit
from gateway.store.embedded.server import EmbeddedServer, server_binary
from gateway.store.redis import RedisStore
from gateway.store.scripts.limits import decode_admit, encode_admit
from gateway.store.scripts.sources import ADMIT

WINDOW = Limit("tenant-10m", Algorithm.ROLLING_WINDOW, quota=500, window_us=600_000_000, key=("tenant",))
BUCKET = Limit(
    "connection", Algorithm.TOKEN_BUCKET, quota=20, window_us=1_000_000, key=("connection",), rate=20, per_us=1_000_000
)
Decide = Callable[[Ask], Awaitable[object]]


def callers(count: int) -> list[Ask]:
    """What each caller asks: a tenant and a connection of its own."""
    return [
        Ask((Charge(WINDOW, f"tenant-10m:{{=t{i}}}", 1), Charge(BUCKET, f"connection:{{=t{i}}}:=c{i}", 1)))
        for i in range(count)
    ]


async def measure(decide: Decide, concurrency: int, decisions: int) -> tuple[float, float]:
    """(CPU microseconds per decision, decisions per second)."""

    async def caller(ask: Ask) -> None:
        for _ in range(decisions // concurrency):
            await decide(ask)

    cpu, wall = time.process_time(), time.perf_counter()
    await asyncio.gather(*map(caller, callers(concurrency)))
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return cpu / decisions * 1e6, decisions / wall


async def run(url: str, options: argparse.Namespace) -> dict[str, list[tuple[float, float]]]:
    """Interleaved rounds of both clients."""
    store = RedisStore(url, timeout_us=1_000_000)
    await store.start()
    client = redis.asyncio.Redis.from_url(url, max_connections=options.concurrency)
    await client.script_load(ADMIT.source)

    async def through_redis_py(ask: Ask) -> None:
        arguments = encode_admit(ask, "", prefix="gw:", commit=True)
        decode_admit(await client.evalsha(ADMIT.sha1_hex, *arguments), ask)

    ways: dict[str, Decide] = {
        "RedisStore": lambda ask: store.admit(ask, ""),
        "redis-py, pool": through_redis_py,
    }
    results: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(options.rounds):
        for name, decide in ways.items():
            await client.flushdb()
            results[name].append(await measure(decide, options.concurrency, options.decisions))
    await client.aclose()
    await store.close()
    return results


def run_on(loop: str, url: str, options: argparse.Namespace) -> None:
    if loop == "uvloop":
        import uvloop

        results = uvloop.run(run(url, options))
    else:
        results = asyncio.run(run(url, options))
    for name, rounds in results.items():
        cpu = statistics.median(cpu for cpu, _ in rounds)
        rate = statistics.median(rate for _, rate in rounds)
        spread = " ".join(f"{cpu:.1f}" for cpu, _ in rounds)
        print(f"{loop:8} {name:16} {cpu:7.1f} us CPU   {rate:9,.0f} decisions/s   rounds: {spread}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--url", help="flushed before every round!")
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--decisions", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(f"Python {platform.python_version()}, redis-py {redis.__version__}, {options.concurrency} callers")
    with tempfile.TemporaryDirectory(prefix="gw-bench-") as directory:
        server = EmbeddedServer(server_binary(), Path(directory))
        if not options.url:
            server.start()
        for loop in ("asyncio", "uvloop"):
            run_on(loop, options.url or server.url, options)
        server.stop()


if __name__ == "__main__":
    main()
