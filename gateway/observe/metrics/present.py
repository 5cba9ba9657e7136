"""What a scrape shows: nothing of routes, limits, upstreams and breakers that the set in force does not have.

What was counted of them is kept, and goes on if they come back.
"""

from collections.abc import Iterator, Mapping, Set

from prometheus_client import CollectorRegistry, Metric

from gateway.core.policy import PolicySet
from gateway.core.webhooks.intake import LIMIT, ROUTE
from gateway.observe.metrics.levels import NO_ROUTE

INTAKE = (ROUTE, LIMIT)
"""Begin the `route` and the `limit` of webhooks that came: their sources are in the settings."""
ZERO_IS_GONE = ("gateway_policy_info", "gateway_certificate_end_timestamp_seconds")


class Present:
    """A registry without what is gone."""

    def __init__(self, whole: CollectorRegistry, policies: PolicySet) -> None:
        limits = policies.limits.values()
        self._whole = whole
        self._known: Mapping[str, Set[str]] = {
            "route": {NO_ROUTE, *(route.name for route in policies.routes)},
            "limit": {*policies.limits, *(limit.shadow.name for limit in limits if limit.shadow is not None)},
            "upstream": {"", NO_ROUTE, *policies.upstreams},
            "breaker": {*policies.breakers},
        }

    def collect(self) -> Iterator[Metric]:
        """As the whole has it, less the samples about what is gone."""
        for metric in self._whole.collect():
            if metric.name in ZERO_IS_GONE:
                metric.samples = [one for one in metric.samples if one.value]
            for label in self._known.keys() & (metric.samples[0].labels if metric.samples else {}):
                known = self._known[label]
                metric.samples = [
                    one for one in metric.samples if (value := one.labels[label]) in known or value.startswith(INTAKE)
                ]
            yield metric
