"""Fastify on Node with @fastify/rate-limit on Redis and @fastify/http-proxy.

npm: see install.py.
"""

import json
from pathlib import Path

from benchmarks.peers.shape import TOOLS, Missing, Peer, Place, tool

SCRIPT = Path(__file__).with_suffix(".js")
PACKAGES = ("fastify", "@fastify/rate-limit", "@fastify/http-proxy", "ioredis", "pino")


def command(place: Place) -> list[str]:
    """One process; Node finds the packages by NODE_PATH."""
    values = {
        "NODE_ENV": "production",
        "NODE_PATH": str(TOOLS / "node" / "node_modules"),
        "PORT": str(place.port),
        "UPSTREAM": f"127.0.0.1:{place.upstream_port}",
        "STORE_PORT": str(place.store_port),
        "LOG": str(place.log),
        "LIMIT": str(place.limit),
    }
    return ["env", *(f"{name}={value}" for name, value in values.items()), tool("node"), str(SCRIPT)]


def _version() -> str:
    tool("node")
    try:
        found = [json.loads((TOOLS / "node/node_modules" / name / "package.json").read_text()) for name in PACKAGES]
    except OSError:
        raise Missing("fastify is not installed: python -m benchmarks.peers.install") from None
    return ", ".join(f"{package['name']} {package['version']}" for package in found)


PEER = Peer("fastify-redis", command, "Redis", "fixed window", _version)
