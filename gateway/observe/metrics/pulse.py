"""What happened lately in one worker, for people who look now: the difference between two moments of what was counted.

Costs nothing per call: it is read off what metrics count anyway, when they are poured.
"""

from collections import deque
from typing import Any

from gateway.observe.metrics.history import History
from gateway.observe.metrics.totals import Totals

WINDOW_S = 10.0


class Pulse:
    """Remembers moments of the last `WINDOW_S` seconds, and has the history of what was before."""

    def __init__(self, totals: Totals) -> None:
        self.history = History(totals)
        self._totals = totals
        self._moments: deque[tuple[float, Any]] = deque()

    def beat(self, now_s: float, at: float) -> None:
        """Remember this moment, and forget those that are out of sight but one. `at`: its wall-clock time."""
        self.history.beat(at)
        self._moments.append((now_s, self._moment()))
        while len(self._moments) > 2 and self._moments[1][0] <= now_s - WINDOW_S:
            self._moments.popleft()

    def _moment(self) -> Any:
        totals = self._totals
        stages = {name: (summed.counts, summed.sum_s) for name, summed in totals.stages.items()}
        return totals.outcomes.copy(), totals.decisions.copy(), stages

    def lately(self) -> dict[str, Any]:
        """What can be added up with what other workers say: JSON, `over_s` seconds long."""
        if not self._moments:
            return {"over_s": 0.0, "outcomes": [], "decisions": [], "stages": {}}
        (began_s, (outcomes, decisions, stages)), (ended_s, now) = self._moments[0], self._moments[-1]
        return {
            "over_s": ended_s - began_s,
            "outcomes": [[*key, count] for key, count in (now[0] - outcomes).items()],
            "decisions": [[*key, count] for key, count in (now[1] - decisions).items()],
            "stages": {name: self._stage(name, stages.get(name), after) for name, after in now[2].items()},
        }

    def _stage(self, name: str, before: tuple[list[int], float] | None, after: tuple[list[int], float]) -> Any:
        bounds = self._totals.stages[name].bounds
        counts, sum_s = before or ([0] * (len(bounds) + 1), 0.0)
        grown = [new - old for old, new in zip(counts, after[0], strict=True)]
        return {"bounds_s": bounds, "counts": grown, "sum_s": after[1] - sum_s}
