"""The gateway itself, everything on: window per tenant, bucket per connection, headers, JSON log, metrics."""

import sys
from pathlib import Path

from benchmarks.peers.shape import Peer, Place

SETTINGS = """version: 1
listen: 127.0.0.1:{port}
admin: off
workers: 1
policies: policies
store: {{url: "redis://127.0.0.1:{store}/0", timeout: 1s}}
logging: {{access: "{log}"}}
"""
POLICIES = """version: 1
keys:
  tenant: {{from: header, name: X-Tenant, on_missing: anonymous}}
limits:
  tenant: {{algorithm: rolling_window, limit: {limit}, window: 10m, key: [tenant]{precision}}}
  connection: {{algorithm: token_bucket, rate: 10000000, per: 1m, burst: 10000000, key: [tenant]}}
upstreams:
  up: {{url: "http://127.0.0.1:{upstream}"}}
routes:
  - {{name: all, match: {{path_prefix: /}}, upstream: up, limits: [tenant, connection]}}
"""


def command(place: Place) -> list[str]:
    """A rolling window of 10,000,000 entries is nothing anybody runs: admitted calls use the bounded form."""
    (place.folder / "policies").mkdir()
    precision = ", precision: 60" if place.limit > 100_000 else ""
    (place.folder / "gateway.yaml").write_text(SETTINGS.format(port=place.port, store=place.store_port, log=place.log))
    (place.folder / "policies" / "bench.yaml").write_text(
        POLICIES.format(limit=place.limit, precision=precision, upstream=place.upstream_port)
    )
    gateway = Path(sys.executable).with_name("gateway")
    start = [str(gateway)] if gateway.exists() else [sys.executable, "-m", "gateway"]
    return [*start, "run", "-c", str(place.folder / "gateway.yaml")]


PEER = Peer("gateway", command, "Redis", "rolling window and token bucket in one script")
