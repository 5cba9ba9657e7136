"""The series of one worker by the names of their metrics, made when first asked for."""

from collections.abc import Mapping

from prometheus_client import CollectorRegistry

from gateway.observe.metrics.instruments import INSTRUMENTS, Metric, make, shared
from gateway.observe.metrics.multiprocess import AllWorkers
from gateway.observe.metrics.tally import Distribution
from gateway.observe.metrics.totals import Totals

UPSTREAM_TIME = "gateway_upstream_duration_seconds"


class Series:
    """Every metric of the table, with its children.

    registry  where a scrape finds them: those of all workers, if there are several
    """

    def __init__(self, totals: Totals) -> None:
        """`totals`: where the durations of all distributions are added up too."""
        self.registry = CollectorRegistry()
        together = shared()
        if together:
            self.registry.register(AllWorkers())
        registry = None if together else self.registry
        self._metrics: Mapping[str, Metric] = {name: make(name, registry) for name in INSTRUMENTS}
        self._distributions: dict[tuple[str, ...], Distribution] = {}
        self._totals = totals

    def child(self, name: str, *labels: str) -> object:
        """The series with these label values."""
        return self._metrics[name].child(*labels)

    def inc(self, name: str, *labels: str, by: float = 1) -> None:
        """Count so many more."""
        self._metrics[name].child(*labels).inc(by)

    def set(self, name: str, value: float, *labels: str) -> None:
        """Put a gauge at this value."""
        self._metrics[name].child(*labels).set(value)

    def distribution(self, name: str, *labels: str) -> Distribution:
        """Where values of a histogram are collected; one for each series."""
        key = (name, *labels)
        known = self._distributions.get(key)
        if known is None:
            metric = self._metrics[name]
            bounds = metric.instrument.buckets
            together = self._totals.summed(name, bounds, labels[0] if name == UPSTREAM_TIME else "")
            known = self._distributions[key] = Distribution(bounds, metric.child(*labels), together)
        return known
