"""Which store the workers get: the configured one, an embedded server of our own, or counters inside one process."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gateway.settings import Settings


@dataclass(frozen=True, slots=True)
class StorePlan:
    """url: what workers open. note: one line for the person who started the gateway. workers: how many may run."""

    url: str
    note: str
    workers: int


@contextmanager
def store(settings: Settings, directory: Path) -> Iterator[StorePlan]:
    """placeholder until the embedded server lands."""
    yield StorePlan(settings.store.url, "", settings.workers)
