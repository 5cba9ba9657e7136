"""What one call costs in Python, counted instead of timed: `python -m benchmarks.cost`.

Function calls and bytecode instructions per call on a fixed scenario are the same on every run and every machine, so a
test holds them to a committed baseline (`tests/app/test_cost.py`). See benchmarks/README.md.

    python -m benchmarks.cost                    # counts beside the baseline, CPU µs per call
    python -m benchmarks.cost --functions 60     # and where the calls are
    python -m benchmarks.cost --modules          # and which modules spend them
    python -m benchmarks.cost --profile admitted # cProfile, by own time
    python -m benchmarks.cost --update           # make what is counted now the baseline
"""

import argparse
import asyncio
import cProfile
import gc
import itertools
import json
import pstats
import statistics
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, NamedTuple

from benchmarks import inmemory, scenarios, wires
from benchmarks.inmemory import Caller, gateway_with
from benchmarks.scenarios import SCENARIOS, Scenario

BASELINE = Path(__file__).with_name("cost_baseline.json")
ALLOWED_RISE = 1.10
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
COUNTED = 60
WARM_UP = 240
TRACED_SLOWER = 1_000
"""Or on a busy machine what is done now and then would be done in every call that is counted."""
STAGES = {
    "the caller's socket and head": (
        "listener/",
        "wire/request_head",
        "wire/field_block",
        "wire/head",
        "wire/ids",
        "wire/memo",
        "call.py",
    ),
    "accept": ("accept", "build", "core/http/trace", "core/http/forwarding", "core/http/client_address"),
    "identify": (
        "identify",
        "identity/",
        "core/routing/",
        "core/keys",
        "core/caller",
        "core/http/targets",
        "callers",
        "leads",
    ),
    "admit": ("admit", "store/", "core/guards", "guards/", "guarding", "core/ask", "leases"),
    "forward": (
        "forward",
        "attempts",
        "upstream/",
        "core/http/fields",
        "core/http/framing",
        "core/http/hop",
        "core/upstream_fields",
        "wire/response_head",
        "wire/body",
    ),
    "annotate and relay": ("annotate", "relay", "core/headers", "refuse", "core/problems"),
    "settle and record": ("settle", "record", "observe/", "admin/", "core/classes", "core/http/signals", "handle"),
}
"""Beginnings of module names below `gateway/`."""
OUTSIDE = {__file__, inmemory.__file__, scenarios.__file__, wires.__file__}
"""What drives the calls is not part of their cost."""


class Counts(NamedTuple):
    """Of one call: Python functions entered (coroutines once per resumption) plus C functions called from Python."""

    calls: int
    instructions: int


class Tracer:
    """Counts what the interpreter does outside of this package, in one thread."""

    def __init__(self) -> None:
        self.total = 0
        self.functions: Counter[tuple[CodeType, str]] = Counter()
        self.modules: Counter[str] = Counter()

    def calls(self, frame: FrameType, event: str, argument: Any) -> None:
        """For `sys.setprofile`."""
        if event not in ("call", "c_call") or frame.f_code.co_filename in OUTSIDE:
            return
        self.total += 1
        name = getattr(argument, "__qualname__", repr(argument)) if event == "c_call" else ""
        self.functions[frame.f_code, name] += 1

    def instructions(self, frame: FrameType, _event: str, _argument: Any) -> Any:
        """For `sys.settrace`."""
        if frame.f_code.co_filename in OUTSIDE:
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return self._instruction

    def _instruction(self, frame: FrameType, event: str, _argument: Any) -> Any:
        if event == "opcode":
            self.total += 1
            self.modules[frame.f_code.co_filename] += 1
        return self._instruction


class Marks:
    """Reads the tracer's total at each answer, of calls at once at the last one: the differences are the calls."""

    def __init__(self, expected: bytes, at_once: int) -> None:
        self._at_once = at_once
        self.tracer = Tracer()
        self.totals: list[int] = []
        self.expected = expected

    def answered(self, answer: bytes) -> None:
        if not answer.startswith(self.expected):
            raise SystemExit(f"wrong answer: {answer[:300]!r}")
        self.totals.append(self.tracer.total)

    def per_call(self) -> int:
        """The median: a timer that fires in the middle of one call does not count."""
        return statistics.median_low(b - a for a, b in itertools.pairwise(self.totals)) // self._at_once


