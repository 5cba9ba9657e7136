"""Sockets that exist only in memory: what the gateway's protocol objects do can be tried a hundred thousand times."""

import asyncio
from typing import Any


class MemoryTransport(asyncio.Transport):
    """Collects what is written; `closed` once the protocol has asked for it. Peer and protocol are joined by the test."""

    def __init__(self) -> None:
        super().__init__(extra={"peername": ("192.0.2.1", 1234)})
        self.written = bytearray()
        self.reading = True
        self.closed = False
        self.ended = False

    def write(self, data: Any) -> None:
        assert not self.ended, "written behind the end"
        if not self.closed:
            self.written += data

    def write_eof(self) -> None:
        self.ended = True

    def can_write_eof(self) -> bool:
        return True

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def is_reading(self) -> bool:
        return self.reading

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def get_write_buffer_size(self) -> int:
        return 0
