"""What the simulation of large fleets starts from, measured here: `python -m benchmarks.scale_inputs` (half a minute).

Writes `scale_inputs.json`: what decisions, connections, keys and heartbeats cost a Redis server, and what a call costs
the gateway (from `results.json`). CPU is what the server's process used; on a busy machine only the smallest of the
rounds means much, so that is what is kept.
"""

import json
import secrets
import socket
import statistics
from collections.abc import Callable
from pathlib import Path

import redis

from benchmarks import results
from benchmarks.limits_memory import each_identity, filled
from benchmarks.limits_server import BREAKER, BUCKET, FIXED, PARALLEL, PRECISE, ROLLING, admit, servers
from gateway.store.connection.link import pack
from gateway.store.outage.heartbeat import HEARTBEAT_ARGV
from gateway.store.scripts.limits import Argument
from gateway.store.scripts.sources import HEARTBEAT, SCRIPTS

FILE = Path(__file__).with_name("scale_inputs.json")
ROUNDS, CALLERS, CONNECTIONS = 20, 2_000, 1_000
FLEETS = (4, 40, 400, 4_000)
BATCHES = (1, 16)


def _cpu_s(client: "redis.Redis") -> float:
    used = client.info("cpu")
    return float(used["used_cpu_sys"] + used["used_cpu_user"])


def _socket(client: "redis.Redis") -> socket.socket:
    """Another connection to the same server."""
    found = socket.socket(socket.AF_UNIX)
    found.connect(client.connection_pool.connection_kwargs["path"])
    return found


def command_us(client: "redis.Redis", commands: list[bytes], batch: int) -> float:
    """The server's CPU for one command, its reading and answering included, when so many come together."""
    least = float("inf")
    with _socket(client) as one:
        for _ in range(ROUNDS):
            before = _cpu_s(client)
            for first in range(0, len(commands), batch):
                part = commands[first : first + batch]
                one.sendall(b"".join(part))
                _replies(one, len(part))
            least = min(least, (_cpu_s(client) - before) / len(commands))
    return least * 1e6


def _replies(one: socket.socket, count: int) -> None:
    """Until so many flat lists of integers have come: each line but the heads of the lists is one."""
    lines, expected = 0, -1
    while lines != expected:
        data = one.recv(2**16)
        if expected < 0:
            expected = count * (1 + int(data[1 : data.index(b"\r")]))
        lines += data.count(b"\n")


def _calls(limit_cost: Callable[[int], list[Argument]]) -> list[bytes]:
    return [pack(tuple(limit_cost(caller))) for caller in range(CALLERS)]


def decisions(client: "redis.Redis") -> dict[str, float]:
    """Microseconds of the server for a call with a window, a bucket and a breaker, by how many come together."""
    found = {}
    for batch in BATCHES:
        client.flushall()
        commands = _calls(lambda caller: admit((ROLLING, caller), (BUCKET, caller), guards=(BREAKER,)))
        found[f"admitted, {batch} together"] = command_us(client, commands, batch)
    client.flushall()
    for _ in range(BUCKET.quota):
        client.execute_command(*admit((ROLLING, 0), (BUCKET, 0)))
    refused = [pack(tuple(admit((ROLLING, 0), (BUCKET, 0))))] * CALLERS
    found["refused, 1 together"] = command_us(client, refused, 1)
    return found


def heartbeat_us(client: "redis.Redis", workers: int) -> float:
    """Microseconds of the server for one beat in a fleet of so many workers."""
    client.flushall()
    client.script_load(HEARTBEAT.source)
    names = [secrets.token_hex(8) for _ in range(workers)]

    def beat(name: str) -> bytes:
        values = dict(zip(HEARTBEAT_ARGV, ("beat", 0, name, 60_000_000, 0, 0), strict=True))
        return pack(("EVALSHA", HEARTBEAT.sha1_hex, 2, "gw:{fleet}:heard", "gw:{fleet}:came", *values.values()))

    commands = [beat(name) for name in names]
    command_us(client, commands, 1)
    return command_us(client, (commands * (CALLERS // workers + 1))[:CALLERS], 1)


def link_us(client: "redis.Redis") -> float:
    """Microseconds of the server for one worker that connects: its scripts, and a decision that proves the link."""
    greeting = b"".join(pack(("SCRIPT", "LOAD", script.source)) for script in SCRIPTS)
    proof, least = pack(tuple(admit((FIXED, "a")))), float("inf")
    for _ in range(ROUNDS):
        before = _cpu_s(client)
        for _ in range(CONNECTIONS // 10):
            with _socket(client) as one:
                one.sendall(greeting + proof)
                _lines(one, 2 * len(SCRIPTS) + 8)
        least = min(least, (_cpu_s(client) - before) / (CONNECTIONS // 10))
    return least * 1e6


def _lines(one: socket.socket, count: int) -> None:
    while count > 0:
        count -= one.recv(2**16).count(b"\n")


def connection_bytes(client: "redis.Redis") -> float:
    """Memory of the server for one connection that has asked once."""
    ask = pack(tuple(admit((ROLLING, "a"))))
    before = client.info("memory")["used_memory"]
    open_ones = [_socket(client) for _ in range(CONNECTIONS)]
    for one in open_ones:
        one.sendall(ask)
        _replies(one, 1)
    taken = client.info("memory")["used_memory"] - before
    for one in open_ones:
        one.close()
    return float(taken) / CONNECTIONS


def key_bytes(client: "redis.Redis") -> dict[str, float]:
    """Memory of the server for one caller: its tables included, except where a window holds many calls."""
    found = {
        f"{limit.algorithm.value}, 1 call": each_identity(client, limit, 50_000)
        for limit in (BUCKET, FIXED, ROLLING, PARALLEL)
    }
    around = found["rolling_window, 1 call"] - filled(client, ROLLING, 1)
    found["rolling_window, 500 calls"] = filled(client, ROLLING, 500) + around
    found["rolling_window, precision 60, 10,000 calls"] = filled(client, PRECISE, 10_000) + around
    return found


def gateway_us() -> dict[str, float]:
    """CPU of the gateway for one call, from the results of the benchmarks."""
    table = json.loads(results.FILE.read_text())["table"]
    rows = [row for row in table if row["peer"] == "gateway" and row["heads"] == "varied"]
    return {
        profile: statistics.median(row["cpu_us"] for row in rows if row["profile"] == profile)
        for profile in ("admitted", "refused")
    }


def measured() -> dict[str, object]:
    """Everything, on the first server that is to be had."""
    with servers() as found:
        name, client = found[0]
        call = admit((ROLLING, "tenant-0000001"), (BUCKET, "tenant-0000001"), guards=(BREAKER,))
        first = decisions(client)
        rest = {
            "heartbeat_us": {str(workers): heartbeat_us(client, workers) for workers in FLEETS},
            "link_us": link_us(client),
            "connection_bytes": connection_bytes(client),
            "key_bytes": key_bytes(client),
            "question_bytes": len(pack(tuple(call))),
            "gateway_us": gateway_us(),
        }
        again = decisions(client)  # a while later: what else ran then does not run now
        least = {how: min(us, again[how]) for how, us in first.items()}
        return {"server": name, "machine": results.processor(), "decision_us": least, **rest}


def _rounded(value: object) -> object:
    if isinstance(value, dict):
        return {name: _rounded(one) for name, one in value.items()}
    return round(value, 1) if isinstance(value, float) else value


def main() -> None:
    """Measure, show, keep."""
    text = json.dumps(_rounded(measured()), indent=2)
    print(text)
    FILE.write_text(text + "\n")


if __name__ == "__main__":
    main()
