"""Every metric the gateway has: name, labels, buckets, and how workers' values are put together.

Only metrics that something feeds are here. `docs/metrics.md` lists exactly these. No label ever holds a tenant, a
connection, a path or anything else a caller can choose freely.
"""

import os
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, values

from gateway.observe.metrics.files import MetricsFile

disable_created_metrics()  # type: ignore[no-untyped-call]  # a _created series beside each counter doubles the scrape

Together = Literal["", "livesum", "livemin", "livemax"]
"""How the gauges of several workers become one; those of dead workers do not count. Counters are added up."""

CALL_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
OVERHEAD_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1)
STORE_S = (0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1)
LAG_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Instrument(NamedTuple):
    """One metric. `buckets` are upper bounds in seconds, for histograms only."""

    type: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    meaning: str
    buckets: tuple[float, ...] = ()
    together: Together = ""


def _counter(meaning: str, *labels: str) -> Instrument:
    return Instrument("counter", labels, meaning)


def _gauge(meaning: str, *labels: str, together: Together = "livesum") -> Instrument:
    return Instrument("gauge", labels, meaning, together=together)


def _histogram(meaning: str, buckets: tuple[float, ...], *labels: str) -> Instrument:
    return Instrument("histogram", labels, meaning, buckets)


INSTRUMENTS: Mapping[str, Instrument] = {
    "gateway_requests_total": _counter("Calls that are over", "route", "method", "code", "source"),
    "gateway_request_duration_seconds": _histogram("Duration of calls", CALL_S, "route", "code_class"),
    "gateway_request_overhead_seconds": _histogram("Part of it that is the gateway's own", OVERHEAD_S, "route"),
    "gateway_requests_in_flight": _gauge("Calls that are not over", "route"),
    "gateway_request_body_bytes_total": _counter("Body bytes received from callers", "route"),
    "gateway_response_body_bytes_total": _counter("Body bytes sent to callers", "route"),
    "gateway_open_connections": _gauge("Sockets of callers", "listener"),
    "gateway_limit_decisions_total": _counter("Answers of single limits", "limit", "decision", "store"),
    "gateway_limit_near_total": _counter(
        "Admitted calls that found a limit of five or more at least 80 % used", "limit"
    ),
    "gateway_limit_concurrency_in_use": _gauge("Slots that calls of this gateway hold", "limit"),
    "gateway_limit_top_rejected": _gauge(
        "Calls refused in the last one to two minutes to the callers that this limit refuses most", "limit", "rank"
    ),
    "gateway_store_up": _gauge("1 while the store decides the calls of every worker", together="livemin"),
    "gateway_store_operation_seconds": _histogram("Waiting for the store", STORE_S, "operation"),
    "gateway_store_errors_total": _counter("Times the store was lost", "kind"),
    "gateway_store_fallback_decisions_total": _counter("Decisions made without the store", "limit", "posture"),
    "gateway_upstream_requests_total": _counter("Answers of upstreams", "upstream", "code"),
    "gateway_upstream_duration_seconds": _histogram("Waiting for upstreams", CALL_S, "upstream"),
    "gateway_upstream_errors_total": _counter("Calls without a whole answer of the upstream", "upstream", "error"),
    "gateway_upstream_retries_total": _counter("Attempts behind a call's first", "upstream", "reason", "outcome"),
    "gateway_retry_budget_exhausted_total": _counter("Retries not made: too many were", "upstream"),
    "gateway_upstream_paused_total": _counter("Pauses that upstreams asked for, each told once", "upstream"),
    "gateway_tokens_total": _counter("Tokens for upstreams, by what came of asking for them", "upstream", "result"),
    "gateway_breaker_transitions_total": _counter("Changes of state of breakers, each told once", "breaker", "to"),
    "gateway_breaker_keys": _gauge(
        "Keys whose shared breaker is not closed, in the whole fleet, of 10,000 in all at most; a few seconds old",
        "breaker",
        "state",
        together="livemax",
    ),
    "gateway_upstream_connections": _gauge("Sockets to upstreams", "upstream", "state"),
    "gateway_cache_answers_total": _counter("Calls of routes with a cache, by how it took part", "route", "result"),
    "gateway_cache_entries": _gauge("Answers that workers keep in memory", "route"),
    "gateway_cache_bytes": _gauge("About what these take", "route"),
    "gateway_certificate_end_timestamp_seconds": _gauge(
        "When a certificate ends that the gateway shows", "certificate", together="livemin"
    ),
    "gateway_policy_reloads_total": _counter("Policy sets offered; each worker counts its first one", "result"),
    "gateway_policy_last_reload_successful": _gauge("1 if the last one was taken", together="livemin"),
    "gateway_policy_last_reload_success_timestamp_seconds": _gauge("When the last one was taken", together="livemin"),
    "gateway_policy_info": _gauge("1 for the version in force", "version", together="livemax"),
    "gateway_build_info": _gauge("Always 1", "version", "python", together="livemax"),
    "gateway_log_lines_dropped_total": _counter("Log lines that could not be written"),
    "gateway_traced_calls_total": _counter("Calls whose spans were sent, or lost", "result"),
    "gateway_log_lines_sampled_out_total": _counter("Log lines left out as the settings want", "kind"),
    "gateway_intake_webhooks_total": _counter("Webhooks that came", "source", "result"),
    "gateway_webhook_deliveries_total": _counter("Tries to deliver webhooks", "receiver", "result"),
    "gateway_webhook_dropped_total": _counter("Webhooks lost to a receiver", "receiver", "reason"),
    "gateway_webhook_queue": _gauge(
        "Webhooks in the store, in the whole fleet", "receiver", "state", together="livemax"
    ),
    "gateway_worker_restarts_total": _counter("Workers that died and were replaced"),
    "gateway_worker_hangs_total": _counter("Workers that were killed because their event loop stood still"),
    "gateway_worker_messages_dropped_total": _counter("What workers told each other and did not hear"),
    "gateway_event_loop_lag_seconds": _histogram("How late the event loop ran a timer", LAG_S),
    "process_cpu_seconds_total": _counter("CPU seconds, of each worker and its forerunners", "worker"),
    "process_resident_memory_bytes": _gauge("Resident memory", "worker"),
    "process_virtual_memory_bytes": _gauge("Virtual memory", "worker"),
    "process_start_time_seconds": _gauge("When the worker started", "worker"),
    "process_open_fds": _gauge("Open files and sockets", "worker"),
    "process_max_fds": _gauge("How many it may have", "worker"),
}