async def count(name: str) -> tuple[Counts, Tracer, Tracer]:
    """Counts of one scenario, and what was seen during COUNTED calls: functions called, instructions of modules."""
    async with warm(SCENARIOS[name], ticking=True) as (caller, marks):
        calls, called = await _traced(caller, marks, sys.setprofile, lambda tracer: tracer.calls)
        instructions, ran = await _traced(caller, marks, sys.settrace, lambda tracer: tracer.instructions)
    return Counts(calls, instructions), called, ran


@asynccontextmanager
async def warm(scenario: Scenario, *, ticking: bool = False) -> AsyncIterator[tuple[Caller, Marks]]:
    """Caches are filled, and the store's replies are those of a caller in the middle of its day."""
    marks = Marks(b"HTTP/1.1 ", scenario.at_once)
    async with gateway_with(
        scenario.policy_file,
        scenario.heads(),
        marks.answered,
        answer_bytes=scenario.answer_bytes,
        at_once=scenario.at_once,
        ticking=ticking,
    ) as (caller, store):
        await caller.call(scenario.warm_up)
        store.live = False
        marks.expected = b"HTTP/1.1 429 " if scenario.limit == 1 else b"HTTP/1.1 200 "
        await caller.call(WARM_UP)
        yield caller, marks


async def _traced(
    caller: Caller, marks: Marks, start: Callable[[Any], None], of: Callable[[Tracer], Any]
) -> tuple[int, Tracer]:
    marks.tracer, marks.totals = Tracer(), []
    sys._getframe().f_trace_opcodes = True  # CPython 3.12 tells opcodes only if somebody had asked before `settrace`
    gc.disable()
    try:
        with timers_slowed(TRACED_SLOWER):
            start(of(marks.tracer))
            await caller.call(COUNTED)
    finally:
        start(None)
        gc.enable()
    return marks.per_call(), marks.tracer


@contextmanager
def timers_slowed(factor: float) -> Iterator[None]:
    """Timers of the running loop that are set meanwhile fire so much later, as calls take so much longer."""
    loop: Any = asyncio.get_running_loop()
    call_later, time = loop.call_later, loop.time
    loop.call_later = lambda delay_s, *work, **context: call_later(delay_s * factor, *work, **context)
    loop.call_at = lambda when_s, *work, **context: call_later((when_s - time()) * factor, *work, **context)
    try:
        yield
    finally:
        del loop.call_later, loop.call_at


async def cpu_us(name: str, calls: int, samples: int) -> float:
    """CPU microseconds per call, all threads: the best of several samples. No system call for sockets is in it."""
    async with warm(SCENARIOS[name]) as (caller, marks):
        best = float("inf")
        for _ in range(samples):
            marks.totals.clear()
            began = time.process_time()
            await caller.call(calls)
            best = min(best, (time.process_time() - began) / calls * 1e6)
    return best


async def profile(name: str, calls: int) -> None:
    """Print where the time goes, by each function's own time."""
    async with warm(SCENARIOS[name]) as (caller, _marks):
        profiler = cProfile.Profile()
        profiler.enable()
        await caller.call(calls)
        profiler.disable()
    pstats.Stats(profiler).sort_stats("tottime").print_stats(50)


