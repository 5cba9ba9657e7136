"""Counting workers that died, or did not hear something: only their parent knows, and it serves no scrape.
PROMETHEUS_MULTIPROC_DIR is set."""

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.observe.metrics.instruments import Metric


def count_restart() -> None:
    """One more worker died and will be replaced."""
    _metric("gateway_worker_restarts_total").child().inc()


def count_hang() -> None:
    """One more worker hung and was killed. If it was to go on, it is replaced, which counts too."""
    _metric("gateway_worker_hangs_total").child().inc()


def count_dropped_message() -> None:
    """A worker was told something and did not get it."""
    _metric("gateway_worker_messages_dropped_total").child().inc()


@cache
def _metric(name: str) -> "Metric":
    from gateway.observe.metrics.instruments import make, shared  # a supervisor whose workers live never needs them

    shared()
    return make(name, None)
