"""What counting one call costs: CPU microseconds per record with two limits, pouring included, beside direct counting.

python benchmarks/observe_metrics.py [records]          (PROMETHEUS_MULTIPROC_DIR set: the cost with many workers)
"""

import sys
import time
from collections.abc import Callable

from benchmarks.observe_log import BUCKET, WINDOW, admitted_call
from gateway.core.policy import PolicySet
from gateway.observe.metrics.sink import Metrics
from gateway.record import CallRecord

POLICIES = PolicySet("0123456789ab", (), {"tenant-10m": WINDOW, "connection-1m": BUCKET}, {}, {})
RECORDS_PER_TICK = 1_500  # half a second of 3,000 calls/s


def directly(metrics: Metrics) -> Callable[[CallRecord], None]:
    """The ordinary way: one inc or observe per metric, on children that are kept."""
    child = metrics._series.child
    counters = [
        child("gateway_requests_total", "erp", "GET", "200", "upstream"),
        child("gateway_upstream_requests_total", "erp-api", "200"),
        child("gateway_request_body_bytes_total", "erp"),
        child("gateway_response_body_bytes_total", "erp"),
        child("gateway_limit_decisions_total", "tenant-10m", "allowed", "redis"),
        child("gateway_limit_decisions_total", "connection-1m", "allowed", "redis"),
    ]
    histograms = [
        child("gateway_request_duration_seconds", "erp", "2xx"),
        child("gateway_request_overhead_seconds", "erp"),
        child("gateway_upstream_duration_seconds", "erp-api"),
        child("gateway_store_operation_seconds", "admit"),
    ]

    def count(_record: CallRecord) -> None:
        for counter in counters:
            counter.inc()  # type: ignore[attr-defined]
        for histogram in histograms:
            histogram.observe(0.012)  # type: ignore[attr-defined]

    return count


def measure(count: Callable[[CallRecord], None], pour: Callable[[], None], records: int) -> float:
    """CPU microseconds per record."""
    record = admitted_call()
    started = time.process_time()
    for _ in range(records // RECORDS_PER_TICK):
        for _ in range(RECORDS_PER_TICK):
            count(record)
        pour()
    return (time.process_time() - started) / records * 1e6


def main() -> None:
    """Print one row per way."""
    records = int(sys.argv[1]) if len(sys.argv) > 1 else 150_000
    metrics = Metrics(POLICIES)
    ways = {"tallied and poured": (metrics.emit, metrics.pour), "directly": (directly(metrics), lambda: None)}
    for name, (count, pour) in ways.items():
        print(f"{name:<20} {min(measure(count, pour, records) for _ in range(3)):5.2f} us/call")


if __name__ == "__main__":
    main()
