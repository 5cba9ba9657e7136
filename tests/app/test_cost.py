"""What a call costs in function calls and bytecode instructions does not creep up: `benchmarks/cost.py` counts it.

Counts are the same on every run, however busy the machine is. When a rise is worth it:
`python -m benchmarks.cost --update`.
"""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from benchmarks import cost
from benchmarks.cost import Counts, too_dear
from benchmarks.scenarios import SCENARIOS

ROOT = Path(__file__).parents[2]


def test_no_scenario_costs_over_a_tenth_more_than_its_baseline() -> None:
    """In a process of its own: what pytest puts around a call would be counted too."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.cost", "--calls", "0"], cwd=ROOT, capture_output=True, text=True, timeout=150
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_there_is_a_baseline_for_every_python_that_is_supported() -> None:
    named = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["classifiers"]
    versions = re.findall(r"Python :: (3\.\d+)$", "\n".join(named), re.MULTILINE)
    known = json.loads(cost.BASELINE.read_text())
    assert {version: set(scenarios) for version, scenarios in known.items()} == {
        one: set(SCENARIOS) for one in versions
    }


def test_where_there_is_no_baseline_it_says_so() -> None:
    """In a process of its own too: clocks are turned by hand."""
    program = "import sys; from benchmarks import cost; cost.VERSION = '3.99'; sys.exit(cost.main())"
    done = subprocess.run(
        [sys.executable, "-c", program, "refused", "--calls", "0"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "No baseline for Python 3.99" in done.stdout


def test_a_tenth_more_is_allowed_and_one_more_than_that_is_named() -> None:
    allowed = {"admitted": Counts(200, 3000)}
    assert too_dear({"admitted": Counts(220, 3300)}, allowed) == []
    assert too_dear({"new": Counts(9999, 9999)}, allowed) == []
    (problem,) = too_dear({"admitted": Counts(221, 3300)}, allowed)
    assert problem.startswith("admitted: 221 calls, the baseline is 200")


@pytest.mark.parametrize("options", [["--profile", "admitted", "--calls", "0"], ["--calls", "-1"], ["--samples", "0"]])
def test_nothing_to_time_is_an_error(options: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["cost", *options])
    with pytest.raises(SystemExit) as ended:
        cost.main()
    assert ended.value.code == 2
