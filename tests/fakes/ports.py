"""Ports for servers that cannot choose their own."""

import itertools
import os
import socket

_FIRST, _LAST = 20_000, 32_000  # below the ports that systems give to outgoing connections
_next = itertools.count(os.getpid() % (_LAST - _FIRST))


def free_port() -> int:
    """A TCP port on loopback that nobody uses and no connection will be given; another one each time."""
    for step in _next:
        port = _FIRST + step % (_LAST - _FIRST)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("endless")