def run(work: Any) -> Any:
    """On the loop that the gateway uses."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(work)
    return uvloop.run(work)


def baseline() -> dict[str, Counts]:
    """Committed counts for this version of Python; empty when there are none."""
    known: dict[str, dict[str, dict[str, int]]] = json.loads(BASELINE.read_text()) if BASELINE.exists() else {}
    return {name: Counts(**counts) for name, counts in known.get(VERSION, {}).items()}


def update(counted: dict[str, Counts]) -> None:
    """Make these the baseline of this version of Python."""
    known = json.loads(BASELINE.read_text()) if BASELINE.exists() else {}
    known[VERSION] = {name: counts._asdict() for name, counts in counted.items()}
    BASELINE.write_text(json.dumps(known, indent=1) + "\n")


def too_dear(counted: dict[str, Counts], allowed: dict[str, Counts]) -> list[str]:
    """What costs over a tenth more than the baseline, in words."""
    return [
        f"{name}: {now} {what}, the baseline is {then} (python -m benchmarks.cost --functions 60 tells where)"
        for name, counts in counted.items()
        if name in allowed
        for what, now, then in zip(Counts._fields, counts, allowed[name], strict=True)
        if now > then * ALLOWED_RISE
    ]


def show_functions(functions: Counter[tuple[CodeType, str]], most: int) -> None:
    """How often each function is called per call; C functions with who calls them."""
    for (code, c_name), times in functions.most_common(most):
        where = "/".join(Path(code.co_filename).parts[-3:])
        called = f"{c_name}  from {code.co_qualname}" if c_name else code.co_qualname
        print(f"{times / COUNTED:8.2f}  {called}  ({where}:{code.co_firstlineno})")


def stage_of(module: str) -> str:
    """The stage of a call's life that a module works for: the first in STAGES that names it."""
    return next((stage for stage, parts in STAGES.items() for part in parts if module.startswith(part)), "else")


def _named(modules: Counter[str]) -> Counter[str]:
    return Counter({path.rpartition("/gateway/")[2]: times for path, times in modules.items()})


def stages(modules: Counter[str]) -> Counter[str]:
    """Instructions of each stage, of those of each module's file."""
    found: Counter[str] = Counter()
    for module, times in _named(modules).items():
        found[stage_of(module)] += times
    return found


def show_modules(modules: Counter[str]) -> None:
    """Instructions per call of each stage, then of each module."""
    for counted in (stages(modules), _named(modules)):
        for name, times in counted.most_common():
            print(f"{times / COUNTED:8.0f} {times / counted.total():5.0%}  {name}")


def main() -> int:
    """Count, time, compare."""
    parser = argparse.ArgumentParser(description="What one call costs in Python, counted instead of timed.")
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help="of " + ", ".join(SCENARIOS))
    parser.add_argument("--functions", type=int, default=0, metavar="N", help="show the N most called functions")
    parser.add_argument("--modules", action="store_true", help="show the instructions of each module")
    parser.add_argument("--profile", choices=list(SCENARIOS), help="cProfile of one scenario, nothing else")
    parser.add_argument("--calls", type=int, default=5000, help="timed calls per sample; 0: do not time")
    parser.add_argument("--samples", type=int, default=7)
    parser.add_argument("--update", action="store_true", help="write the baseline")
    options = parser.parse_args()
    if unknown := set(options.scenarios) - set(SCENARIOS):
        parser.error("unknown: " + " ".join(sorted(unknown)))
    if options.calls < bool(options.profile) or options.samples < 1:
        parser.error("there is nothing to time: --calls and --samples are at least 1")
    if options.profile:
        run(profile(options.profile, options.calls))
        return 0
    allowed, counted = baseline(), {}
    if not allowed:
        print(f"No baseline for Python {VERSION}: nothing is compared. --update makes one.")
    print(f"{'scenario':22}{'calls':>7}{'baseline':>10}{'instructions':>14}{'baseline':>10}{'CPU µs/call':>13}")
    for name in options.scenarios or SCENARIOS:
        counted[name], called, ran = run(count(name))
        timed = f"{run(cpu_us(name, options.calls, options.samples)):13.1f}" if options.calls else ""
        before = allowed.get(name, ("–", "–"))
        now = counted[name]
        print(f"{name:22}{now.calls:>7}{before[0]:>10}{now.instructions:>14}{before[1]:>10}{timed}", flush=True)
        if options.functions:
            show_functions(called.functions, options.functions)
        if options.modules:
            show_modules(ran.modules)
    if options.update:
        update(allowed | counted)
        return 0
    problems = too_dear(counted, allowed)
    print(*problems, sep="\n", end="\n" if problems else "")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
