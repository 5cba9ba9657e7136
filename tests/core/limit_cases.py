"""Limits and random call patterns for the tests of the algorithms, and a partition that lives through them."""

from dataclasses import dataclass, field
from typing import Self

from hypothesis import strategies as st

from gateway.core.algorithms import State
from gateway.core.decision import decide
from gateway.core.limits import Algorithm, Charge, Limit, Verdict

SECOND_US = 1_000_000


def rolling(quota: int = 5, window_us: int = 60, quantum_us: int = 1, **more: object) -> Limit:
    return Limit("r", Algorithm.ROLLING_WINDOW, quota, window_us, ("tenant",), quantum_us=quantum_us, **more)


def bucket(quota: int = 5, rate: int = 1, per_us: int = 10, **more: object) -> Limit:
    refill_us = -(-quota * per_us // rate)
    return Limit("b", Algorithm.TOKEN_BUCKET, quota, refill_us, ("tenant",), rate=rate, per_us=per_us, **more)


def fixed(quota: int = 5, window_us: int = 60, **more: object) -> Limit:
    return Limit("f", Algorithm.FIXED_WINDOW, quota, window_us, ("tenant",), **more)


def concurrency(quota: int = 5, window_us: int = 60, **more: object) -> Limit:
    return Limit("c", Algorithm.CONCURRENCY, quota, window_us, ("tenant",), **more)


def precise(quota: int, window_us: int, precision: int) -> Limit:
    return rolling(quota, window_us, -(-window_us // precision))


quotas = st.integers(1, 12)
windows = st.integers(1, 200)
exact_rolling_limits = st.builds(rolling, quotas, windows)
precise_rolling_limits = st.builds(precise, quotas, windows, st.integers(1, 9))
rolling_limits = exact_rolling_limits | precise_rolling_limits
bucket_limits = st.builds(bucket, quotas, st.integers(1, 7), st.integers(1, 60))
fixed_limits = st.builds(fixed, quotas, windows)
concurrency_limits = st.builds(concurrency, quotas, windows)
timed_limits = rolling_limits | bucket_limits | fixed_limits
any_limit = timed_limits | concurrency_limits
waits_us = st.integers(0, 3) | st.integers(0, 90) | st.integers(0, 1000)
calls = st.lists(st.tuples(waits_us, st.integers(1, 4)), min_size=1, max_size=60)
"""What a caller does: wait so long, then ask for so many units."""


@dataclass
class Partition:
    """One partition of one limit in the course of time. `admitted` is what an observer outside sees."""

    limit: Limit
    now_us: int = 1_000_000_000
    state: State | None = None
    admitted: list[tuple[int, int]] = field(default_factory=list)
    serial: int = 0

    @classmethod
    def after(cls, limit: Limit, pattern: list[tuple[int, int]]) -> Self:
        """A partition through which these calls have gone."""
        partition = cls(limit)
        for wait_us, cost in pattern:
            partition.ask(cost, after_us=wait_us)
        return partition

    def ask(self, cost: int = 1, *, after_us: int = 0) -> Verdict:
        """Let time pass, then make a call. Its cost is cut to the quota."""
        self.now_us += after_us
        self.serial += 1
        cost = min(cost, self.limit.quota)
        charge = Charge(self.limit, "p", cost)
        decision, (self.state,) = decide([charge], [self.state], self.now_us, f"lease-{self.serial}")
        if decision.admitted:
            self.admitted.append((self.now_us, cost))
        return decision.verdicts[0]

    def would(self, cost: int, *, after_us: int = 0) -> Verdict:
        """The answer to a call made so much later, without making it."""
        charge = Charge(self.limit, "p", min(cost, self.limit.quota))
        decision, _ = decide([charge], [self.state], self.now_us + after_us, "", commit=False)
        return decision.verdicts[0]

    def used_in(self, from_us: int, to_us: int) -> int:
        """Units admitted at from_us <= t < to_us, by the observer's list."""
        return sum(cost for time_us, cost in self.admitted if from_us <= time_us < to_us)

    def most_in_any(self, span_us: int) -> int:
        """The most units admitted in any half-open span: one that begins with an admitted call is the worst."""
        return max((self.used_in(start, start + span_us) for start, _ in self.admitted), default=0)
