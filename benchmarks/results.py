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


def begin(path: Path, parts: Sequence[str], *, add: bool) -> Results:
    """What is known already and stays: other parts of the same file, and with `add` the samples of these parts too."""
    known: Results = json.loads(path.read_text()) if path.exists() else {}
    for part in parts:
        if not add:
            known.pop(part, None)
    return known | {
        "machine": machine(),
        "commit": commit(),
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def merge(results: Results, part: str, found: Any) -> None:
    """Add samples of a part to those that are there."""
    before = results.get(part)
    if isinstance(found, list):
        results[part] = (before or []) + found
    elif part == "latency" and before:
        results[part] = {name: before[name] + rows for name, rows in found.items()}
    else:
        results[part] = found


def machine() -> dict[str, str]:
    """What it ran on."""
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    found = {name: _said(command) for name, command in PROGRAMS.items()}
    return {
        "system": platform.platform(),
        "processor": f"{os.cpu_count()} × {model[1] if model else platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "uvloop": version("uvloop"),
        **found,
    }


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
