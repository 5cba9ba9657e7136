"""What happened lately in one worker, for people who look now: the difference between two moments of what was counted.

Costs nothing per call: it is read off what metrics count anyway, when they are poured.
"""

from collections import Counter, deque
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from gateway.core.watching.alerts import Seen
from gateway.observe.metrics.history import History
from gateway.observe.metrics.totals import Summed, Totals

WINDOW_S = 10.0


class _Waits(NamedTuple):
    """A distribution at some moment: observations by bucket, and their sum."""

    counts: list[int]
    sum_s: float


class _Moment(NamedTuple):
    """A copy of the totals, and when it was made."""

    now_s: float
    outcomes: Counter[tuple[str, int]]
    decisions: Counter[tuple[str, str]]
    upstreams: dict[str, Seen]
    failures: Counter[tuple[str, str]]
    waits: dict[str, _Waits]
    stages: dict[str, _Waits]


class Pulse:
    """Remembers moments of the last `WINDOW_S` seconds, and has the history of what was before."""

    def __init__(self, totals: Totals) -> None:
        self.history = History(totals)
        self._totals = totals
        self._moments: deque[_Moment] = deque()

    def beat(self, now_s: float, at: float) -> None:
        """Remember this moment, and forget those that are out of sight but one. `at`: its wall-clock time."""
        self.history.beat(at)
        self._moments.append(self._moment(now_s))
        while len(self._moments) > 2 and self._moments[1].now_s <= now_s - WINDOW_S:
            self._moments.popleft()

    def _moment(self, now_s: float) -> _Moment:
        totals = self._totals
        return _Moment(
            now_s,
            totals.outcomes.copy(),
            totals.decisions.copy(),
            totals.upstreams.copy(),
            totals.failures.copy(),
            _read(totals.waits),
            _read(totals.stages),
        )

    def lately(self) -> dict[str, Any]:
        """What can be added up with what other workers say: JSON, `over_s` seconds long."""
        if not self._moments:
            return {"over_s": 0.0, "outcomes": [], "decisions": [], "upstreams": [], "stages": {}}
        began, now = self._moments[0], self._moments[-1]
        bounds = {name: summed.bounds for name, summed in self._totals.stages.items()}
        return {
            "over_s": now.now_s - began.now_s,
            "outcomes": [[*key, count] for key, count in (now.outcomes - began.outcomes).items()],
            "decisions": [[*key, count] for key, count in (now.decisions - began.decisions).items()],
            "upstreams": [*self._upstreams(began, now)],
            "stages": {name: _grown(bounds[name], began.stages.get(name), after) for name, after in now.stages.items()},
        }

    def _upstreams(self, began: _Moment, now: _Moment) -> Iterator[dict[str, Any]]:
        """How those did that were asked."""
        failures = now.failures - began.failures
        for name, seen in now.upstreams.items():
            grown = seen.since(began.upstreams.get(name, Seen()))
            if grown.calls:
                waits = now.waits.get(name)
                bounds = self._totals.waits[name].bounds if waits else ()
                yield {
                    "upstream": name,
                    **grown._asdict(),
                    "why": {why: count for (upstream, why), count in failures.items() if upstream == name},
                    "waits": _grown(bounds, began.waits.get(name), waits) if waits else None,
                }


def _read(summed: Mapping[str, Summed]) -> dict[str, _Waits]:
    return {name: _Waits([*one.counts], one.sum_s) for name, one in summed.items()}


def _grown(bounds: tuple[float, ...], before: _Waits | None, after: _Waits) -> dict[str, Any]:
    counts, sum_s = before or _Waits([0] * (len(bounds) + 1), 0.0)
    grown = [new - old for old, new in zip(counts, after.counts, strict=True)]
    return {"bounds_s": bounds, "counts": grown, "sum_s": after.sum_s - sum_s}
