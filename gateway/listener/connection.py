"""One caller's socket: heads in, answers out, one call at a time, every wait bounded.

Pipelined requests wait in the buffer until the call before them is over (RFC 9112 §9.3.2) and its answer has gone out.
A caller that closes its side leaves: the call in flight is cancelled. Nothing here knows about limits or upstreams.
"""

import asyncio
from time import monotonic
from typing import TYPE_CHECKING, cast

from gateway.listener.request import Request
from gateway.wire.body import HIGH_WATER_BYTES, BodyStream
from gateway.wire.head import BadHead, without_empty_lines
from gateway.wire.run import Run
from gateway.wire.sockets import reset
from gateway.wire.writing import MIN_BYTES_PER_S, Writing

if TYPE_CHECKING:
    from gateway.listener.listener import Listener

FOREVER = float("inf")
LINGER_S = 2.0  # how long input behind a last answer is thrown away, so that the answer survives
LAST_HEAD_S = 0.5  # how long a drain waits for a request that may be on its way
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Connection(Writing):
    """Server side of one socket.

    `keep_alive` may be cleared by the call: then the socket is closed behind the answer. `deadline` belongs to the
    listener's sweeper: it covers an unfinished head, a slow body, an idle socket or a caller that does not read,
    whichever the socket is waiting for. `unread` says that it was the last of these, and that the socket was reset.
    """

    __slots__ = (
        "_body_started", "_buffer", "_closing", "_continuing", "_handed_over", "_head_started", "_listener", "_run",
        "_unsent", "body", "deadline", "keep_alive", "peer_ip", "scheme", "unread",
    )  # fmt: skip

    def __init__(self, listener: "Listener", loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._listener = listener
        self._buffer = b""
        self._run: Run | None = None
        self._body_started = 0.0
        self._closing = False  # the last answer is written; what still comes in is thrown away
        self._continuing = False  # the next of the pipelined requests is about to be handled
        self._handed_over = False
        self._head_started = 0.0  # when the first byte of an unfinished head came; 0 = there is none
        self._unsent = 0  # bytes the caller had not taken when last looked at
        self.body: BodyStream | None = None
        self.deadline = FOREVER
        self.keep_alive = True
        self.peer_ip = ""
        self.scheme = listener.scheme
        self.unread = False

    # -- socket events

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the socket if the listener has room for it. A new socket owes its first head at once."""
        super().connection_made(transport)
        peer = transport.get_extra_info("peername")
        self.peer_ip = str(peer[0]).removeprefix("::ffff:") if isinstance(peer, tuple) else ""
        self._head_started = self._loop.time()
        self.deadline = self._head_started + self._listener.header_time_s
        if not self._listener.opened(self):
            cast(asyncio.Transport, transport).abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        """The caller is gone: whatever is being done for it stops."""
        super().connection_lost(exc)
        self._listener.closed(self)
        if self.body is not None:
            self.body.feed_eof()
        if self._run is not None:
            self._run.cancel()

    def data_received(self, data: bytes) -> None:
        """Bytes of a body, of a head, or of a request that has to wait."""
        body = self.body
        if self._closing or (body is not None and body.failure is not None):
            return
        if body is not None and not body.complete:
            if not body.size and self.deadline == FOREVER:  # it has not waited for `invite_body`
                self._body_started = self._loop.time()
            self._body_received(body, data)
        elif self._run is not None or self.write_paused or self._continuing:
            self._hold_back(data)
        else:
            self._buffer = self._buffer + data if self._buffer else data
            self._next_request()

    def pause_writing(self) -> None:
        """The caller does not read as fast as we write."""
        super().pause_writing()
        self._set_deadline()

    def resume_writing(self) -> None:
        """The caller has caught up."""
        super().resume_writing()
        if self._buffer and self._run is None:
            self._continue_soon()
        self._set_deadline()

    # -- what the call uses

    def invite_body(self) -> None:
        """Tell a caller who waits for that to send the body (RFC 9110 §10.1.1); from now on it is the body that is
        waited for."""
        self._body_started = self._loop.time()
        self._set_deadline()
        self.write(CONTINUE)

    def abort(self) -> None:
        """Reset the socket: an answer that only its end would complete must not be taken for complete."""
        self.keep_alive = False
        if self.transport is not None:
            reset(self.transport)

    def break_off(self) -> None:
        """Close behind what is written although it is not the whole answer; its framing shows that it is not."""
        self._close(lingering=False)

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
            self._set_deadline()

    def resume_reading(self) -> None:
        """The reader has room again."""
        if self.transport is not None:
            self.transport.resume_reading()
            self._body_started += self._loop.time()
            self._set_deadline()

    def close_idle(self, *, answering: bool) -> None:
        """Drain: a busy socket is closed behind its answer, an idle one soon: a request may be on its way to us.

        answering  the answer has begun, and cannot say any more that it is the last: behind it, the socket is idle
        """
        self.keep_alive = self.keep_alive and answering
        if self._run is None and not (self._closing or self.write_paused):
            self.deadline = min(self.deadline, self._loop.time() + LAST_HEAD_S)

    # -- deadlines

    def expired(self) -> None:
        """Whatever the socket was waiting for took too long."""
        if self.transport is None:
            return
        if self._unsent and self._still_reads():
            self._set_deadline()
        elif self._unsent:
            self.unread = True
            self.abort()
        elif self._run is not None:
            self.deadline = FOREVER
            if self.body is not None:
                self.body.fail("timeout")
        elif self._buffer and not self._closing:
            self.refuse_head(BadHead(408, "the request head took too long"))
        else:
            self.transport.abort()

    def _still_reads(self) -> bool:
        """Whether the caller took what it was sent since the deadline was set, and not just a trickle of it."""
        left = self.transport.get_write_buffer_size() if self.transport else 0
        return self._unsent - left >= min(self._unsent, MIN_BYTES_PER_S * self._listener.send_time_s)

    def _set_deadline(self) -> None:
        """Until when the socket may go on with what it is doing now."""
        now, listener = self._loop.time(), self._listener
        self._unsent = 0
        if self.write_paused or self._closing:
            self._unsent = self.transport.get_write_buffer_size() if self.transport else 0
            self.deadline = now + (listener.send_time_s if self._unsent else LINGER_S)
        elif self._run is not None:
            self._set_body_deadline()
        elif self._head_started:
            self.deadline = self._head_started + listener.header_time_s
        else:
            self.deadline = now + listener.idle_time_s

    def _set_body_deadline(self) -> None:
        body = self.body
        if body is None or body.complete or body.paused or body.failure is not None:
            self.deadline = FOREVER
        else:  # so long a pause, and not on and on so slowly
            latest = self._body_started + body.size / MIN_BYTES_PER_S
            self.deadline = min(self._loop.time(), latest) + self._listener.body_time_s

    # -- heads

    def _next_request(self) -> None:
        buffer = self._buffer
        try:
            if buffer.startswith((b"\r", b"\n")):
                buffer = self._buffer = without_empty_lines(buffer)
            found = self._listener.read_head(buffer)
        except BadHead as bad:
            self.refuse_head(bad)
            return
        if found is None:
            if buffer and not self._head_started:  # from now on the head's deadline counts, not the idle one
                self._head_started = self._loop.time()
                self._set_deadline()
            return
        head, ids, self._buffer = found
        self._head_started = 0.0
        self.deadline = FOREVER
        body = None
        self.keep_alive = head.block.keep_alive and self._listener.keeping_alive
        if head.block.has_body:
            body = self.body = BodyStream(head.body, self, self._loop, self._listener.body_bytes)
            self._body_started = self._loop.time()
            rest, self._buffer = self._buffer, b""
            self._body_received(body, rest)
            if head.block.expects_continue and not rest:
                self.deadline = FOREVER  # it waits for us, see `invite_body`
        self._run = run = Run(self._listener.handle(Request(head, ids, body, self, monotonic())), self._after_call)
        run.step()

    def refuse_head(self, bad: BadHead) -> None:
        """Answer a head that is not a request, and close: what follows on this socket cannot be trusted."""
        self._listener.refuse_head(self, bad, self._buffer.startswith(b"HEAD "))
        self._close(lingering=True)

    def _after_call(self) -> None:
        self._run = None
        body, self.body = self.body, None
        if self._handed_over:
            self._listener.closed(self)
            return
        if self.transport is None or self.transport.is_closing():
            return
        unread = body is not None and (not body.complete or body.failure is not None)
        if unread or not self.keep_alive:
            self._close(lingering=unread or bool(self._buffer))  # there may be more where that came from
        elif not self.write_paused:
            self.deadline = self._loop.time() + self._listener.idle_time_s
            if self._buffer:  # of the next request, or an empty line that belongs to none
                self._continue_soon()

    def _continue_soon(self) -> None:
        """In a turn of the loop of its own, also after a call that never waited; till then more input is held back."""
        if not self._continuing:
            self._continuing = True
            self._loop.call_soon(self._continue)

    def _continue(self) -> None:
        """The next of the pipelined requests, once the answer before it is on its way: memory is bounded by that."""
        self._continuing = False
        if self._run is not None or self.transport is None or self.write_paused or self._closing:
            return
        self._next_request()
        if not self._holds_enough():
            self.transport.resume_reading()

    def _holds_enough(self) -> bool:
        """Whether more input has to wait in the kernel."""
        waiting = self._run is not None or self._continuing or self.write_paused
        return (waiting and len(self._buffer) > HIGH_WATER_BYTES) or (self.body is not None and self.body.paused)

    # -- bodies

    def _body_received(self, body: BodyStream, data: bytes) -> None:
        rest = body.feed(data) if data else b""
        if body.failure is not None:
            self.keep_alive = False
        elif rest:
            self._hold_back(rest)
        if not self.write_paused:
            self._set_body_deadline()

    def _hold_back(self, data: bytes) -> None:
        """Bytes of the next request while a call is in flight."""
        self._buffer += data
        if len(self._buffer) > HIGH_WATER_BYTES and self.transport is not None:
            self.transport.pause_reading()

    # -- the end

    def _close(self, *, lingering: bool) -> None:
        """Close behind what is written. Unread input would make the kernel reset the socket under it: linger."""
        self.keep_alive = False
        self._closing = True
        self._buffer = b""
        if self.transport is None:
            return
        if self.transport.is_closing():  # asking a TLS transport of asyncio for anything now would fail
            self.deadline = self._loop.time() + LINGER_S
            return
        if lingering and self.transport.can_write_eof():
            self.transport.resume_reading()
            self.transport.write_eof()
        else:
            self.transport.close()
        self._set_deadline()
