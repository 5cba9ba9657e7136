"""Everything that one worker has counted since it began, for those who look at differences between two moments."""

from collections import Counter

from gateway.core.watching.alerts import Seen


class Summed:
    """All distributions of one metric together: observations by bucket, and their sum in seconds."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum_s = 0.0

    def add(self, counts: list[int], sum_s: float) -> None:
        """More observations."""
        self.counts = [old + new for old, new in zip(self.counts, counts, strict=True)]
        self.sum_s += sum_s


class Totals:
    """Everything that one worker has counted since it began.

    outcomes   calls by (source of the answer, hundreds of the status)
    decisions  by (limit, decision)
    upstreams  calls by upstream and how it did
    stages     durations, by the name of their metric
    """

    def __init__(self) -> None:
        self.outcomes: Counter[tuple[str, int]] = Counter()
        self.decisions: Counter[tuple[str, str]] = Counter()
        self.upstreams: dict[str, Seen] = {}
        self.stages: dict[str, Summed] = {}

    def count(self, upstream: str, source: str, status: int, upstream_status: int, count: int) -> None:
        """So many calls are over, alike in all of this."""
        self.outcomes[source, status // 100] += count
        answered = source == "upstream"
        if upstream and (answered or (source == "gateway" and status > 500)):
            known = self.upstreams.get(upstream, Seen())
            failed = count if not answered or upstream_status >= 500 else 0
            denied = count if upstream_status in (401, 403) else 0
            self.upstreams[upstream] = Seen(known.calls + count, known.failed + failed, known.denied + denied)
