"""What a peer is to the benchmark."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

LIMITS = {"admitted": 10_000_000, "refused": 1}
"""Calls per 10 minutes for one tenant: nobody is refused, or everybody but the first."""
TOOLS = Path(os.environ.get("GATEWAY_BENCH_TOOLS", Path.home() / ".cache" / "ratelimit-gateway-bench"))
"""Where `benchmarks.peers.install` puts what comes from PyPI and npm: `venv`, `node`."""


@dataclass(frozen=True)
class Place:
    """Where a peer finds what it needs. `folder` is empty and its own; `log` is where its access log goes."""

    port: int
    upstream_port: int
    store_port: int
    folder: Path
    limit: int

    @property
    def log(self) -> Path:
        return self.folder / "access.log"


@dataclass(frozen=True)
class Peer:
    """A proxy that limits calls per X-Tenant and writes one JSON line per call.

    command  writes its configuration into the place's folder and returns what to start
    counts   where its counters live, for the table
    how      its algorithm
    version  what is measured, in words; raises Missing when it is not installed
    """

    name: str
    command: Callable[[Place], list[str]]
    counts: str
    how: str
    version: Callable[[], str]


class Missing(Exception):
    """A peer is not installed. The text says what to do."""


def tool(name: str) -> str:
    """Path of a program: the one that was installed for the benchmark, else one beside Python or on PATH."""
    places = (TOOLS / "venv" / "bin" / name, Path(sys.executable).with_name(name))
    found = next((str(place) for place in places if place.exists()), shutil.which(name))
    if found is None:
        raise Missing(f"{name} is not installed: python -m benchmarks.peers.install")
    return found


def debian(*packages: str) -> str:
    """Versions of Debian's packages. Raises Missing."""
    asked = ["dpkg-query", "-W", "-f", "${Package} ${Version} ${Status}\\n", *packages]
    try:
        said = subprocess.run(asked, capture_output=True, text=True, check=False).stdout
    except OSError:
        return "not Debian's"
    there = [line.split() for line in said.splitlines() if line.endswith(" installed")]
    if absent := set(packages) - {name for name, *_ in there}:
        raise Missing(f"apt-get install {' '.join(sorted(absent))}")
    return ", ".join(f"{name} {version}" for name, version, *_ in there)
