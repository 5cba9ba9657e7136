"""What a limit costs the server in memory, and that idle callers cost nothing.

    python benchmarks/limits_memory.py [--identities 100000] [--idle]

For each server that is to be had: bytes per partition by MEMORY USAGE at several fillings; all that the server spends
per identity (its tables included) for many identities that called once. --idle then waits two windows of ten seconds
of real time, and shows how many keys are left.
"""

import argparse
import time

import redis

from benchmarks.limits_server import BUCKET, FIXED, PARALLEL, PRECISE, ROLLING, SECOND, admit, servers
from gateway.core.limits import Algorithm, Limit

FILLINGS = [
    ("rolling window, 1 call", ROLLING, 1),
    ("rolling window, 10 calls", ROLLING, 10),
    ("rolling window, 100 calls", ROLLING, 100),
    ("rolling window, 500 calls (full)", ROLLING, 500),
    ("rolling window, precision 60, 10,000 calls", PRECISE, 10_000),
    ("token bucket", BUCKET, 5),
    ("fixed window", FIXED, 5),
    ("concurrency, 1 slot", PARALLEL, 1),
    ("concurrency, 8 slots", PARALLEL, 8),
]


def filled(client: "redis.Redis", limit: Limit, calls: int) -> int:
    """MEMORY USAGE of one partition after so many calls, spread over a little less than a window."""
    client.flushall()
    start_us = int(time.time() * SECOND)
    with client.pipeline(transaction=False) as pipe:
        for number in range(calls):
            now_us = start_us + number * (limit.window_us - SECOND) // calls
            pipe.execute_command(*admit((limit, "acme"), lease=f"01JD2K7Q0{number:05}", now_us=now_us))
        admitted = sum(reply[0] for reply in pipe.execute())
    assert admitted == calls, f"{admitted} of {calls} admitted"
    return client.memory_usage(f"gw:{limit.name}:{{=acme}}")


def each_identity(client: "redis.Redis", limit: Limit, identities: int) -> float:
    """All the memory that the server took, by the number of identities that called once."""
    client.flushall(asynchronous=False)
    time.sleep(1)  # the server gives back its buffers
    before = client.info("memory")["used_memory"]
    cost = limit.quota if limit.algorithm is Algorithm.TOKEN_BUCKET else 1  # a nearly full bucket is soon forgotten
    for first in range(0, identities, 1000):
        with client.pipeline(transaction=False) as pipe:
            for number in range(first, min(first + 1000, identities)):
                pipe.execute_command(*admit((limit, f"tenant-{number:06}"), cost=cost))
            pipe.execute()
    assert client.dbsize() == identities
    return (client.info("memory")["used_memory"] - before) / identities


def left_when_idle(client: "redis.Redis", identities: int) -> str:
    """Keys left two windows after the last call, and the longest life of any key at the beginning."""
    client.flushall()
    window_us = 10 * SECOND
    short = Limit("short", Algorithm.ROLLING_WINDOW, 500, window_us, ("tenant",))
    for first in range(0, identities, 1000):
        with client.pipeline(transaction=False) as pipe:
            for number in range(first, min(first + 1000, identities)):
                pipe.execute_command(*admit((short, f"tenant-{number:06}"), (BUCKET, f"tenant-{number:06}")))
            pipe.execute()
    keys, expiring = client.dbsize(), client.info("keyspace")["db0"]["expires"]
    time.sleep(2 * window_us / SECOND + 0.2)
    return (
        f"{keys} keys, {expiring} of them with a time to live; two windows later {sum(1 for _ in client.scan_iter())}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--identities", type=int, default=100_000)
    parser.add_argument("--idle", action="store_true")
    options = parser.parse_args()
    with servers() as found:
        for name, client in found:
            print(f"\n{name}")
            for title, limit, calls in FILLINGS:
                print(f"  {title:45} {filled(client, limit, calls):6,} bytes")
            for limit in (BUCKET, FIXED, ROLLING, PARALLEL):
                title = f"{limit.algorithm.value}, each of {options.identities:,}, all in all"
                print(f"  {title:45} {each_identity(client, limit, options.identities):6,.0f} bytes")
            if options.idle:
                print(f"  idle: {left_when_idle(client, options.identities)}")


if __name__ == "__main__":
    main()
