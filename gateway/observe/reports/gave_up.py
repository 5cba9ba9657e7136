"""Reports that a call is not, or no longer, tried again."""

from gateway.core.retry import Retry, Stop
from gateway.observe.log.logger import event
from gateway.observe.metrics.sink import Metrics
from gateway.record import CallRecord

ABOUT_THE_CALL = ("request_id", "route", "upstream", "operation", "entity", "tenant", "account", "connection")


def gave_up(metrics: Metrics, record: CallRecord, retry: Retry, stop: Stop) -> None:
    """An event for calls that were tried more than once; of all others the call's own line says enough."""
    if stop is Stop.BUDGET:
        metrics.on_retry_budget_exhausted(record.upstream)
    if retry.told and record.attempts is not None and len(record.attempts) > 1:
        about = {name: value for name in ABOUT_THE_CALL if (value := getattr(record, name))}
        message = "Attempts at an upstream given up"
        event("upstream.gave_up", message, retry.told, **about, attempts=record.attempts, reason=stop.value)
