"""One caller's socket: heads in, answers out, one call at a time, every wait bounded.

Pipelined requests wait in the buffer until the call before them is over (RFC 9112 §9.3.2). A caller that closes its
side leaves: the call in flight is cancelled. Nothing here knows about limits or upstreams.
"""

import asyncio
from time import monotonic
from typing import TYPE_CHECKING, cast

from gateway.listener.request import Request
from gateway.wire.body import HIGH_WATER_BYTES, BodyStream
from gateway.wire.head import BadHead

if TYPE_CHECKING:
    from gateway.listener.listener import Listener

FOREVER = float("inf")
MIN_BODY_BYTES_PER_S = 500  # a body slower than this on average uses up its deadline
LINGER_S = 2.0
LINGER_BYTES = 1 << 20
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Connection(asyncio.Protocol):
    """Server side of one socket.

    `keep_alive` may be cleared by the call: then the socket is closed behind the answer. `deadline` belongs to the
    listener's sweeper: it covers an unfinished head, a slow body, an idle socket or a caller that does not read,
    whichever the socket is waiting for.
    """

    __slots__ = (
        "_body_started",
        "_buffer",
        "_drain_waiter",
        "_handed_over",
        "_head_started",
        "_linger_left",
        "_listener",
        "_loop",
        "_task",
        "_unread",
        "body",
        "deadline",
        "keep_alive",
        "peer_ip",
        "scheme",
        "transport",
        "write_paused",
    )

    def __init__(self, listener: "Listener", loop: asyncio.AbstractEventLoop) -> None:
        self._listener = listener
        self._loop = loop
        self._buffer = b""
        self._task: asyncio.Task[None] | None = None
        self._drain_waiter: asyncio.Future[None] | None = None
        self._body_started = 0.0
        self._linger_left = 0
        self._handed_over = False
        self._head_started = False
        self._unread = 0  # bytes the caller had not taken when last looked at
        self.body: BodyStream | None = None
        self.deadline = FOREVER
        self.keep_alive = True
        self.peer_ip = ""
        self.scheme = listener.scheme
        self.transport: asyncio.Transport | None = None
        self.write_paused = False

    # Socket events

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the socket if the listener has room for it."""
        self.transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        self.peer_ip = peer[0] if isinstance(peer, tuple) else ""
        self.transport.set_write_buffer_limits(high=HIGH_WATER_BYTES)
        self.deadline = self._loop.time() + self._listener.header_time_s
        if not self._listener.opened(self):
            self.transport.abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        """The caller is gone: whatever is being done for it stops."""
        self.transport = None
        self._listener.closed(self)
        if self.body is not None:
            self.body.feed_eof()
        if self._drain_waiter is not None and not self._drain_waiter.done():
            self._drain_waiter.set_result(None)
        if self._task is not None:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        """Bytes of a body, of a head, or of a request that has to wait."""
        body = self.body
        if body is not None and not body.complete:
            self._body_received(body, data)
        elif self._linger_left:
            self._discard(len(data))
        elif self._task is not None:
            self._hold_back(data)
        else:
            self._buffer = self._buffer + data if self._buffer else data
            self._next_request()

    def pause_writing(self) -> None:
        """The caller does not read as fast as we write."""
        self.write_paused = True
        self.deadline = self._loop.time() + self._listener.send_time_s
        self._unread = self.transport.get_write_buffer_size() if self.transport else 0

    def resume_writing(self) -> None:
        """The caller has caught up."""
        self.write_paused = False
        self.deadline = FOREVER
        if self._drain_waiter is not None and not self._drain_waiter.done():
            self._drain_waiter.set_result(None)

    # What the call uses

    def write(self, data: bytes) -> None:
        """Send, buffering at most what `drain` lets accumulate. Ignored when the caller has gone."""
        if self.transport is not None:
            self.transport.write(data)

    async def drain(self) -> None:
        """Wait until the caller has read enough. Returns at once when it has, or has gone."""
        if self.write_paused and self.transport is not None:
            self._drain_waiter = self._loop.create_future()
            try:
                await self._drain_waiter
            finally:
                self._drain_waiter = None

    def abort(self) -> None:
        """Cut the answer short, visibly: the caller must not take it for complete."""
        self.keep_alive = False
        if self.transport is not None:
            self.transport.abort()

    def hand_over(self) -> tuple[asyncio.Transport | None, bytes]:
        """Give up the socket for a tunnel: the transport and the bytes already received for it."""
        rest, self._buffer = self._buffer, b""
        self.deadline = FOREVER
        self.keep_alive = False
        self._handed_over = True
        return self.transport, rest

    def pause_reading(self) -> None:
        """Back-pressure from the body's reader; the wait is ours, so the caller's deadline stands still."""
        if self.transport is not None:
            self.transport.pause_reading()
            self._body_started -= self._loop.time()
            self.deadline = FOREVER

    def resume_reading(self) -> None:
        """The reader has room again."""
        if self.transport is not None:
            self.transport.resume_reading()
            self._body_started += self._loop.time()
            self._set_body_deadline()

    def close_idle(self) -> None:
        """Drain: an idle socket is closed now, a busy one behind its answer."""
        self.keep_alive = False
        if self._task is None and self.transport is not None and not self._linger_left:
            self.transport.close()

    # Deadlines

    def expired(self) -> None:
        """Whatever the socket was waiting for took too long."""
        if self.transport is None:
            return
        if self.write_paused:
            self._reader_stalled()
        elif self.body is not None and not self.body.complete and self._task is not None:
            self.deadline = FOREVER
            self.body.fail("timeout")
        elif self._task is None and self._buffer and not self._linger_left:
            self.refuse_head(BadHead(408, "the request head took too long"))
        else:
            self.transport.abort()

    def _reader_stalled(self) -> None:
        unread = self.transport.get_write_buffer_size() if self.transport else 0
        if unread < self._unread:
            self._unread = unread
            self.deadline = self._loop.time() + self._listener.send_time_s
        else:
            self.abort()

    # Heads

    def _next_request(self) -> None:
        buffer = self._buffer
        if buffer.startswith((b"\r", b"\n")):  # RFC 9112 §2.2: ignore empty lines before a request line
            buffer = self._buffer = buffer.lstrip(b"\r\n")
        end = buffer.find(b"\r\n\r\n")
        try:
            if end < 0:
                self._listener.check_partial_head(buffer)
                self._start_head_deadline()
                return
            self._listener.check_head_size(buffer, end)
            head = self._listener.parser.parse(buffer[: end + 4])
        except BadHead as bad:
            self.refuse_head(bad)
            return
        self._buffer = buffer[end + 4 :]
        self._head_started = False
        self.deadline = FOREVER
        now = self._loop.time()
        body = None
        self.keep_alive = head.keep_alive and self._listener.accepting
        if not head.body.done:
            body = self.body = BodyStream(head.body, self, self._loop, self._listener.body_bytes)
            self._body_started = now
            self._set_body_deadline()
            if self._buffer:
                rest, self._buffer = self._buffer, b""
                self._body_received(body, rest)
        self._task = self._loop.create_task(self._serve(Request(head, body, self, monotonic())))

    def _start_head_deadline(self) -> None:
        """The first bytes of a request came: from now on the head's deadline counts, not the idle one."""
        if not self._head_started and self._buffer:
            self._head_started = True
            self.deadline = self._loop.time() + self._listener.header_time_s

    def refuse_head(self, bad: BadHead) -> None:
        """Answer a head that is not a request, and close: what follows on this socket cannot be trusted."""
        self._buffer = b""
        self._listener.refuse_head(self, bad)
        self._close_gently()

    async def _serve(self, request: Request) -> None:
        try:
            await self._listener.handle(request)
        finally:
            self._task = None
            self._after_call()

    def _after_call(self) -> None:
        body, self.body = self.body, None
        if self._handed_over:
            self._listener.closed(self)
            return
        if self.transport is None or self.transport.is_closing():
            return
        unread = body is not None and not body.complete
        if unread or not self.keep_alive:
            self.body = None
            self._close_gently(lingering=unread)
            return
        if self._buffer:
            self.transport.resume_reading()
            self._loop.call_soon(self._continue)
        else:
            self.deadline = self._loop.time() + self._listener.idle_time_s

    def _continue(self) -> None:
        if self._task is None and self.transport is not None and self._buffer and not self._linger_left:
            self._start_head_deadline()
            self._next_request()

    # Bodies

    def _body_received(self, body: BodyStream, data: bytes) -> None:
        rest = body.feed(data)
        if body.complete:
            self.deadline = FOREVER
            if rest:
                self._hold_back(rest)
        elif body.failed:
            self.keep_alive = False
            self.body = None
            self._linger_left = LINGER_BYTES
        elif self.deadline != FOREVER and not self.write_paused:
            self._set_body_deadline()

    def _set_body_deadline(self) -> None:
        size = self.body.size if self.body is not None else 0
        self.deadline = self._body_started + self._listener.body_time_s + size / MIN_BODY_BYTES_PER_S

    def _hold_back(self, data: bytes) -> None:
        """Bytes of the next request while a call is in flight."""
        self._buffer += data
        if len(self._buffer) > HIGH_WATER_BYTES and self.transport is not None:
            self.transport.pause_reading()

    def _close_gently(self, *, lingering: bool = True) -> None:
        """Close so that the answer survives: unread input would make the kernel reset the socket under it."""
        self.keep_alive = False
        if self.transport is None:
            return
        if not lingering or not self.transport.can_write_eof():
            self.transport.close()
            return
        self._linger_left = LINGER_BYTES
        self.deadline = self._loop.time() + LINGER_S
        self.transport.resume_reading()
        self.transport.write_eof()

    def _discard(self, count: int) -> None:
        self._linger_left = max(0, self._linger_left - count)
        if not self._linger_left and self.transport is not None and self._task is None:
            self.transport.abort()
