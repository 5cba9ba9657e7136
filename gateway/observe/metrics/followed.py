"""What others count, poured with what the worker's own metrics have."""

from collections import Counter
from typing import Any

from gateway.observe.metrics.series import Series


class Followed:
    """Counts that grow elsewhere, by the metric's label, or a tuple of its labels."""

    def __init__(self, series: Series) -> None:
        self._series = series
        self._counts: list[tuple[str, Counter[Any], Counter[Any]]] = []

    def follow(self, name: str, counts: Counter[Any]) -> None:
        """Pour these from now on. Those that are there have their series now, so that a rate is right from the first
        on."""
        for label in counts:
            self._series.child(name, *_labels(label))
        self._counts.append((name, counts, Counter()))

    def pour(self) -> None:
        """Hand on by how much they have grown since the last time."""
        for name, counts, poured in self._counts:
            more = Counter(counts) - poured
            for label, count in more.items():
                self._series.inc(name, *_labels(label), by=count)
            poured.update(more)


def _labels(label: Any) -> tuple[str, ...]:
    return label if isinstance(label, tuple) else (label,)
