"""Machine instructions and cache misses of one call: `python -m benchmarks.machine [SCENARIO ...]`.

The scenarios of `benchmarks.cost`, C extensions included, on a simulated processor (callgrind, part of valgrind): the
counts are nearly the same however busy the machine is. No system call is in them. Takes half a minute to start, and as
much for each scenario.
"""

import argparse
import gc
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.cost import run, timers_slowed, warm
from benchmarks.scenarios import CROWDS, SCENARIOS

ALL = SCENARIOS | CROWDS
CALLS = 200
CACHES = ("--cache-sim=yes", "--I1=32768,8,64", "--D1=49152,12,64", "--LL=1048576,16,64")
"""What a core has for itself; what is not there comes from farther away, and takes hundreds of instructions' time."""
SLOWER = 100
"""The simulated processor is so much slower: what is done every tenth of a second is done as often per call."""
MARK = "getloadavg"
"""A function of the C library that nobody calls but the scenarios, when their calls begin and end."""
COLUMNS = {"instructions": ("Ir",), "first misses": ("I1mr", "D1mr", "D1mw"), "last misses": ("ILmr", "DLmr", "DLmw")}


async def _calls(name: str, calls: int) -> None:
    async with warm(ALL[name]) as (caller, _marks):
        gc.collect()
        with timers_slowed(SLOWER):
            os.getloadavg()
            await caller.call(calls)
            os.getloadavg()


def simulate(names: list[str], calls: int, folder: Path, *, caches: bool) -> None:
    """Run the scenarios below valgrind. Each leaves two dumps in the folder: what was before it, and its calls."""
    command = ["valgrind", "--tool=callgrind", f"--dump-before={MARK}", f"--callgrind-out-file={folder}/out", "--quiet"]
    command += CACHES if caches else ()
    command += [sys.executable, "-m", "benchmarks.machine", "--inside", "--calls", str(calls), *names]
    subprocess.run(command, check=True)


def totals(dump: str) -> dict[str, int]:
    """Counts by the names of their events."""
    (names,) = re.findall(r"^events: (.*)$", dump, re.MULTILINE)
    sums = re.findall(r"^(?:totals|summary): (.*)$", dump, re.MULTILINE)[0]
    return dict(zip(names.split(), map(int, sums.split()), strict=False))


def main() -> None:
    """Simulate, or be simulated."""
    parser = argparse.ArgumentParser(description="Machine instructions and cache misses of one call.")
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help="of " + ", ".join(ALL))
    parser.add_argument("--calls", type=int, default=CALLS)
    parser.add_argument("--keep", type=Path, help="a folder for what callgrind_annotate shows by function")
    parser.add_argument("--caches", action="store_true", help="count cache misses too: twice as slow")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    names = options.scenarios or list(SCENARIOS)
    if options.inside:
        for name in names:
            run(_calls(name, options.calls))
        os._exit(0)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        simulate(names, options.calls, folder, caches=options.caches)
        print(f"{'per call':22}" + "".join(f"{column:>14}" for column in COLUMNS))
        for number, name in enumerate(names, 1):
            found = totals((folder / f"out.{2 * number}").read_text())
            sums = [sum(found.get(event, 0) for event in events) for events in COLUMNS.values()]
            print(f"{name:22}" + "".join(f"{count / options.calls:14,.0f}" for count in sums))


if __name__ == "__main__":
    main()
