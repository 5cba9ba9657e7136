"""A message body on its way from one socket to the other: decoded, bounded in memory, read by one coroutine."""

import asyncio
from typing import Protocol

from gateway.core.http.framing import BadFraming, Decoder, Fields, LengthBody

HIGH_WATER_BYTES = 64 * 1024  # what may wait in a transport
UNREAD_BYTES = 8 * 1024  # what may wait for a reader before the socket is paused; one read of it may bring 256 KiB


class Pausable(Protocol):
    """The reading half of a transport."""

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class BodyFailed(Exception):
    """The body will never be complete.

    reason  malformed, too_large, closed, timeout; or unread: there was no more time, and what had come was not taken
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Readable(Protocol):
    """A body as its one reader sees it: see `BodyStream`."""

    @property
    def complete(self) -> bool: ...

    @property
    def trailers(self) -> Fields: ...

    def take(self) -> bytes: ...

    async def read(self) -> bytes: ...


class BodyStream:
    """Bytes between a socket (`feed`, `feed_eof`, `fail`) and one reader (`read`).

    At most UNREAD_BYTES plus one read of the socket wait here: above that the socket is paused until the reader has
    taken everything (`paused`), also when it waits: behind it may be a slow taker, which makes this bound the memory of
    a stream. `size` counts payload bytes so far, `limit` bounds it.
    """

    __slots__ = ("_decoder", "_error", "_loop", "_pieces", "_source", "_waiter", "_waiting", "limit", "paused", "size")

    def __init__(
        self, decoder: Decoder, source: Pausable, loop: asyncio.AbstractEventLoop, limit: int | None = None
    ) -> None:
        self._decoder = decoder
        self._source = source
        self._loop = loop
        self._pieces: list[bytes] = []
        self._waiting = 0  # bytes in _pieces
        self._waiter: asyncio.Future[None] | None = None
        self._error: BodyFailed | None = None
        self.limit = limit
        self.paused = False
        self.size = 0
        if limit is not None and isinstance(decoder, LengthBody) and decoder.missing > limit:
            self.fail("too_large")

    @property
    def complete(self) -> bool:
        """Whether the last byte has arrived (it may not have been read yet)."""
        return self._decoder.done

    @property
    def failure(self) -> BodyFailed | None:
        """What `read` will raise, once everything that came before it has been read."""
        return self._error

    @property
    def trailers(self) -> Fields:
        """Trailer fields, once complete."""
        return self._decoder.trailers

    def feed(self, data: bytes) -> bytes:
        """Take bytes from the socket; returns what lies behind the body. Never raises: `read` tells the reader."""
        if self._error is not None:
            return b""
        try:
            pieces, rest = self._decoder.feed(data)
        except BadFraming:
            self.fail("malformed")
            return b""
        for piece in pieces:
            self._waiting += len(piece)
            self.size += len(piece)
        self._pieces += pieces
        if self.limit is not None and self.size > self.limit:
            self.fail("too_large")
            return b""
        if self._waiting > UNREAD_BYTES and not self.paused and not self._decoder.done:
            self.paused = True
            self._source.pause_reading()
        self._wake()
        return rest

    def feed_eof(self) -> None:
        """The socket closed."""
        if self._decoder.done or self._error is not None:
            return
        if self._decoder.feed_eof():
            self._wake()
        else:
            self.fail("closed")

    def fail(self, reason: str) -> None:
        """Make `read` raise BodyFailed(reason); the first reason stays.

        What arrived before is still read, except when the body is at fault: then no part of it is passed on.
        """
        if self._error is None:
            self._error = BodyFailed(reason)
            if reason in ("malformed", "too_large"):
                self._pieces.clear()
            self._wake()

    def take(self) -> bytes:
        """Everything that waits, without waiting; b"" when nothing does. Raises BodyFailed."""
        pieces = self._pieces
        if not pieces:
            if self._error is not None:
                raise self._error
            return b""
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self._pieces = []
        self._waiting = 0
        return data

    def put_back(self, pieces: list[bytes]) -> None:
        """What was read ahead comes first again."""
        self._pieces = pieces + self._pieces
        self._waiting += sum(map(len, pieces))

    async def read(self) -> bytes:
        """The next bytes, at least one; b"" when the body is over. Raises BodyFailed."""
        while not (data := self.take()):
            if self._decoder.done:
                return b""
            if self.paused:  # not before: while the reader is busy with what it took, nothing more is held for it
                self.paused = False
                self._source.resume_reading()
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return data

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
