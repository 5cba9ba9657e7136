"""Gauges: what is read off rather than counted, as it is now in this worker."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from gateway.observe.metrics.process import max_fds, open_fds, resident_bytes, start_time_s, virtual_bytes

NO_ROUTE = "none"
FDS_EVERY = 10
"""Readings between two countings of open files: without a new kernel's help that is work for each of them."""


class Levels(NamedTuple):
    """A worker's levels.

    in_flight             by route; "" = none is known yet
    open_connections      by listener
    upstream_connections  by upstream: (active, idle)
    breaker_keys          by breaker and state
    slots                 by concurrency limit
    webhooks              by receiver and state
    top_rejected          by limit and rank
    kept                  answers, by route: (how many, bytes)
    certificates          seconds since 1970 when they end, by who shows them
    """

    in_flight: Mapping[str, int] = {}
    open_connections: Mapping[str, int] = {}
    upstream_connections: Mapping[str, tuple[int, int]] = {}
    store_up: bool = True
    breaker_keys: Mapping[tuple[str, str], int] = {}
    slots: Mapping[str, int] = {}
    webhooks: Mapping[tuple[str, str], int] = {}
    top_rejected: Mapping[tuple[str, str], int] = {}
    kept: Mapping[str, tuple[int, int]] = {}
    certificates: Mapping[str, int] = {}


class Gauges:
    """Puts levels into gauges. What had a level once and is gone is 0.

    put  sets the value of a series: (metric, value, labels)
    """

    def __init__(self, worker: str, put: Callable[..., None]) -> None:
        self._worker = worker
        self._put = put
        self._put_last: dict[tuple[str, ...], int] = {}
        self._readings = 0
        put("process_start_time_seconds", start_time_s(), worker)

    def read(self, levels: Levels) -> None:
        """Take over the levels, and what the system says of this process."""
        now: dict[tuple[str, ...], int] = {("gateway_store_up",): levels.store_up}
        for route, count in levels.in_flight.items():
            now["gateway_requests_in_flight", route or NO_ROUTE] = count
        for listener, count in levels.open_connections.items():
            now["gateway_open_connections", listener] = count
        for upstream, (active, idle) in levels.upstream_connections.items():
            now["gateway_upstream_connections", upstream, "active"] = active
            now["gateway_upstream_connections", upstream, "idle"] = idle
        for (breaker, state), count in levels.breaker_keys.items():
            now["gateway_breaker_keys", breaker, state] = count
        for limit, count in levels.slots.items():
            now["gateway_limit_concurrency_in_use", limit] = count
        for (receiver, state), count in levels.webhooks.items():
            now["gateway_webhook_queue", receiver, state] = count
        for (limit, rank), count in levels.top_rejected.items():
            now["gateway_limit_top_rejected", limit, rank] = count
        for route, (entries, size_bytes) in levels.kept.items():
            now["gateway_cache_entries", route] = entries
            now["gateway_cache_bytes", route] = size_bytes
        for certificate, end_s in levels.certificates.items():
            now["gateway_certificate_end_timestamp_seconds", certificate] = end_s
        for name, *labels in self._put_last.keys() - now.keys():
            self._put(name, 0, *labels)
        for (name, *labels), level in now.items() - self._put_last.items():  # most stay as they are
            self._put(name, level, *labels)
        self._put_last = now
        self._read_process()

    def _read_process(self) -> None:
        self._put("process_resident_memory_bytes", resident_bytes(), self._worker)
        self._put("process_virtual_memory_bytes", virtual_bytes(), self._worker)
        if self._readings % FDS_EVERY == 0:
            self._put("process_open_fds", open_fds(), self._worker)
            self._put("process_max_fds", max_fds(), self._worker)
        self._readings += 1
