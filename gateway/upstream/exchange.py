"""One socket to an upstream: requests out, answers in, strictly one exchange at a time.

A socket on which anything arrives while no answer is awaited is closed, never used again: those bytes would be
taken for the next caller's answer. Nothing is ever sent twice from here; trying again is `forward`'s decision.
"""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gateway.upstream.failure import UpstreamFailed
from gateway.wire.body import BodyStream
from gateway.wire.head import BadHead
from gateway.wire.response_head import ResponseHead, may_begin_a_head, not_http1
from gateway.wire.run import Promise
from gateway.wire.sockets import Arrivals, arrivals, ended_by_peer, peer_of, unread
from gateway.wire.writing import Writing

if TYPE_CHECKING:
    from gateway.upstream.pool import Pool

Interim = Callable[[Any, ResponseHead], None]

FOREVER = float("inf")
MAX_INTERIM = 16  # 1xx answers before the final one


class Exchange(Writing):
    """Client side of one socket; the pool hands it out, `release` or `abort` ends each use.

    Use: `send` the head (and body), await `answered()`; then `head` is there, and the body either as a `whole` or as
    `body`, a stream; `release()`. `deadline` belongs to the pool's sweeper. All failures are UpstreamFailed.

    `last_use` is set for requests with trailer fields: some servers read them as fields of the socket's next request,
    which may be another caller's.
    """

    __slots__ = (
        "_buffer", "_end", "_error", "_interim", "_interims", "_late", "_listens", "_method", "_pool", "_uploading",
        "_waiter", "address", "arrivals", "body", "busy", "deadline", "head", "idle_until", "last_use", "served",
        "whole",
    )  # fmt: skip

    def __init__(self, pool: "Pool", loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._pool = pool
        self._buffer = b""
        self._method = ""
        self._error: UpstreamFailed | None = None
        self._waiter: Promise[None] | None = None
        self._interim: Interim | None = None
        self._listens: Any = None
        self._interims = 0
        self._end = FOREVER
        self._late = "first_byte_timeout"
        self._uploading = -1  # `served` of the exchange that last sent more than its head
        self.address = ""
        self.arrivals: Arrivals | None = None
        self.body: BodyStream | None = None
        self.busy = True
        self.deadline = FOREVER
        self.head: ResponseHead | None = None
        self.idle_until = 0.0
        self.last_use = False
        self.served = 0
        self.whole: bytes | None = None

    # -- socket events

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected (and, with TLS, verified)."""
        super().connection_made(transport)
        self.address = peer_of(transport)
        self.arrivals = arrivals(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Closed by either side. A close-delimited body is complete by it; anything else is cut."""
        transport = self.transport
        super().connection_lost(exc)
        self._pool.lost(self)
        if exc is not None and self._uploading == self.served and transport is not None:
            for data in unread(transport):  # of an upstream that heard the head; else it may be of before the request
                self.data_received(data)
        if self.head is None:
            self._fail("reset" if exc is not None else "closed", str(exc or ""))
        elif self.body is not None:
            self._ended(self.body, transport if exc is None else None)

    def eof_received(self) -> None:
        """The upstream sends no more. A body that ends with the socket is complete, whatever is still to be sent."""
        if self.body is not None:
            self._ended(self.body, self.transport)

    def data_received(self, data: bytes) -> None:
        """Bytes of an answer's head or body; anything else ends the socket."""
        if self.head is not None and self.head.upgrade:
            self._buffer += data  # of the tunnel that is about to take over
        elif not self.busy or (self.head is not None and self.body is None):
            self.abort()
        elif self.head is None:
            self._buffer = self._buffer + data if self._buffer else data
            self._read_heads()
        else:
            self._read_body(data)

    # -- what `forward` uses

    def send(
        self,
        head: bytes,
        method: str,
        *,
        body: bytes = b"",
        first_byte_s: float = 0.0,
        total_s: float = 0.0,
        interim: Interim | None = None,
        listens: Any = None,
    ) -> None:
        """Begin an exchange: write the request head, and what there is of the body.

        body          as much of it as is at hand
        first_byte_s  in which the head of the answer is owed; 0 = a body follows, and then `await_answer`
        total_s       bounds the whole exchange from now on; 0 = no bound
        interim       is told of each 1xx answer: interim(listens, head)
        """
        self._method = method
        self.head = None
        self._error = self._waiter = None
        self._interim = interim
        self._listens = listens
        self._interims = 0
        self.body = self.whole = None
        now = self._loop.time()
        self._end = now + total_s if total_s else FOREVER
        self.deadline = now + first_byte_s if first_byte_s and now + first_byte_s < self._end else self._end
        if self.transport is None:
            self._fail("closed", "before the request was sent")
        elif body:
            self.write_behind(head, body)
        else:
            self.transport.write(head)

    def write(self, data: bytes) -> None:
        """More of the request, behind its head. Ignored when the upstream has gone."""
        if self.transport is not None and not self.transport.is_closing():
            self._uploading = self.served
            self.transport.write(data)

    async def drain(self) -> None:
        """Wait until the upstream has read enough."""
        if self.write_paused and self.transport is not None:
            self._late = "idle_timeout"
            self._allow_idle()
            try:
                await super().drain()
            finally:
                self._late = "first_byte_timeout"
                if self.head is None:
                    self.deadline = self._end

    def answered(self) -> Promise[None]:
        """To await while there is no `head`: kept when the final one has come. Raises UpstreamFailed."""
        waiter = self._waiter = Promise(loop=self._loop)
        if self._error is not None:
            waiter.fail(self._error)
        return waiter

    def release(self) -> None:
        """The exchange is over: keep the socket if it is in a known state, else close it."""
        head, body, transport = self.head, self.body, self.transport
        reusable = (
            head is not None
            and head.keep_alive
            and not (head.upgrade or self._buffer or self.last_use)
            and (body is None or (body.complete and body.failure is None))
            and transport is not None
            and not transport.get_write_buffer_size()
        )
        self.deadline = FOREVER
        self.body = self.whole = self._interim = self._listens = self._waiter = None
        if reusable:
            self.served += 1
            self._pool.keep(self)
        else:
            self._pool.lost(self)
            self.abort()

    def abort(self) -> None:
        """Drop the socket now: its state is unknown, or nobody wants the rest."""
        self.deadline = FOREVER
        if self.transport is not None:
            self.transport.abort()

    def pause_reading(self) -> None:
        """The caller reads slowly. That wait is not the upstream's fault: its idle deadline stands still."""
        if self.transport is not None:
            self.transport.pause_reading()
            self.deadline = self._end

    def resume_reading(self) -> None:
        """The caller has caught up."""
        if self.transport is not None:
            self.transport.resume_reading()
            self._allow_idle()

    def hand_over(self) -> tuple[asyncio.Transport | None, bytes]:
        """Give up the socket for a tunnel (after a 101): the transport and the bytes already received.

        It stays one of the pool's sockets in use until `release`, which hears of the tunnel's end.
        """
        rest, self._buffer = self._buffer, b""
        self.deadline = FOREVER
        return self.transport, rest

    def await_answer(self, first_byte_s: float) -> None:
        """The request is sent: from now on the upstream owes an answer head within `first_byte_s`."""
        if self.head is None:
            self.deadline = min(self._loop.time() + first_byte_s, self._end)

    def expired(self) -> None:
        """The current phase took too long."""
        self._wake_drain()
        self.abort()
        if self.head is None:
            self._fail("total_timeout" if self._loop.time() >= self._end else self._late)
        elif self.body is not None:
            self.body.fail("unread" if self.body.paused else "timeout")

    # -- parsing

    def _ended(self, body: BodyStream, transport: asyncio.Transport | None) -> None:
        """The socket has ended, which may end the body; not if it was reset (transport: None), or cut by a third."""
        if not body.complete and (transport is None or not ended_by_peer(transport)):
            body.fail("closed")
        body.feed_eof()

    def _read_heads(self) -> None:
        while self.head is None:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0 or end > self._pool.header_bytes:
                if len(self._buffer) > self._pool.header_bytes:
                    self._broken("response head too large")
                elif not may_begin_a_head(self._buffer):
                    self._broken(not_http1(self._buffer))
                return
            text, self._buffer = self._buffer[: end + 4], self._buffer[end + 4 :]
            try:
                head = self._pool.parser.parse(text, self._method)
            except BadHead as bad:
                self._broken(bad.reason)
                return
            if head.status < 200 and not head.upgrade:
                self._interims += 1
                if self._interims > MAX_INTERIM:
                    self._broken("too many interim responses")
                    return
                if self._interim is not None:
                    self._interim(self._listens, head)
                continue
            self._final(head)

    def _final(self, head: ResponseHead) -> None:
        """The last thing done with what came: whoever waits for the answer goes on inside of it."""
        self.head = head
        rest = self._buffer
        if head.length == len(rest):
            self.whole, self._buffer = rest, b""
        elif head.length == 0:
            self.whole = b""  # and what follows it is nobody's
        else:
            self._buffer = b""
            self.body = BodyStream(head.body, self, self._loop)
            if rest:
                self._read_body(rest)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.keep(None)

    def _read_body(self, data: bytes) -> None:
        body = self.body
        assert body is not None
        if body.complete:
            self._buffer += data[:1]  # more than one answer: never reuse this socket
            self.abort()
            return
        self._buffer = body.feed(data)[:1]
        if not body.paused:
            self._allow_idle()

    def _allow_idle(self) -> None:
        """More is owed soon. An answer that is all here has no deadline: how its caller takes it is not our matter."""
        whole = self.body is not None and self.body.complete
        self.deadline = FOREVER if whole else min(self._loop.time() + self._pool.idle_timeout_s, self._end)

    def _broken(self, reason: str) -> None:
        self.abort()
        self._fail("malformed", reason)

    def _fail(self, error: str, detail: str = "") -> None:
        """The last thing done: whoever waits for the answer goes on inside of it."""
        if self._error is None:
            stale = error in ("closed", "reset") and self.served > 0 and not self._buffer and not self._interims
            self._error = UpstreamFailed(error, detail, reused=stale)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.fail(self._error)
