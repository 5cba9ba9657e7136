"""Counting workers that died: only their parent knows, and it serves no scrape."""

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.observe.metrics.instruments import Metric


def count_restart() -> None:
    """One more worker died and will be replaced. For the supervisor, once PROMETHEUS_MULTIPROC_DIR is set."""
    _restarts().child().inc()


@cache
def _restarts() -> "Metric":
    from gateway.observe.metrics.instruments import make, shared  # a supervisor whose workers live never needs them

    shared()
    return make("gateway_worker_restarts_total", None)
