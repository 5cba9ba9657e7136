"""Whether two workers do twice the work of one.

Two cores carry everything here: with two workers nothing is left for the load, the upstream and the store, so calls
per second say how well eight processes share two cores, not how workers scale. What scales is the CPU time that a call
costs: when two workers spend as much per call as one does, two free cores make twice as many calls. So one worker and
two are compared with everything spread over both cores, and scaling is twice CPU per call of one over that of two.
"""

from dataclasses import asdict, replace
from typing import Any

from benchmarks import programs
from benchmarks.load import SAME
from benchmarks.peers import gateway
from benchmarks.peers.shape import LIMITS
from benchmarks.policy import everything_on
from benchmarks.stage import measure, standing, upstream


def rounds(count: int, seconds: float) -> list[dict[str, Any]]:
    """One row for each measured run, one and two workers in turn."""
    rows = []
    port = programs.free_port()
    load = replace(SAME, callers=128, cores=programs.ALL_CORES)
    with upstream(port, programs.ALL_CORES):
        for number in range(count):
            for workers in (1, 2):
                peer = replace(gateway.PEER, command=gateway.with_policy(everything_on, workers))
                everywhere = {"cores": programs.ALL_CORES, "store_cores": programs.ALL_CORES}
                with standing(peer, LIMITS["admitted"], port, **everywhere) as stand:
                    sample = measure(stand, load, seconds)
                rows.append({"workers": workers, "round": number, **asdict(sample)})
                print(f"{number} workers {workers}: {sample.cpu_us:.1f} µs/call, {sample.calls_per_s:,.0f} calls/s")
    return rows
