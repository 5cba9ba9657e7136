"""What can be proven from outside about decisions, though nobody outside knows when each was made.

A call was decided after it was sent and before the upstream had it (or, if refused, before its answer came). From these
spans alone follows what surely was too much, and what surely was refused without need: no verdict here depends on how
busy the machine was.
"""

from bisect import bisect_left
from collections.abc import Sequence
from typing import NamedTuple


class Span(NamedTuple):
    """Somewhen between these two times, in seconds, a call was decided."""

    from_s: float
    to_s: float


def most_in_any(times_s: Sequence[float], window_s: float) -> int:
    """The most of these times that lie in one window, wherever it begins."""
    times = sorted(times_s)
    return max((bisect_left(times, start + window_s) - at for at, start in enumerate(times)), default=0)


def most_surely_in_any(admitted: Sequence[Span], window_s: float) -> int:
    """The most calls that were all decided within less than a window, whatever happened inside their spans."""
    most = 0
    for start_s, _ in admitted:
        ends = sum(from_s >= start_s and to_s < start_s + window_s for from_s, to_s in admitted)
        most = max(most, ends)
    return most


def needlessly_refused(admitted: Sequence[Span], refused: Sequence[Span], limit: int, window_s: float) -> list[Span]:
    """Refusals by a rolling window for which there cannot have been `limit` calls in the window before them."""
    return [
        one
        for one in refused
        if sum(to_s > one.from_s - window_s and from_s < one.to_s for from_s, to_s in admitted) < limit
    ]


def surely_over_bucket(admitted: Sequence[Span], burst: int, per_s: float) -> float:
    """By how much a token bucket surely gave more than `burst + per_s * t` in some span of t seconds; 0 = it did not."""
    worst = 0.0
    for start_s, _ in admitted:
        ends = sorted(to_s for from_s, to_s in admitted if from_s >= start_s)
        worst = max([worst, *(n - burst - per_s * (end - start_s) for n, end in enumerate(ends, 1))])
    return worst


def needlessly_refused_by_bucket(
    admitted: Sequence[Span], refused: Sequence[Span], burst: int, per_s: float
) -> list[Span]:
    """Refusals by a token bucket that surely had a token: it began full, and too few calls can have emptied it."""
    needless = []
    for one in refused:
        before = sorted((to_s for from_s, to_s in admitted if from_s < one.to_s), reverse=True)
        spent = max((n - per_s * max(0.0, one.from_s - to_s) for n, to_s in enumerate(before, 1)), default=0.0)
        if spent <= burst - 1:
            needless.append(one)
    return needless
