"""Counts of calls over a rolling window, in a fixed number of parts: what a breaker's rates are made of.

Memory does not grow with traffic. The window reaches back between 9/10 of its length and all of it, because its oldest
part goes as a whole.
"""

from typing import NamedTuple

PARTS = 10
MAX_COUNT = 2**29
"""Of one part; more are not counted. So rates in millionths are exact in doubles: PARTS * MAX_COUNT * 10^6 < 2^53."""

Counts = tuple[int, int, int]
_NONE: Counts = (0, 0, 0)


class Tallies(NamedTuple):
    """`parts` are (calls, failed, slow), newest first; part number n holds the times from n * width_us on."""

    width_us: int = 0
    newest: int = 0
    parts: tuple[Counts, ...] = ()

    def counting(self, window_us: int, now_us: int, counts: Counts) -> "Tallies":
        """With `counts` more at `now_us`. Counts of a window of another length are forgotten.

        If the clock stepped back, the newest part is dated now and the others keep their distance.
        """
        width_us = -(-window_us // PARTS)
        number = now_us // width_us
        ahead = max(0, number - self.newest) if self.width_us == width_us else PARTS
        parts = ((_NONE,) * ahead + self.parts)[:PARTS] if ahead < PARTS else (_NONE,) * PARTS
        newest = tuple(min(MAX_COUNT, known + more) for known, more in zip(parts[0], counts, strict=True))
        return Tallies(width_us, number, ((newest[0], newest[1], newest[2]), *parts[1:]))

    def totals(self) -> Counts:
        """All that is remembered, as of the last `counting`."""
        return (
            sum(part[0] for part in self.parts),
            sum(part[1] for part in self.parts),
            sum(part[2] for part in self.parts),
        )
