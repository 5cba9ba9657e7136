"""The policy that is measured: everything on, as a gateway in front of a vendor's API runs.

A rolling window per tenant and a token bucket per connection, decided in one trip to the store, and a circuit breaker
per connection. Rate-limit fields, the JSON access log and the metrics are on by default.
"""

from collections.abc import Callable

WIDE_OPEN = 10_000_000
"""A limit that nobody reaches during a run."""
EXACT_UP_TO = 100_000
"""Nobody runs an exact rolling window of ten million: above this the window counts in 60 parts."""

_FILE = """version: 1
keys:
  tenant: {{from: header, name: X-Tenant, on_missing: anonymous}}
  connection: {{from: header, name: X-Connection, on_missing: anonymous}}
limits:
  tenant-10m: {{algorithm: rolling_window, limit: {limit}, window: 10m, key: [tenant]{precision}}}
  connection: {{algorithm: token_bucket, rate: 10000000, per: 1m, burst: 10000000, key: [tenant, connection]}}
breakers:
  vendor: {{key: [connection], window: 1m, minimum_calls: 20, failure_rate: 50%, open_for: 30s}}
upstreams:
  up: {{url: "http://{upstream}"}}
routes:
  - {{name: all, match: {{path_prefix: /}}, upstream: up, limits: [tenant-10m, connection], breaker: vendor}}
"""


def everything_on(upstream: str, limit: int) -> str:
    """The policy file for `upstream` (host:port); a tenant may make `limit` calls in any ten minutes."""
    precision = ", precision: 60" if limit > EXACT_UP_TO else ""
    return _FILE.format(upstream=upstream, limit=limit, precision=precision)


def with_routes(count: int) -> Callable[[str, int], str]:
    """The same on each of many routes, told apart by path."""

    def policy(upstream: str, limit: int) -> str:
        head, _, route = everything_on(upstream, limit).rstrip().rpartition("\n")
        route = route.replace("name: all", "name: r{0}").replace("path_prefix: /", "path_prefix: /r{0}")
        return "\n".join((head, *(route.replace("{0}", str(number)) for number in range(count)))) + "\n"

    return policy


def with_limits(count: int) -> Callable[[str, int], str]:
    """Many limits on the call: rolling windows and token buckets in turn."""
    window = "window{0}: {{algorithm: rolling_window, limit: 10000000, window: 10m, key: [tenant], precision: 60}}"
    bucket = "bucket{0}: {{algorithm: token_bucket, rate: 10000000, per: 1m, burst: 10000000, key: [tenant]}}"

    def policy(upstream: str, limit: int) -> str:
        lines = everything_on(upstream, limit).split("\n")
        start = lines.index("limits:") + 1
        limits = [(bucket if number % 2 else window).format(number) for number in range(count)]
        lines[start : start + 2] = [f"  {limit}" for limit in limits]
        names = ", ".join(limit.partition(":")[0] for limit in limits)
        return "\n".join(lines).replace("limits: [tenant-10m, connection]", f"limits: [{names}]")

    return policy
