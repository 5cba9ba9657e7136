"""An ordinary aiohttp proxy with redis-py: what one writes without a gateway (`ordinary_proxy.py`)."""

import sys
from importlib.metadata import version
from pathlib import Path

from benchmarks.peers.shape import Peer, Place

SCRIPT = Path(__file__).with_name("ordinary_proxy.py")


def command(place: Place) -> list[str]:
    """With the gateway's own Python and libraries."""
    values = (place.port, f"127.0.0.1:{place.upstream_port}", place.store_port, place.limit, place.log)
    return [sys.executable, str(SCRIPT), *map(str, values)]


PEER = Peer(
    "aiohttp-redis-py",
    command,
    "Redis",
    "fixed window",
    lambda: ", ".join(f"{name} {version(name)}" for name in ("aiohttp", "redis", "hiredis", "uvloop")),
)
