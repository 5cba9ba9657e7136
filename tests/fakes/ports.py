"""Ports for servers that cannot choose their own."""

import itertools
import os
import socket
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

_FIRST, _LAST = 20_000, 32_000  # below the ports that systems give to outgoing connections
_KEPT = 200
_QUEUE = 4  # more than a listener with no backlog takes
_next = itertools.count(os.getpid() % (_LAST - _FIRST))
_claims: deque[int] = deque()


def free_port() -> int:
    """A TCP port on loopback that nobody uses and no connection will be given; another one each time.

    On Linux it is also claimed: other runs of tests on this machine do not get it, until 200 more were given here.
    """
    for step in _next:
        port = _FIRST + step % (_LAST - _FIRST)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if sys.platform != "linux" or _claimed(port):
            return port
    raise AssertionError("endless")


@contextmanager
def silent() -> Iterator[int]:
    """A port on loopback on which nobody ever answers: the queue of its listener is full."""
    with ExitStack() as sockets, socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        for _ in range(_QUEUE):
            waiting = sockets.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


def _claimed(port: int) -> bool:
    """Claim it by a name that only one process can have (abstract unix sockets end with their process)."""
    with socket.socket(socket.AF_UNIX) as claim:
        try:
            claim.bind(f"\0gateway-tests-port-{port}")
        except OSError:
            return False
        _claims.append(claim.detach())
    if len(_claims) > _KEPT:
        os.close(_claims.popleft())
    return True
