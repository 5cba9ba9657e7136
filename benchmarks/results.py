"""The results file: every sample, with what was measured and where."""

import json
import os
import platform
import re
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("results.json")
PROGRAMS = {"wrk": ("wrk", "-v"), "nginx": ("nginx", "-v"), "redis-server": ("redis-server", "--version")}

Results = dict[str, Any]


def begin(path: Path) -> Results:
    """What is known already, and what it runs on now."""
    known: Results = json.loads(path.read_text()) if path.exists() else {}
    return known | {"machine": machine()}


def merge(results: Results, part: str, found: Any, *, add: bool) -> None:
    """Put in the samples of a part, with `add` to those that are there, and say what they are of."""
    measured = datetime.now(UTC).isoformat(timespec="minutes")
    stamp = {"commit": commit(), "measured": measured, "processor": processor()}
    results["of"] = results.get("of", {}) | {part: stamp}
    before = results.get(part) if add else None
    if before and isinstance(found, list):
        results[part] = before + _later(found, 1 + max(row.get("round", 0) for row in before))
    elif before and part == "latency":
        results[part] = {name: before[name] + rows for name, rows in found.items()}
    else:
        results[part] = found


def _later(rows: list[dict[str, Any]], rounds: int) -> list[dict[str, Any]]:
    """With their rounds counted on, so that none is taken for one of those before."""
    return [row | {"round": row["round"] + rounds} if "round" in row else row for row in rows]


def machine() -> dict[str, str]:
    """What it ran on, beside the processor: parts may have been measured on several."""
    found = {name: _said(command) for name, command in PROGRAMS.items()}
    return {
        "system": platform.platform(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "uvloop": version("uvloop"),
        **found,
    }


def processor() -> str:
    """How many of which."""
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return f"{os.cpu_count()} × {model[1] if model else platform.machine()}"


def commit() -> str:
    """What was measured: the revision, with a plus when files of the gateway differ from it."""
    revision = _said(("git", "rev-parse", "--short", "HEAD"))
    return revision + ("+" if _said(("git", "status", "--porcelain", "--", "gateway")) else "")


def _said(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parent)
    except OSError:
        return ""
    lines = (done.stdout + done.stderr).strip().splitlines()
    return lines[0].partition(" sha=")[0] if lines else ""
