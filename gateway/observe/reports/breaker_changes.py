"""Reports that a breaker changes its state: one event and one count, from the one worker that caused it."""

from gateway.core.guards import Change, Guard, Reason, State
from gateway.observe.log.logger import event
from gateway.observe.metrics.sink import Metrics
from gateway.observe.reports.whose import whose

_NEWS = {
    State.OPEN: ("breaker.opened", "Breaker opened", "warning"),
    State.HALF_OPEN: ("breaker.half_open", "Breaker lets a probe through", "info"),
    State.CLOSED: ("breaker.closed", "Breaker closed", "info"),
}


def breaker_changed(metrics: Metrics, guard: Guard, change: Change) -> None:
    """Report one transition. Rates are shares of the calls that it judged by."""
    event_name, message, level = _NEWS[change.state]
    metrics.on_breaker_change(guard.rule.name, change.state.name.lower())
    event(
        event_name,
        message,
        level,
        breaker=guard.rule.name,
        **whose(guard),
        reason=change.reason.name.lower(),
        calls=change.calls or None,
        failure_rate=round(change.failed / change.calls, 4) if change.calls else None,
        slow_rate=round(change.slow / change.calls, 4) if change.reason is Reason.SLOW_CALLS else None,
        next_probe_s=round(change.wait_us / 1e6, 3) if change.state is State.OPEN else None,
    )
