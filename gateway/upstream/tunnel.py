"""After a 101: two sockets joined byte for byte, with back-pressure, until either side closes.

That a side has gone is read from its socket. Nothing is read from one that has said all, nor while the other one takes
no more: then the socket is looked at now and then. Of what a side sent last the other gets what it goes on to take.
"""

import asyncio
from collections.abc import Callable
from typing import cast

from gateway.wire.body import HIGH_WATER_BYTES
from gateway.wire.sockets import is_broken, probe_when_silent
from gateway.wire.writing import MIN_BYTES_PER_S

LOOK_S = 15.0
"""Between two looks at a socket that nobody reads from."""


class Tunnel:
    """Both directions of one upgraded call. `closed` is done when both sockets are.

    patience_s  how long a side may leave unread what the other, which has closed, sent last; 0 = now everything is cut
    unread      who did; "" = nobody
    """

    def __init__(self, caller: asyncio.Transport, upstream: asyncio.Transport, patience_s: Callable[[], float]) -> None:
        self._loop = asyncio.get_running_loop()
        self.closed: asyncio.Future[None] = self._loop.create_future()
        self.bytes_in = 0
        self.bytes_out = 0
        self.unread = ""
        self._patience_s = patience_s
        self._ends = {"client": _End(self, "client", caller), "upstream": _End(self, "upstream", upstream)}
        self._lost: set[str] = set()
        self._ended: set[str] = set()
        self._unheard: dict[_End, int] = {}  # and how much the other had left to take, when last looked at
        self._look: asyncio.TimerHandle | None = None
        self._wait: asyncio.TimerHandle | None = None

    def start(self, from_caller: bytes, from_upstream: bytes) -> None:
        """Take over both transports; the bytes are what either side had sent already."""
        for end in self._ends.values():
            end.attach()
        if from_caller:
            self._ends["client"].data_received(from_caller)
        if from_upstream:
            self._ends["upstream"].data_received(from_upstream)

    def abort(self) -> None:
        """Cut both sides."""
        for side, end in self._ends.items():
            if side not in self._lost:
                end.transport.abort()

    def other(self, side: str) -> "_End":
        """The opposite end."""
        return self._ends["upstream" if side == "client" else "client"]

    def hold(self, end: "_End") -> None:
        """Read no more from there: the other side does not take it."""
        end.transport.pause_reading()
        self._look_after(end)

    def go_on(self, end: "_End") -> None:
        """Read from there again."""
        if end.side not in self._ended:
            self._unheard.pop(end, None)
        end.transport.resume_reading()

    def ended(self, side: str) -> bool:
        """One side sends nothing more. Half-close is passed on; when both have ended, the tunnel is over."""
        self._ended.add(side)
        other = self.other(side)
        if self._lost:
            return False
        if len(self._ended) == len(self._ends) or not other.transport.can_write_eof():
            self._close(other)
            return False
        other.transport.write_eof()
        self._look_after(self._ends[side])
        return True

    def lost(self, side: str) -> None:
        """One side has closed: what it sent last is still delivered, then the other closes too."""
        self._lost.add(side)
        self._unheard.pop(self._ends[side], None)
        if len(self._lost) < len(self._ends):
            self._close(self.other(side))
            return
        for timer in (self._look, self._wait):
            if timer is not None:
                timer.cancel()
        if not self.closed.done():
            self.closed.set_result(None)

    def count(self, side: str, size: int) -> None:
        """Count bytes received from one side."""
        if side == "client":
            self.bytes_in += size
        else:
            self.bytes_out += size

    def _close(self, end: "_End") -> None:
        """Behind what it has not taken yet."""
        transport, patience_s = end.transport, self._patience_s()
        if self._wait is not None:
            self._wait.cancel()
        if not patience_s:
            transport.abort()
            return
        if not transport.is_closing():
            transport.close()
        left = transport.get_write_buffer_size()
        self._wait = self._loop.call_later(patience_s, self._waited, end, left, patience_s)

    def _waited(self, end: "_End", left: int, waited_s: float) -> None:
        """Time is up for an end that had so much left to take, unless it took what a slow one may be expected to."""
        if left - end.transport.get_write_buffer_size() >= min(left, MIN_BYTES_PER_S * waited_s) > 0:
            self._close(end)
        else:
            self.unread = end.side
            end.transport.abort()

    def _look_after(self, end: "_End") -> None:
        self._unheard[end] = -1
        if self._look is None:
            self._look = self._loop.call_later(LOOK_S, self._look_at_unheard)

    def _look_at_unheard(self) -> None:
        self._look = self._loop.call_later(LOOK_S, self._look_at_unheard) if self._unheard else None
        for end, left_before in list(self._unheard.items()):
            left = self._unheard[end] = self.other(end.side).transport.get_write_buffer_size()
            read_on = left != left_before and end.side not in self._ended  # what had come before the reset can be read
            if not (read_on or end.transport.is_closing()) and is_broken(end.transport):
                end.transport.abort()


class _End(asyncio.Protocol):
    """One side: what it receives goes to the other."""

    def __init__(self, tunnel: Tunnel, side: str, transport: asyncio.Transport) -> None:
        self._tunnel = tunnel
        self.side = side
        self.transport = transport

    def attach(self) -> None:
        self.transport.set_protocol(self)
        self.transport.set_write_buffer_limits(high=HIGH_WATER_BYTES)
        probe_when_silent(self.transport)
        self.transport.resume_reading()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._tunnel.count(self.side, len(data))
        self._tunnel.other(self.side).transport.write(data)

    def eof_received(self) -> bool:
        return self._tunnel.ended(self.side)

    def pause_writing(self) -> None:
        self._tunnel.hold(self._tunnel.other(self.side))

    def resume_writing(self) -> None:
        self._tunnel.go_on(self._tunnel.other(self.side))

    def connection_lost(self, exc: BaseException | None) -> None:
        self._tunnel.lost(self.side)
