"""Everything that one worker has counted since it began, for those who look at differences between two moments."""

from collections import Counter

from gateway.core.classes import NO_PLACE
from gateway.core.watching.alerts import Seen


class Summed:
    """Several distributions together: observations by bucket, and their sum in seconds.

    whole  what these are a part of: it grows by the same
    """

    def __init__(self, bounds: tuple[float, ...], whole: "Summed | None" = None) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum_s = 0.0
        self._whole = whole

    def add(self, bucket: int, count: int) -> None:
        """Add so many observations to a bucket."""
        self.counts[bucket] += count
        if self._whole is not None:
            self._whole.add(bucket, count)

    def add_time(self, sum_s: float) -> None:
        """Add their sum in seconds."""
        self.sum_s += sum_s
        if self._whole is not None:
            self._whole.add_time(sum_s)


class Totals:
    """Everything that one worker has counted since it began.

    outcomes   calls by (source of the answer, hundreds of the status)
    decisions  by (limit, decision)
    upstreams  calls by upstream and how it did, of those that it was asked for
    failures   why they failed, by (upstream, error class or status)
    waits      time waited for answers, by upstream
    stages     durations, by the name of their metric
    """

    def __init__(self) -> None:
        self.outcomes: Counter[tuple[str, int]] = Counter()
        self.decisions: Counter[tuple[str, str]] = Counter()
        self.upstreams: dict[str, Seen] = {}
        self.failures: Counter[tuple[str, str]] = Counter()
        self.waits: dict[str, Summed] = {}
        self.stages: dict[str, Summed] = {}

    def count(self, upstream: str, source: str, status: int, upstream_status: int, count: int) -> None:
        """So many calls are over, alike in all of this. `upstream_status`: what its answer is judged by; 0: it did not
        answer, if it was asked."""
        self.outcomes[source, status // 100] += count
        if upstream_status:
            failed = count if upstream_status >= 500 else 0
            self._saw(upstream, Seen(count, failed, count if upstream_status in (401, 403) else 0))
            if failed:
                self.failures[upstream, str(upstream_status)] += count

    def unanswered(self, upstream: str, why: str) -> None:
        """A call was without an answer of its upstream, for a reason of this error class."""
        self._saw(upstream, Seen(1, 1, 0))
        self.failures[upstream, why] += 1

    def asked(self) -> dict[str, Seen]:
        """As `upstreams`, without the calls that never left because there was no place for them (pace, sockets)."""
        return {
            name: seen.since(Seen(kept_back, kept_back))
            for name, seen in self.upstreams.items()
            for kept_back in (self.failures[name, NO_PLACE],)
        }

    def _saw(self, upstream: str, more: Seen) -> None:
        known = self.upstreams.get(upstream, Seen())
        self.upstreams[upstream] = Seen(
            known.calls + more.calls, known.failed + more.failed, known.denied + more.denied
        )

    def summed(self, metric: str, bounds: tuple[float, ...], upstream: str) -> Summed:
        """Where the durations of a metric are added up: all of them, or those of one upstream."""
        whole = self.stages.get(metric) or self.stages.setdefault(metric, Summed(bounds))
        if not upstream:
            return whole
        return self.waits.get(upstream) or self.waits.setdefault(upstream, Summed(bounds, whole))
