"""What a peer is to the benchmark."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

LIMITS = {"admitted": 10_000_000, "refused": 1}
"""Calls per 10 minutes for one tenant: nobody is refused, or everybody but the first."""


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
    """

    name: str
    command: Callable[[Place], list[str]]
    counts: str
    how: str
