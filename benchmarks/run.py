"""What the gateway costs, beside other proxies: `python -m benchmarks.run [PART ...]`. Method: benchmarks/README.md.

    python -m benchmarks.run                                    # everything: about 20 minutes on two quiet cores
    python -m benchmarks.run table --peers gateway envoy-local  # some of it
    python -m benchmarks.run table --rounds 1 --add             # one more round to what the results file has

Every proxy gets the same load, one after the other, round after round, so that whatever disturbs the machine disturbs
all of them. Samples go to the results file; `python -m benchmarks.report` makes the tables and plots again.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import curves, latency, limits_cost, memory, programs, report, results, table, workers
from benchmarks.peers.shape import LIMITS
from benchmarks.programs import Failed
from benchmarks.stage import upstream

PARTS = ("table", "curves", "latency", "workers", "store", "memory")
BESIDE = ("gateway", "envoy-local", "nginx-lua-redis")
"""Whose latency is compared."""


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="What the gateway costs, beside other proxies.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; default: all")
    parser.add_argument("--peers", nargs="+", choices=list(table.PEERS), default=list(table.PEERS))
    parser.add_argument("--profiles", nargs="+", choices=list(LIMITS), default=list(LIMITS))
    parser.add_argument("--heads", nargs="+", choices=list(table.HEADS), default=list(table.HEADS))
    parser.add_argument("--vary", action="store_const", dest="heads", const=["varied"], help="--heads varied")
    parser.add_argument("--curves", nargs="+", choices=list(curves.CURVES), default=list(curves.CURVES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4, help="of each measured run")
    parser.add_argument("--results", type=Path, default=results.FILE)
    parser.add_argument("--add", action="store_true", help="to the samples that the results file has")
    chosen = parser.parse_args()
    if unknown := set(chosen.parts) - set(PARTS):
        parser.error(f"unknown: {' '.join(sorted(unknown))}")
    chosen.parts = chosen.parts or list(PARTS)
    return chosen


def measured(part: str, chosen: argparse.Namespace, there: list[str], port: int) -> Any:
    """The samples of one part."""
    count, seconds = chosen.rounds, chosen.seconds
    beside = [name for name in BESIDE if name in there]
    ways: dict[str, Callable[[], Any]] = {
        "table": lambda: table.rounds(there, port, count, seconds, chosen.profiles, chosen.heads),
        "curves": lambda: curves.rounds(chosen.curves, port, count, seconds),
        "latency": lambda: latency.blocks(beside, port, count, seconds),
        "workers": lambda: workers.rounds(count, seconds),
        "store": lambda: limits_cost.measured(decisions=300, rounds=40),
        "memory": lambda: memory.measured(port, seconds),
    }
    return ways[part]()


def main() -> int:
    """Measure; write the results; show them. A peer that is missing or fails is named, here and in the results."""
    chosen = options()
    there, missing = table.versions(chosen.peers)
    for name, why in missing.items():
        print(f"{name} is left out: {why}")
    found = results.begin(chosen.results, chosen.parts, add=chosen.add)
    found["versions"] = found.get("versions", {}) | there
    left_out = {name: why for name, why in found.get("left_out", {}).items() if name not in there} | missing
    port = programs.free_port()
    try:
        programs.need("wrk", "nginx", "redis-server", "taskset")
        with upstream(port):
            for part in chosen.parts:
                samples = measured(part, chosen, list(there), port)
                if part == "table":
                    samples, failed = samples
                    left_out |= failed
                results.merge(found, part, samples)
                chosen.results.write_text(json.dumps(found) + "\n")
    except Failed as error:
        print(error, file=sys.stderr)
        return 1
    found["left_out"] = left_out
    chosen.results.write_text(json.dumps(found) + "\n")
    print(report.text(found))
    report.draw(found, chosen.results.parent)
    return 1 if left_out else 0


if __name__ == "__main__":
    sys.exit(main())
