"""What the limits benchmarks share: servers to measure, and the limits they measure."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import redis

from gateway.core.ask import Ask
from gateway.core.guards import Breaker, Guard
from gateway.core.limits import Algorithm, Charge, Limit
from gateway.store.embedded.server import EmbeddedServer, server_binary
from gateway.store.scripts.limits import Argument, encode_admit
from gateway.store.scripts.sources import ADMIT

SECOND = 1_000_000
WINDOW = 600 * SECOND
ROLLING = Limit("tenant-10m", Algorithm.ROLLING_WINDOW, 500, WINDOW, ("tenant",))
PRECISE = Limit("tenant-day", Algorithm.ROLLING_WINDOW, 1_000_000, WINDOW, ("tenant",), quantum_us=WINDOW // 60)
BUCKET = Limit("connection-1m", Algorithm.TOKEN_BUCKET, 20, 20 * SECOND, ("connection",), 1, SECOND)
FIXED = Limit("account-1m", Algorithm.FIXED_WINDOW, 600, 60 * SECOND, ("account",))
BREAKER = Guard(Breaker("vendor", ("connection",), failure_ppm=500_000), "breaker:vendor:{=a}")
PARALLEL = Limit("parallel", Algorithm.CONCURRENCY, 8, 60 * SECOND, ("connection",))


@contextlib.contextmanager
def servers() -> Iterator[list[tuple[str, "redis.Redis"]]]:
    """Each server that is to be had, started for us alone: (name and version, client). The script is loaded."""
    found = [Path(path) for path in (shutil.which("redis-server"), server_binary()) if path]
    with contextlib.ExitStack() as stack:
        clients = []
        for binary in found:
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="gw-", dir="/tmp"))
            server = EmbeddedServer(binary, Path(directory), max_memory_bytes=2**30)
            server.start()
            stack.callback(server.stop)
            client = stack.enter_context(redis.Redis.from_url(server.url))
            client.script_load(ADMIT.source)
            about = client.info("server")
            clients.append(
                (f"{about.get('server_name', 'redis')} {about.get('valkey_version', about['redis_version'])}", client)
            )
        yield clients


def admit(
    *asked: tuple[Limit, object],
    guards: Sequence[Guard] = (),
    cost: int = 1,
    lease: str = "01JD2K7Q0Z6C",
    now_us: int = 0,
) -> list[Argument]:
    """The command that asks the guards and charges each limit for the given caller."""
    charges = [Charge(limit, f"{limit.name}:{{={caller}}}", cost) for limit, caller in asked]
    ask = Ask(charges, guards)
    return ["EVALSHA", ADMIT.sha1_hex, *encode_admit(ask, lease, prefix="gw:", commit=True, now_us=now_us)]


def several(each: Sequence[list[Argument]], calls: int) -> list[Argument]:
    """The command that asks for so many calls of each of these callers, whom `admit` would ask the same limits."""
    evalsha, sha1_hex, keys, *arguments = each[0]
    assert isinstance(keys, int), "the number of keys comes first"
    times = calls.to_bytes(2, "big") * len(each)
    theirs = [key for one in each for key in one[3 : 3 + keys]]
    return [evalsha, sha1_hex, len(theirs), *theirs, "several", 0, times, *arguments[keys + 3 :]]