FROM_THE_START = (
    *(("gateway_store_errors_total", kind) for kind in ("timeout", "connect", "busy", "script", "other")),
    *(("gateway_policy_reloads_total", result) for result in ("loaded", "unchanged", "rejected", "failed")),
)
"""Metric and labels of series that are there before anything is counted: of one that comes with its first count
Prometheus says that it has not grown."""
TOKENS = ("renewed", "shared", "refused", "unavailable", "unkept")
"""What can come of asking for a token."""


class Metric(NamedTuple):
    """A metric of prometheus_client with its children kept: looking one up by labels costs more than counting."""

    instrument: Instrument
    parent: Any
    children: dict[tuple[str, ...], Any]

    def child(self, *labels: str) -> Any:
        """The series with these label values, made when first asked for."""
        known = self.children.get(labels)
        if known is None:
            known = self.children[labels] = self.parent.labels(*labels) if labels else self.parent
        return known


def shared() -> bool:
    """Whether values go to files that workers add up: when PROMETHEUS_MULTIPROC_DIR is set.

    prometheus_client looks at it when it is first imported; here it may be set later too, before the first metric.
    """
    values.MmapedDict = MetricsFile  # type: ignore[attr-defined,assignment]
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ and not values.ValueClass._multiprocess:
        values.ValueClass = values.get_value_class()  # type: ignore[no-untyped-call]
    return bool(values.ValueClass._multiprocess)


def make(name: str, registry: CollectorRegistry | None) -> Metric:
    """One metric of the table; in multi-process mode its values go to this process's file."""
    instrument = INSTRUMENTS[name]
    parent: Any
    if instrument.type == "counter":
        parent = Counter(name.removesuffix("_total"), instrument.meaning, instrument.labels, registry=registry)
    elif instrument.type == "histogram":
        parent = Histogram(name, instrument.meaning, instrument.labels, buckets=instrument.buckets, registry=registry)
    else:
        mode: Any = instrument.together
        parent = Gauge(name, instrument.meaning, instrument.labels, multiprocess_mode=mode, registry=registry)
    return Metric(instrument, parent, {})
