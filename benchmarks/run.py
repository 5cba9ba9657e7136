"""What the gateway costs, beside other proxies: `python -m benchmarks.run [PART ...]`. Method: benchmarks/README.md.

    python -m benchmarks.run                                    # everything: about half an hour on two quiet cores
    python -m benchmarks.run --quick                            # the main table and latencies: about 7 minutes
    python -m benchmarks.run table --peers gateway envoy-local  # some of it
    python -m benchmarks.run table --rounds 1 --add             # one more round to what the results file has

Every proxy gets the same load, one after the other, round after round, so that whatever disturbs the machine disturbs
all of them. Samples go to the results file, and from there into plots and into the documents that show
them; `python -m benchmarks.report` does that again.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import (
    bodies,
    curves,
    instructions,
    latency,
    limits_cost,
    memory,
    programs,
    report,
    results,
    table,
    workers,
)
from benchmarks.calm import PATIENCE_S, patience
from benchmarks.peers.shape import LIMITS
from benchmarks.programs import Failed
from benchmarks.stage import upstream

PARTS = ("table", "bodies", "curves", "latency", "workers", "store", "memory", "instructions")
QUICK_PARTS = ("table", "latency", "instructions")
BESIDE = ("gateway", "envoy-local", "nginx-lua-redis")
"""Whose latency is compared, and with Traefik's what bodies cost them."""


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="What the gateway costs, beside other proxies.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; default: all")
    parser.add_argument("--peers", nargs="+", choices=list(table.PEERS), default=list(table.PEERS))
    parser.add_argument("--profiles", nargs="+", choices=list(LIMITS), default=list(LIMITS))
    parser.add_argument("--heads", nargs="+", choices=list(table.HEADS), default=list(table.HEADS))
    parser.add_argument("--vary", action="store_const", dest="heads", const=["varied"], help="--heads varied")
    parser.add_argument("--curves", nargs="+", choices=list(curves.CURVES), default=list(curves.CURVES))
    parser.add_argument("--quick", action="store_true", help=f"{', '.join(QUICK_PARTS)}; fewer and shorter runs")
    parser.add_argument("--rounds", type=int, help="default: 3, quick 2")
    parser.add_argument("--seconds", type=float, help="of each measured run; default: 4, quick 3")
    parser.add_argument(
        "--patience",
        type=float,
        default=PATIENCE_S,
        help="seconds for waiting and runs made again; default: %(default)g",
    )
    parser.add_argument("--results", type=Path, default=results.FILE)
    parser.add_argument("--add", action="store_true", help="to the samples that the results file has")
    chosen = parser.parse_args()
    if unknown := set(chosen.parts) - set(PARTS):
        parser.error(f"unknown: {' '.join(sorted(unknown))}")
    chosen.parts = chosen.parts or list(QUICK_PARTS if chosen.quick else PARTS)
    chosen.rounds = chosen.rounds or (2 if chosen.quick else 3)
    chosen.seconds = chosen.seconds or (3.0 if chosen.quick else 4.0)
    return chosen


def measured(part: str, chosen: argparse.Namespace, there: list[str], port: int) -> Any:
    """The samples of one part."""
    count, seconds = chosen.rounds, chosen.seconds
    beside = [name for name in BESIDE if name in there]
    streaming = [name for name in (*BESIDE, "traefik-redis") if name in there]
    ways: dict[str, Callable[[], Any]] = {
        "table": lambda: table.rounds(there, port, count, seconds, chosen.profiles, chosen.heads),
        "bodies": lambda: bodies.rounds(streaming, port, count, seconds),
        "curves": lambda: curves.rounds(chosen.curves, port, count, seconds),
        "latency": lambda: latency.blocks(beside, port, count, seconds),
        "workers": lambda: workers.rounds(count, seconds),
        "store": lambda: limits_cost.measured(decisions=300, rounds=40),
        "memory": lambda: memory.measured(port, seconds),
        "instructions": instructions.measured,
    }
    return ways[part]()


def main() -> int:
    """Measure; write the results; show them. A peer that is missing or fails is named, here and in the results."""
    chosen = options()
    patience().left_s = chosen.patience
    there, missing = table.versions(chosen.peers)
    for name, why in missing.items():
        print(f"{name} is left out: {why}")
    found = results.begin(chosen.results)
    found["versions"] = found.get("versions", {}) | there
    left_out = missing
    port = programs.free_port()
    try:
        programs.need("wrk", "nginx", "redis-server", "taskset")
        with upstream(port):
            for part in chosen.parts:
                left_out |= one_part(part, chosen, list(there), port, found)
    except Failed as error:
        print(error, file=sys.stderr)
        return 1
    found["left_out"] = left_out
    chosen.results.write_text(json.dumps(found) + "\n")
    report.show(chosen.results, found)
    return 1 if left_out else 0


def one_part(
    part: str, chosen: argparse.Namespace, there: list[str], port: int, found: results.Results
) -> dict[str, str]:
    """Measure it and write it down. What failed, and why: peers, or the part as a whole, which then stays as it was."""
    failed: dict[str, str] = {}
    try:
        samples = measured(part, chosen, there, port)
    except Failed as error:
        print(f"{part}: {error}", file=sys.stderr)
        return {part: str(error)}
    if part == "table":
        samples, failed = samples
    results.merge(found, part, samples, add=chosen.add)
    chosen.results.write_text(json.dumps(found) + "\n")
    return failed


if __name__ == "__main__":
    sys.exit(main())
