"""What telling about one call costs: CPU microseconds per access line, with two limits on the call.

python benchmarks/observe_log.py [lines]
"""

import asyncio
import sys
import time

from gateway.core.ask import Ask
from gateway.core.limits import Algorithm, Charge, Decision, Limit, Verdict
from gateway.observe.log.access import AccessLog
from gateway.record import CallRecord
from gateway.settings import Logging

WINDOW = Limit("tenant-10m", Algorithm.ROLLING_WINDOW, 500, 600_000_000, ("tenant",))
BUCKET = Limit("connection-1m", Algorithm.TOKEN_BUCKET, 20, 60_000_000, ("connection",), 20, 60_000_000)
ENVELOPE: dict[str, str | int] = {
    "service_name": "ratelimit-gateway",
    "service_version": "0.1.0",
    "instance": "gateway",
    "worker": 0,
}


def admitted_call() -> CallRecord:
    """A call as the stages leave it behind: forwarded, two limits asked."""
    record = CallRecord()
    record.request_id = "5f1e3d2c1b0a00000001"
    record.trace_id, record.span_id = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    record.method, record.target, record.http_host = "GET", "/erp/items/4711?page=2", "gateway.internal:8080"
    record.peer_ip = record.client_ip = "10.1.2.3"
    record.user_agent = "internal-service/1.4 (python 3.12)"
    record.started, record.ended = 1000.0, 1000.0123456
    record.route, record.upstream, record.upstream_addr = "erp", "erp-api", "192.0.2.10:443"
    record.tenant, record.connection, record.operation = "acme", "conn_42", "items.read"
    record.policy_version = "0123456789ab"
    record.ask = Ask((Charge(WINDOW, "tenant-10m:{=acme}", 1), Charge(BUCKET, "connection-1m:{=conn_42}", 1)))
    verdicts = (Verdict(True, 499, 599_000_123, 1_200_000, 0), Verdict(True, 7, 39_000_000, 3_000_000, 0))
    record.decision = Decision(True, verdicts, 1_700_000_000_000_000)
    record.verdict, record.store = "allowed", "redis"
    record.status = record.upstream_status = 200
    record.response_source = "upstream"
    record.bytes_out = 1024
    record.store_s, record.upstream_s = 0.000210, 0.0112
    return record


async def measure(log: AccessLog, count: int) -> float:
    """CPU microseconds per line; the loop runs now and then as it does in a worker."""
    record = admitted_call()
    started = time.process_time()
    for _ in range(count // 100):
        for _ in range(100):
            log.emit(record)
        await asyncio.sleep(0)
    return (time.process_time() - started) / count * 1e6


def main() -> None:
    """Print one row per format."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    for format_ in ("native", "ecs", "otel"):
        log = AccessLog(Logging(format=format_, access="/dev/null", pretty=False), ENVELOPE)
        best = min(asyncio.run(measure(log, count)) for _ in range(3))
        print(f"{format_:<7} {best:5.2f} us/line")


if __name__ == "__main__":
    main()
