"""The gateway itself, everything on: window per tenant, bucket per connection, breaker, headers, JSON log, metrics."""

import sys
from collections.abc import Callable
from importlib.metadata import version

from benchmarks.peers.shape import Peer, Place
from benchmarks.policy import everything_on
from gateway import __version__

SETTINGS = """version: 1
listen: 127.0.0.1:{port}
admin: off
workers: {workers}
policies: policies
store: {{url: "redis://127.0.0.1:{store}/0", timeout: 1s}}
logging: {{access: "{log}"}}
drain: {{delay: 0s}}
"""
Policy = Callable[[str, int], str]
"""(upstream's host:port, limit) to the text of a policy file."""


def with_policy(policy: Policy, workers: int = 1) -> Callable[[Place], list[str]]:
    """How to start a gateway with another policy."""

    def command(place: Place) -> list[str]:
        (place.folder / "policies").mkdir()
        (place.folder / "policies" / "bench.yaml").write_text(policy(f"127.0.0.1:{place.upstream_port}", place.limit))
        settings = SETTINGS.format(port=place.port, store=place.store_port, log=place.log, workers=workers)
        (place.folder / "gateway.yaml").write_text(settings)
        return [sys.executable, "-m", "gateway", "run", "-c", str(place.folder / "gateway.yaml")]

    return command


def _version() -> str:
    parts = ", ".join(f"{name} {version(name)}" for name in ("aiohttp", "uvloop", "redis", "hiredis", "orjson"))
    return f"{__version__}; {parts}"


PEER = Peer("gateway", with_policy(everything_on), "Redis", "rolling window, token bucket", _version)
