"""Reports early that a caller comes close to a limit: once per caller and window, while something is still left."""

from collections.abc import Callable

from gateway.core.limits import Limit, Verdict
from gateway.observe.log.logger import event
from gateway.record import CallRecord

MAX_CALLERS = 10_000
"""Remembered at once; beyond it the memory is emptied, so that a caller may be named a second time."""


class NearLimit:
    """A `RecordSink` that reports `limit.near`. Each worker has its own memory.

    on_near  told of every such call
    """

    def __init__(self, on_near: Callable[[Limit], None] = lambda _limit: None) -> None:
        self._on_near = on_near
        self._quiet_until: dict[str, float] = {}  # partition key → monotonic seconds

    def emit(self, record: CallRecord) -> None:
        """Report the limits that this admitted call left at least 80 % used. Never raises."""
        decision = record.decision
        if decision is None or not decision.admitted:
            return
        verdicts = decision.verdicts
        for position, level in record.ask.kind.near_at:
            if verdicts[position].remaining <= level:
                limit, key, _ = record.charges[position]
                self._on_near(limit)
                self._report(record, limit, key, verdicts[position])

    def _report(self, record: CallRecord, limit: Limit, key: str, verdict: Verdict) -> None:
        if self._quiet_until.get(key, 0.0) > record.ended:
            return
        if len(self._quiet_until) >= MAX_CALLERS:
            self._quiet_until.clear()
        self._quiet_until[key] = record.ended + (verdict.reset_us if limit.calendar else limit.window_us) / 1e6
        event(
            "limit.near",
            "Limit is nearly used up",
            limit_name=limit.name,
            limit=limit.quota,
            limit_remaining=verdict.remaining,
            limit_reset_s=verdict.reset_us // 1000 / 1e3,
            route=record.route,
            tenant=record.tenant or None,
            account=record.account or None,
            connection=record.connection or None,
        )
