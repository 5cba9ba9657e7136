"""What calls cost in Python, by scenario and by stage of a call's life: `benchmarks.cost`, for the results file."""

import json
import subprocess
import sys
from collections import Counter
from typing import Any

from benchmarks.cost import COUNTED, count, run, stages
from benchmarks.programs import Failed
from benchmarks.scenarios import SCENARIOS


def measured() -> dict[str, Any]:
    """By scenario: calls, instructions, and these by stage. The same on every run. Raises Failed.

    In a process of its own, whose clocks are turned by hand.
    """
    command = [sys.executable, "-m", "benchmarks.instructions"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        raise Failed(f"counting instructions ended: {done.stderr[-300:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _of(name: str) -> dict[str, Any]:
    counts, _called, ran = run(count(name))
    spent: Counter[str] = stages(ran.modules)
    return {**counts._asdict(), "stages": {stage: round(times / COUNTED) for stage, times in spent.most_common()}}


if __name__ == "__main__":
    print(json.dumps({name: _of(name) for name in SCENARIOS}))
