"""Reports that an upstream's pause begins: one event and one count, from the one worker that began it."""

from gateway.core.guards import Guard
from gateway.observe.log.logger import event
from gateway.observe.metrics.sink import Metrics
from gateway.observe.reports.whose import whose


def upstream_paused(metrics: Metrics, guard: Guard, wait_us: int) -> None:
    """Report one pause, and how long it is now: later answers may make it longer."""
    metrics.on_upstream_paused(guard.rule.name)
    event(
        "upstream.paused",
        "Upstream wants no calls yet",
        "warning",
        upstream=guard.rule.name,
        **whose(guard),
        pause_s=round(wait_us / 1e6, 3),
    )
