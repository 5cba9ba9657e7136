"""What bodies cost beside other proxies, each way."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from benchmarks.load import chosen
from benchmarks.peers.shape import LIMITS
from benchmarks.programs import Failed
from benchmarks.stage import measure, standing
from benchmarks.table import PEERS

LOADS = {
    "answer of 16 KiB": chosen(path="bytes/16384"),
    "answer of 256 KiB": chosen(path="bytes/262144"),
    "request of 16 KiB": chosen(up_bytes=16_384, path="read/items"),
    "request of 256 KiB": chosen(up_bytes=262_144, path="read/items"),
}


def rounds(names: Sequence[str], upstream_port: int, count: int, seconds: float) -> list[dict[str, Any]]:
    """One row for each measured run; those that failed are told and left out."""
    rows = []
    for number in range(count):
        for body, load in LOADS.items():
            for name in names:
                try:
                    with standing(PEERS[name], LIMITS["admitted"], upstream_port) as stand:
                        sample = measure(stand, load, seconds)
                except Failed as error:
                    print(f"{number} {body} {name}: {error}", flush=True)
                    continue
                rows.append({"body": body, "peer": name, "round": number, **asdict(sample)})
                print(f"{number} {body} {name}: {sample.cpu_us:.1f} µs/call", flush=True)
    return rows
