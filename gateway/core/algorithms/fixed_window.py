"""Fixed window: `quota` units in each window of the store's clock.

Windows begin at multiples of `window_us`, or at the borders of the limit's calendar.

Cheap and easy to explain, but up to twice the quota may pass in a span of one window, around a border.
"""

from typing import NamedTuple, Self

from gateway.core.algorithms.bounds import most_owed
from gateway.core.calendars import borders_us, window_at
from gateway.core.limits import Limit


class Tally(NamedTuple):
    """`used` units were charged in the window in which `last_us` lies; `last_us` is the last charge."""

    last_us: int = 0
    used: int = 0

    def settled(self, limit: Limit, now_us: int) -> Self:
        """The clock stepped back over a border: what was used counts in the present window, so at most to its end."""
        begin_us, length_us = window(limit, now_us)
        return self._replace(last_us=now_us) if self.last_us >= begin_us + length_us else self

    def present(self, limit: Limit, now_us: int) -> tuple[int, int, int]:
        used = self._used(limit, now_us)
        if used == 0:
            return limit.quota, 0, 0
        border_us = _until_border_us(limit, now_us)
        return max(0, limit.quota - used), border_us, border_us

    def retry_us(self, limit: Limit, cost: int, now_us: int) -> int:
        return 0 if self._used(limit, now_us) + cost <= limit.quota else _until_border_us(limit, now_us)

    def charged(self, limit: Limit, cost: int, now_us: int, lease: str) -> "Tally":
        return Tally(now_us, self._used(limit, now_us) + cost)

    def corrected(self, limit: Limit, delta: int, at_us: int, now_us: int) -> "Tally":
        """Less: only in the window of the charge. More: in the present one, whenever the charge was."""
        used = self._used(limit, now_us)
        if delta < 0 and (used == 0 or at_us < window(limit, now_us)[0]):
            return self
        after = max(0, min(used + delta, max(used, most_owed(limit))))
        return Tally(now_us, after) if after != used else self

    def _used(self, limit: Limit, now_us: int) -> int:
        begin_us, length_us = window(limit, now_us)
        return self.used if begin_us <= self.last_us < begin_us + length_us else 0


def window(limit: Limit, now_us: int) -> tuple[int, int]:
    """(begin, length) of the window in which a moment lies."""
    if limit.calendar is None:
        return now_us - now_us % limit.window_us, limit.window_us
    return window_at(borders_us(limit.calendar, now_us), now_us)


def _until_border_us(limit: Limit, now_us: int) -> int:
    begin_us, length_us = window(limit, now_us)
    return begin_us + length_us - now_us
