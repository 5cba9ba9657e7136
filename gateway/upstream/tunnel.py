"""After a 101: two sockets joined byte for byte, with back-pressure, until either side closes."""

import asyncio
from typing import cast

from gateway.wire.body import HIGH_WATER_BYTES
from gateway.wire.sockets import probe_when_silent


class Tunnel:
    """Both directions of one upgraded call. `closed` is done when both sockets are."""

    def __init__(self, caller: asyncio.Transport, upstream: asyncio.Transport) -> None:
        loop = asyncio.get_running_loop()
        self.closed: asyncio.Future[None] = loop.create_future()
        self.bytes_in = 0
        self.bytes_out = 0
        self.first_to_close = ""
        self._ends = {"client": _End(self, "client", caller), "upstream": _End(self, "upstream", upstream)}
        self._open = 2
        self._ended: set[str] = set()

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
        for end in self._ends.values():
            end.transport.abort()

    def other(self, side: str) -> "_End":
        """The opposite end."""
        return self._ends["upstream" if side == "client" else "client"]

    def ended(self, side: str) -> bool:
        """One side sends nothing more. Half-close is passed on; when both have ended, the tunnel is over."""
        self._ended.add(side)
        other = self.other(side).transport
        if len(self._ended) == len(self._ends) or not other.can_write_eof():
            other.close()
            return False
        other.write_eof()
        return True

    def lost(self, side: str) -> None:
        """One side has closed: what it sent last is still delivered, then the other closes too."""
        self.first_to_close = self.first_to_close or side
        self.other(side).transport.close()
        self._open -= 1
        if not self._open and not self.closed.done():
            self.closed.set_result(None)

    def count(self, side: str, size: int) -> None:
        """Count bytes received from one side."""
        if side == "client":
            self.bytes_in += size
        else:
            self.bytes_out += size


class _End(asyncio.Protocol):
    """One side: what it receives goes to the other."""

    def __init__(self, tunnel: Tunnel, side: str, transport: asyncio.Transport) -> None:
        self._tunnel = tunnel
        self._side = side
        self.transport = transport

    def attach(self) -> None:
        self.transport.set_protocol(self)
        self.transport.set_write_buffer_limits(high=HIGH_WATER_BYTES)
        probe_when_silent(self.transport)
        self.transport.resume_reading()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._tunnel.count(self._side, len(data))
        self._tunnel.other(self._side).transport.write(data)

    def eof_received(self) -> bool:
        return self._tunnel.ended(self._side)

    def pause_writing(self) -> None:
        self._tunnel.other(self._side).transport.pause_reading()

    def resume_writing(self) -> None:
        self._tunnel.other(self._side).transport.resume_reading()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._tunnel.lost(self._side)
