"""Counting in plain Python numbers, poured into prometheus_client now and then: a tenth of the cost per call."""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from typing import Any

from gateway.observe.metrics.totals import Summed

Outcome = tuple[str, int, str, int]
"""Method, status, source, status that the upstream's answer is judged by."""


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

    def observe_all(self, values: Iterable[float]) -> None:
        """Takes several values."""
        self._values.extend(values)

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

    Of thousands of routes hardly one is in the processor's caches, so all that is written per call lies close together.

    times   how long each call took in all, and how much of that was the gateway's part, in turn; who goes on for ever
            has to `fold` now and then
    waited  takes how long the upstream took; None: there was no answer
    """

    __slots__ = (
        "_answers", "_overhead", "_received", "_sent", "_took", "_total", "_upstream_time", "bytes_in", "bytes_out",
        "count", "outcome", "times", "upstream", "waited",
    )  # fmt: skip

    def __init__(
        self,
        upstream: str,
        outcome: Outcome,
        counters: tuple[Any, Any, Any],
        took: Distribution,
        overhead: Distribution,
        answers: tuple[Any, Distribution] | None,
    ) -> None:
        """`counters` of calls, bytes received and sent; `answers`: their counter, and how long they took."""
        self.upstream = upstream
        self.outcome = outcome
        self.count = self.bytes_in = self.bytes_out = 0
        self.times = array("d")
        self.waited = answers[1].observe if answers is not None else None
        self._total, self._received, self._sent = counters
        self._took, self._overhead = took, overhead
        self._answers: Any = None
        self._upstream_time: Distribution | None = None
        if answers is not None:
            self._answers, self._upstream_time = answers

    def fold(self) -> None:
        """Count what was observed."""
        self._hand_on()
        self._took.fold()
        self._overhead.fold()
        if self._upstream_time is not None:
            self._upstream_time.fold()

    def pour(self) -> None:
        """Hand what was counted to prometheus_client. Distributions are shared: what others observed goes with it."""
        self._total.inc(self.count)
        if self._answers is not None:
            self._answers.inc(self.count)
        if self.bytes_in:
            self._received.inc(self.bytes_in)
        if self.bytes_out:
            self._sent.inc(self.bytes_out)
        self._hand_on()
        self._took.pour()
        self._overhead.pour()
        if self._upstream_time is not None:
            self._upstream_time.pour()
        self.count = self.bytes_in = self.bytes_out = 0

    def _hand_on(self) -> None:
        self._took.observe_all(self.times[::2])
        self._overhead.observe_all(self.times[1::2])
        del self.times[:]
