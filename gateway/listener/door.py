"""The listening socket: what it lets in at once, and what the kernel may hold for each caller it let in."""

import errno
import socket
from contextlib import suppress
from typing import Any, Self

UNSENT_BYTES = 256 * 1024  # per caller that reads slowly; the kernel's own bound is 4 MiB
AT_ONCE = 32  # sockets taken in one turn of the loop: between turns, those whose callers have left can be closed


class Door(socket.socket):
    """A bound socket from which at most AT_ONCE others are accepted in a row, and none right behind a failure.

    asyncio accepts until nobody waits any more, or `backlog` times. When a descriptor cannot be had, it stops listening
    for a second, but before that (until CPython 3.14 at least) it fails at every one of those times, each with a
    traceback in the log and one more timer. uvloop does not call `accept`, and needs none of this.
    """

    _more = AT_ONCE

    @classmethod
    def taking_over(cls, bound: socket.socket) -> Self:
        """The same socket; `bound` is closed from now on. Accepted sockets inherit the bound on what is not sent yet.

        Unlike a fixed SO_SNDBUF, TCP_NOTSENT_LOWAT leaves the window to grow with the path (tcp(7)).
        """
        door = cls(bound.family, bound.type, bound.proto, fileno=bound.detach())
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):
            with suppress(OSError):
                door.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
        return door

    def accept(self) -> tuple[socket.socket, Any]:
        """Raises BlockingIOError when nobody waits, or has to wait until the loop comes around again."""
        if not self._more:
            self._more = AT_ONCE
            raise BlockingIOError(errno.EAGAIN, "not in this turn of the loop")
        try:
            accepted = super().accept()
        except OSError as error:
            self._more = AT_ONCE if isinstance(error, BlockingIOError) else 0
            raise
        self._more -= 1
        return accepted
