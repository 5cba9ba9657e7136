"""The writing half of a socket: no faster than its other side reads."""

import asyncio
from typing import cast

from gateway.wire.body import HIGH_WATER_BYTES

JOINED_BYTES = 32 * 1024
"""What is larger is handed over beside the head before it: to copy it would cost more."""

MIN_BYTES_PER_S = 500
"""What is taken slower than this on average uses up its deadline."""


class Writing(asyncio.Protocol):
    """What a protocol of ours does to send.

    transport     None before the socket is there and after it is gone
    write_paused  whether more waits to be taken than `drain` lets accumulate
    """

    __slots__ = ("_drain_waiter", "_loop", "transport", "write_paused")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._drain_waiter: asyncio.Future[None] | None = None
        self.transport: asyncio.Transport | None = None
        self.write_paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is there."""
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=HIGH_WATER_BYTES)

    def connection_lost(self, exc: BaseException | None) -> None:
        """It is gone: nobody waits for it any more."""
        self.transport = None
        self._wake_drain()

    def pause_writing(self) -> None:
        """The other side does not read as fast as we write."""
        self.write_paused = True

    def resume_writing(self) -> None:
        """It has caught up."""
        self.write_paused = False
        self._wake_drain()

    def write(self, data: bytes) -> None:
        """Send, buffering at most what `drain` lets accumulate. Ignored when the other side has gone."""
        if self.transport is not None:
            self.transport.write(data)

    def write_behind(self, head: bytes, data: bytes) -> None:
        """Send a head and what follows it in one go. Otherwise as `write`."""
        if self.transport is not None:
            if len(data) > JOINED_BYTES:
                self.transport.writelines((head, data))
            else:
                self.transport.write(head + data)

    async def drain(self) -> None:
        """Wait until the other side has read enough. Returns at once when it has, or has gone."""
        if self.write_paused and self.transport is not None:
            self._drain_waiter = self._loop.create_future()
            try:
                await self._drain_waiter
            finally:
                self._drain_waiter = None

    def _wake_drain(self) -> None:
        if self._drain_waiter is not None and not self._drain_waiter.done():
            self._drain_waiter.set_result(None)
