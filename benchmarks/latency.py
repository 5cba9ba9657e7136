"""What a proxy adds to a call's time, at a rate at which nobody queues: 200 calls a second of 64 callers, open loop."""

import json
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks import programs
from benchmarks.peers.shape import LIMITS
from benchmarks.programs import Failed
from benchmarks.stage import standing
from benchmarks.table import PEERS

RATE, CALLERS = 200, 64
DIRECT = "direct"
PARTS = ("duration_ms", "gateway_ms", "store_ms", "upstream_ms")


def blocks(names: Sequence[str], upstream_port: int, count: int, seconds: float) -> dict[str, Any]:
    """Everybody stands at the same time and is called in turn, a block each.

    {"calls": one row for each block, "stages": what the gateway's own log says about its calls}
    """
    rows, stages = [], []
    with ExitStack() as stack:
        ports = {DIRECT: upstream_port}
        log = None
        for name in names:
            stand = stack.enter_context(standing(PEERS[name], LIMITS["admitted"], upstream_port))
            ports[name] = stand.place.port
            log = stand.place.log if name == "gateway" else log
        for number in range(count):
            for name, port in ports.items():
                rows.append({"peer": name, "round": number, **calls_in_open_loop(port, RATE, CALLERS, seconds)})
        if log is not None:
            stages = _stages(log)
    return {"calls": rows, "stages": stages}


def quantile(values: Sequence[float], share: float) -> float:
    """The value that this share of all values stays below."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def calls_in_open_loop(port: int, rate: int, callers: int, seconds: float) -> dict[str, float]:
    """How long calls took, and how late they were sent, microseconds."""
    command = ["taskset", "-c", programs.OTHER_CORE, sys.executable, "-m", "benchmarks.open_loop"]
    command += [str(port), str(rate), str(callers), str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 30, check=False)
    if done.returncode:
        raise Failed(f"the open loop ended: {done.stderr[-300:]}")
    said: dict[str, list[float]] = json.loads(done.stdout)
    taken, late = said["latency_us"], said["lag_us"]
    quantiles = {"p50_us": quantile(taken, 0.5), "p99_us": quantile(taken, 0.99), "late_p99_us": quantile(late, 0.99)}
    return {"calls": len(taken), **{name: round(value, 1) for name, value in quantiles.items()}}


def _stages(log: Path) -> list[dict[str, float | str]]:
    """The times of the calls, by the record's own fields, in milliseconds."""
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    forwarded = [line for line in lines if line.get("upstream_status") == 200]
    times = {part: [line.get(part, 0.0) for line in forwarded] for part in PARTS}
    return [{"part": part, "p50_ms": quantile(of, 0.5), "p99_ms": quantile(of, 0.99)} for part, of in times.items()]
