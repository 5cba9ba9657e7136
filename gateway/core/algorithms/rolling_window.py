"""Rolling window: at most `quota` units in any `window_us`, exactly.

Every charge is an entry (date, units). An entry charged at t is dated ceil(t / quantum) * quantum and counts while
now < date + window_us. Entries of one date are one entry. A call is admitted when the counting units and its cost
fit the quota. Rounding dates up means that an entry never counts too short: with quantum 1 the window is exact, with
a larger one (`precision: N`) nothing is ever admitted that the exact window would refuse, and the log holds at most
N + 1 entries.

Instead of its units an entry holds the units charged before it. Units in use, and the moment when enough of them
are back, are then one binary search away; nothing is summed up and nothing has to be cleaned up before reading.
"""

from array import array
from bisect import bisect_left, bisect_right
from typing import NamedTuple, Self

from gateway.core.algorithms.bounds import most_owed
from gateway.core.limits import Limit

MOST_MOVED = 1_000
"""A charge that has more entries behind it is not made smaller: that would be too much work for one call."""

_COMPACT_FROM = 64  # forget expired entries in front once they are this many and half of the arrays


def round_up(time_us: int, quantum_us: int) -> int:
    """The first multiple of `quantum_us` that is not before `time_us`."""
    return -(-time_us // quantum_us) * quantum_us


class Log(NamedTuple):
    """The entries `first` to `end` - 1 of two parallel arrays, oldest first.

    newest_us   date of the newest entry
    quantum_us  what the newest entry's date was rounded up to
    total       units charged up to and including the newest entry, since the arrays began
    stamps      dates on a scale of the log's own: only differences matter. So a clock step is one new `newest_us`.
    before      units charged before each entry, since the arrays began

    The arrays are only ever appended to, and shared between a state and its successors: a state is a value although
    a charge costs O(1).
    """

    newest_us: int = 0
    quantum_us: int = 1
    total: int = 0
    stamps: "array[int]" = array("q")
    before: "array[int]" = array("q")
    first: int = 0
    end: int = 0

    def settled(self, limit: Limit, now_us: int) -> Self:
        """A newest entry dated later than one of `now_us` could be: the clock stepped back. Shift the whole log."""
        latest_us = round_up(now_us, self.quantum_us)
        return self if self.newest_us <= latest_us else self._replace(newest_us=latest_us)

    def present(self, limit: Limit, now_us: int) -> tuple[int, int, int]:
        live = self._live(limit, now_us)
        if live == self.end:
            return limit.quota, 0, 0
        over = max(0, self.total - self.before[live] - limit.quota)  # the quota was lowered meanwhile
        remaining = max(0, limit.quota - self.total + self.before[live])
        return remaining, self.newest_us + limit.window_us - now_us, self._freed_us(live, over + 1, limit, now_us)

    def retry_us(self, limit: Limit, cost: int, now_us: int) -> int:
        live = self._live(limit, now_us)
        if live == self.end:
            return 0
        excess = self.total - self.before[live] + cost - limit.quota
        return self._freed_us(live, excess, limit, now_us) if excess > 0 else 0

    def charged(self, limit: Limit, cost: int, now_us: int, lease: str) -> "Log":
        dated_us = round_up(now_us, limit.quantum_us)
        live = self._live(limit, now_us)
        if live == self.end:
            return Log(dated_us, limit.quantum_us, cost, array("q", (0,)), array("q", (0,)), 0, 1)
        if dated_us <= self.newest_us:  # earlier only when the quantum was made smaller meanwhile
            quantum_us = limit.quantum_us if dated_us == self.newest_us else self.quantum_us
            return self._replace(quantum_us=quantum_us, total=self.total + cost, first=live)
        stamps, before, live = self._open_end(live)
        stamps.append(stamps[-1] + dated_us - self.newest_us)
        before.append(self.total)
        return Log(dated_us, limit.quantum_us, self.total + cost, stamps, before, live, len(stamps))

    def corrected(self, limit: Limit, delta: int, at_us: int, now_us: int) -> "Log":
        """Less: the entry of `at_us`, while it counts, becomes smaller or goes. More: an entry of now."""
        live = self._live(limit, now_us)
        if delta < 0:
            return self if live == self.end else self._smaller(live, -delta, round_up(at_us, limit.quantum_us))
        used = self.total - self.before[live] if live < self.end else 0
        more = min(delta, most_owed(limit) - used)
        return self.charged(limit, more, now_us, "") if more > 0 else self

    def _smaller(self, live: int, units: int, dated_us: int) -> "Log":
        """`units` less, but not below zero, in the counting entry of that date; itself when there is none."""
        wanted = self.stamps[self.end - 1] - (self.newest_us - dated_us)
        at = bisect_left(self.stamps, wanted, live, self.end)
        if at == self.end or self.stamps[at] != wanted or self.end - at > MOST_MOVED:
            return self
        held = (self.before[at + 1] if at + 1 < self.end else self.total) - self.before[at]
        back = min(units, held)
        keep = at if back == held else at + 1
        stamps = self.stamps[self.first : keep] + self.stamps[at + 1 : self.end]
        later = array("q", [before - back for before in self.before[at + 1 : self.end]])
        if not stamps:
            return Log()
        newest_us = self.newest_us - (self.stamps[self.end - 1] - stamps[-1])
        before = self.before[self.first : keep] + later
        return Log(newest_us, self.quantum_us, self.total - back, stamps, before, 0, len(stamps))

    def _live(self, limit: Limit, now_us: int) -> int:
        """Index of the oldest entry that still counts; `end` when none does."""
        if self.end == 0:
            return 0
        expired = self.stamps[self.end - 1] - (self.newest_us + limit.window_us - now_us)
        return bisect_right(self.stamps, expired, self.first, self.end)

    def _freed_us(self, live: int, units: int, limit: Limit, now_us: int) -> int:
        """How long until the entries from `live` on have given back at least `units`."""
        last = bisect_left(self.before, self.before[live] + units, live + 1, self.end) - 1
        lag_us = self.stamps[self.end - 1] - self.stamps[last]
        return self.newest_us - lag_us + limit.window_us - now_us

    def _open_end(self, live: int) -> "tuple[array[int], array[int], int]":
        """Arrays that may be appended to, and the index of `live` in them.

        Copies when another successor has appended already, or when expired entries have become the larger part.
        """
        if self.end == len(self.stamps) and (live < _COMPACT_FROM or 2 * live < self.end):
            return self.stamps, self.before, live
        return self.stamps[live : self.end], self.before[live : self.end], 0
