"""Token bucket: `quota` units at once, then `rate` units every `per_us`, to the microsecond.

The level is kept in units times `per_us`, so that a microsecond brings exactly `rate` and no fraction is ever lost.
A bucket that was never used is full. In any span of s microseconds it admits at most quota + rate * s / per_us.
"""

from typing import NamedTuple, Self

from gateway.core.algorithms.bounds import lowest_level
from gateway.core.limits import Limit


def ceil_div(amount: int, by: int) -> int:
    """`amount / by`, rounded up."""
    return -(-amount // by)


class Bucket(NamedTuple):
    """`level / per_us` units were there at `at_us`; below 0 is owed. `per_us` 0: never used, full."""

    level: int = 0
    at_us: int = 0
    per_us: int = 0

    def settled(self, limit: Limit, now_us: int) -> Self:
        """The clock stepped back behind the last charge: refill goes on from now, and nothing is added."""
        return self if self.at_us <= now_us else self._replace(at_us=now_us)

    def present(self, limit: Limit, now_us: int) -> tuple[int, int, int]:
        level = self._level(limit, now_us)
        missing = limit.quota * limit.per_us - level
        if missing == 0:
            return limit.quota, 0, 0
        next_unit = limit.per_us - (level % limit.per_us if level > 0 else level)
        return max(0, level // limit.per_us), ceil_div(missing, limit.rate), ceil_div(next_unit, limit.rate)

    def retry_us(self, limit: Limit, cost: int, now_us: int) -> int:
        return max(0, ceil_div(cost * limit.per_us - self._level(limit, now_us), limit.rate))

    def charged(self, limit: Limit, cost: int, now_us: int, lease: str) -> "Bucket":
        return Bucket(self._level(limit, now_us) - cost * limit.per_us, now_us, limit.per_us)

    def corrected(self, limit: Limit, delta: int, at_us: int, now_us: int) -> "Bucket":
        """What comes back never makes it more than full."""
        level = self._level(limit, now_us) - delta * limit.per_us
        return Bucket(max(lowest_level(limit), min(limit.quota * limit.per_us, level)), now_us, limit.per_us)

    def _level(self, limit: Limit, now_us: int) -> int:
        """The level at `now_us`, in units times the limit's own `per_us`."""
        full = limit.quota * limit.per_us
        if self.per_us == 0:
            return full
        level = self.level
        if self.per_us != limit.per_us:  # other numbers since: keep the whole units
            level = level // self.per_us * limit.per_us
        if level < 0:
            level = max(level, lowest_level(limit))
        return min(full, level + limit.rate * (now_us - self.at_us))
