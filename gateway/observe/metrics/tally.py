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


class Calls:
    """Calls that are alike: same route, method, status, source and answer of the upstream.

    took, overhead, waited  take durations of one call: all of it, the gateway's part, the upstream's; who observes
                            without end has to `fold` now and then. `waited` None: there was no answer
    """

    __slots__ = (
        "_answers", "_distributions", "_received", "_sent", "_total", "bytes_in", "bytes_out", "count", "overhead",
        "took", "waited",
    )  # fmt: skip

    def __init__(
        self,
        counters: tuple[Any, Any, Any],
        took: Distribution,
        overhead: Distribution,
        answers: tuple[Any, Distribution] | None,
    ) -> None:
        """`counters` of calls, bytes received and sent; `answers`: their counter, and how long they took."""
        self.count = self.bytes_in = self.bytes_out = 0
        self.took = took.observe
        self.overhead = overhead.observe
        self.waited = answers[1].observe if answers is not None else None
        self._total, self._received, self._sent = counters
        self._answers = answers[0] if answers is not None else None
        self._distributions = (took, overhead) if answers is None else (took, overhead, answers[1])

    def fold(self) -> None:
        """Count what was observed."""
        for distribution in self._distributions:
            distribution.fold()

    def pour(self) -> None:
        """Hand what was counted to prometheus_client. Distributions are shared: what others observed goes with it."""
        self._total.inc(self.count)
        if self._answers is not None:
            self._answers.inc(self.count)
        if self.bytes_in:
            self._received.inc(self.bytes_in)
        if self.bytes_out:
            self._sent.inc(self.bytes_out)
        for distribution in self._distributions:
            distribution.pour()
        self.count = self.bytes_in = self.bytes_out = 0
