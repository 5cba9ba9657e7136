"""Counting workers that died: only their parent knows, and it serves no scrape.

prometheus_client reads PROMETHEUS_MULTIPROC_DIR when it is first imported, so it is not imported before it is needed.
"""

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.observe.instruments import Metric


def count_restart() -> None:
    """One more worker died and will be replaced. For the supervisor, once PROMETHEUS_MULTIPROC_DIR is set."""
    _restarts().child().inc()


@cache
def _restarts() -> "Metric":
    from gateway.observe.instruments import make

    return make("gateway_worker_restarts_total", None)
