"""Sockets in memory: transports whose other side is a function, and a caller with some of them."""

import asyncio
import re
from collections.abc import Callable, Iterator, Sequence

from gateway.listener.connection import Connection

_LENGTH = re.compile(rb"\r\nContent-Length: (\d+)")
PIECE_BYTES = 64 * 1024
"""What a socket has at once."""
TURNS = 3
"""Of the event loop, between an answer and the next request: nobody answers faster than a network."""


class Wire(asyncio.Transport):
    """A transport whose other side is a function. `deliver` sends to `protocol`, if that is given; closing ends it."""

    def __init__(self, take: Callable[[bytes], None], protocol: asyncio.Protocol | None = None) -> None:
        super().__init__({"peername": ("127.0.0.1", 40_000)})
        self.write = take  # type: ignore[assignment,method-assign]
        self._protocol = protocol
        self._on_the_way: list[bytes] = []
        self._paused = False

    def deliver(self, data: bytes) -> None:
        """Let the protocol receive it, a piece in each turn of the loop, unless it has paused reading."""
        if len(data) <= PIECE_BYTES:
            self._protocol.data_received(data)  # type: ignore[union-attr]
            return
        self._on_the_way = [data[at : at + PIECE_BYTES] for at in range(0, len(data), PIECE_BYTES)][::-1]
        self._next_piece()

    def _next_piece(self) -> None:
        if self._on_the_way and not self._paused:
            self._protocol.data_received(self._on_the_way.pop())  # type: ignore[union-attr]
            asyncio.get_running_loop().call_soon(self._next_piece)

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        self._paused = False
        asyncio.get_running_loop().call_soon(self._next_piece)

    def close(self) -> None:
        if self._protocol is not None:
            asyncio.get_running_loop().call_soon(self._protocol.connection_lost, None)
            self._protocol = None

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...
    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None: ...
    def abort(self) -> None: ...


class Messages:
    """Counts bytes of messages that have a Content-Length, or no body."""

    def __init__(self) -> None:
        self._missing = 0

    def ends(self, data: bytes) -> bool:
        """Whether these bytes, the next ones, end a message; a head comes in one piece."""
        if not self._missing:
            head, _, body = data.partition(b"\r\n\r\n")
            length = _LENGTH.search(head)
            self._missing, data = int(length[1]) if length else 0, body
        self._missing -= len(data)
        return self._missing == 0


class _Socket:
    """A keep-alive connection of a caller. `answered` is called with the beginning of each whole answer."""

    def __init__(self, connection: Connection, answered: Callable[[bytes], None]) -> None:
        self._answered = answered
        self._answers, self._begun = Messages(), b""
        self.wire = Wire(self._take, connection)
        connection.connection_made(self.wire)

    def _take(self, answer: bytes) -> None:
        self._begun = self._begun or answer
        if self._answers.ends(answer):
            begun, self._begun = self._begun, b""
            self._answered(begun)


class Caller:
    """Sends a request on each of its connections, the next ones when all answers to the last ones are there.

    `heads` says what to send, over and over; `on_answer` is called with the last answer, before the next requests.
    """

    def __init__(
        self, connections: Sequence[Connection], heads: Iterator[bytes], on_answer: Callable[[bytes], None]
    ) -> None:
        self._heads = heads
        self._on_answer = on_answer
        self._left = self._unanswered = 0
        self._loop = asyncio.get_running_loop()
        self._done: asyncio.Future[None] = self._loop.create_future()
        self._sockets = [_Socket(connection, self._take) for connection in connections]

    async def call(self, times: int) -> None:
        """Make so many calls, a multiple of the connections."""
        self._left, self._done = times, self._loop.create_future()
        self._send()
        await self._done

    def _send(self) -> None:
        self._unanswered = len(self._sockets)
        for one in self._sockets:
            one.wire.deliver(next(self._heads))

    def _take(self, answer: bytes) -> None:
        self._unanswered -= 1
        if not self._unanswered:
            self._on_answer(answer)
            self._left -= len(self._sockets)
            self._loop.call_soon(self._next, TURNS)

    def _next(self, turns: int) -> None:
        """When the calls' own ends are over too."""
        if turns:
            self._loop.call_soon(self._next, turns - 1)
        elif self._left > 0:
            self._send()
        else:
            self._done.set_result(None)
