"""What happened in one worker in the last quarter of an hour: a point every five seconds, for whoever looks later.

Costs nothing per call: like the pulse it is read off what metrics count anyway. Points are numbered by wall-clock time,
so those of several workers belong together.
"""

from collections import Counter, deque
from typing import Any

from gateway.observe.metrics.totals import Totals

SLOT_S = 5
KEPT_S = 15 * 60


class History:
    """One worker's points of the last `KEPT_S` seconds, made by whoever calls `beat`."""

    def __init__(self, totals: Totals) -> None:
        self._totals = totals
        self._points: deque[dict[str, Any]] = deque(maxlen=KEPT_S // SLOT_S)
        self._began_at: float | None = None
        self._outcomes: Counter[tuple[str, int]] = Counter()
        self._stages: dict[str, tuple[int, float]] = {}

    def beat(self, at: float) -> None:
        """It is `at` now (seconds since 1970). At the first beat of a slot the one before is closed."""
        if self._began_at is not None and at // SLOT_S == self._began_at // SLOT_S:
            return
        outcomes = self._totals.outcomes.copy()
        stages = {name: (sum(summed.counts), summed.sum_s) for name, summed in self._totals.stages.items()}
        if self._began_at is not None and at > self._began_at:
            self._points.append(self._point(at - self._began_at, outcomes, stages))
        self._began_at, self._outcomes, self._stages = at, outcomes, stages

    def _point(self, over_s: float, outcomes: Counter[tuple[str, int]], stages: dict[str, tuple[int, float]]) -> Any:
        assert self._began_at is not None
        return {
            "slot": int(self._began_at // SLOT_S),
            "over_s": over_s,
            "outcomes": [[*key, count] for key, count in (outcomes - self._outcomes).items()],
            "stages": {name: self._grown(name, after) for name, after in stages.items()},
        }

    def _grown(self, name: str, after: tuple[int, float]) -> tuple[int, float]:
        """(observations, seconds) since the slot began."""
        count, sum_s = self._stages.get(name, (0, 0.0))
        return after[0] - count, after[1] - sum_s

    def points(self) -> list[dict[str, Any]]:
        """The oldest first: JSON. `over_s` is how long the point really took."""
        return list(self._points)
