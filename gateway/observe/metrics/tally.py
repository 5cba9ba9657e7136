"""Counting in plain Python numbers, poured into prometheus_client now and then: a tenth of the cost per call."""

from bisect import bisect_left, bisect_right
from typing import Any

from gateway.observe.metrics.totals import Summed


class Distribution:
    """A histogram on its way: how many observations fell into each bucket since it was last poured.

    observe  takes one value; who observes without end has to `fold` now and then
    together  where what is poured is added up with that of other distributions
    """

    __slots__ = ("_bounds", "_child", "_counts", "_sum", "_together", "_values", "observe")

    def __init__(self, bounds: tuple[float, ...], child: Any, together: Summed | None = None) -> None:
        self._together = together
        self._bounds = bounds
        self._child = child
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0
        self._values: list[float] = []
        self.observe = self._values.append  # all that is done per call: the rest is cheaper for many at once

    def fold(self) -> None:
        """Count what was observed: a bucket holds what is at most its bound."""
        values, counts = self._values, self._counts
        self._sum += sum(values)
        if len(values) < len(counts):
            for value in values:
                counts[bisect_left(self._bounds, value)] += 1
        else:
            values.sort()
            below = 0
            for bucket, bound in enumerate(self._bounds):
                position = bisect_right(values, bound, below)
                counts[bucket] += position - below
                below = position
            counts[-1] += len(values) - below
        values.clear()

    def pour(self) -> None:
        """Hand what was counted to prometheus_client.

        Uses two private attributes of its Histogram: the public way takes one value at a time. A contract test
        compares both.
        """
        if self._values:
            self.fold()
        counts, together = self._counts, self._together
        if not any(counts):
            return
        for bucket, count in enumerate(counts):
            if count:
                self._child._buckets[bucket].inc(count)
                counts[bucket] = 0
                if together is not None:
                    together.add(bucket, count)
        self._child._sum.inc(self._sum)
        if together is not None:
            together.add_time(self._sum)
        self._sum = 0.0


class Traffic:
    """What all calls of one route have in common."""

    __slots__ = ("_received", "_sent", "bytes_in", "bytes_out", "overhead")

    def __init__(self, overhead: Distribution, received: Any, sent: Any) -> None:
        self.overhead = overhead
        self.bytes_in = 0
        self.bytes_out = 0
        self._received = received
        self._sent = sent

    def pour(self) -> None:
        """Hand what was counted to prometheus_client."""
        self.overhead.pour()
        if self.bytes_in:
            self._received.inc(self.bytes_in)
        if self.bytes_out:
            self._sent.inc(self.bytes_out)
        self.bytes_in = self.bytes_out = 0


class Calls:
    """Calls that are alike: same route, method, status, source and answer of the upstream."""

    __slots__ = ("_answers", "_total", "count", "duration", "traffic", "upstream")

    def __init__(
        self, total: Any, duration: Distribution, traffic: Traffic, answers: Any, upstream: Distribution | None
    ) -> None:
        self.count = 0
        self.duration = duration
        self.traffic = traffic
        self.upstream = upstream
        self._total = total
        self._answers = answers

    def fold(self) -> None:
        """Count what was observed; who counts without end has to do so now and then."""
        self.duration.fold()
        self.traffic.overhead.fold()
        if self.upstream is not None:
            self.upstream.fold()

    def pour(self) -> None:
        """Hand what was counted to prometheus_client; what is shared with other calls may be theirs too."""
        self._total.inc(self.count)
        self.duration.pour()
        self.traffic.pour()
        if self.upstream is not None:
            self._answers.inc(self.count)
            self.upstream.pour()
        self.count = 0
