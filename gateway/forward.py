"""Forward: send the call upstream and get the head of its answer.

One attempt, and one more on a fresh socket when the first went out on a kept-alive socket that the upstream had
closed meanwhile, not one byte of an answer came, and the request may be repeated (RFC 9110 §9.2.2, RFC 9112 §9.3.1).
"""

import asyncio
from typing import Any

from gateway.call import Call
from gateway.core.fields import (
    ADDRESS_FIELDS,
    HOP_BY_HOP,
    LOOKALIKES,
    OURS_UPSTREAM,
    chunk,
    connection_named,
    keep,
    last_chunk,
    text,
    tokens,
)
from gateway.core.policy import KeyFrom
from gateway.guarding import head_arrived, learn
from gateway.listener.connection import CONTINUE, Connection
from gateway.upstream.exchange import Exchange
from gateway.upstream.failure import UpstreamFailed
from gateway.upstream.pool import Pool
from gateway.wire.body import BodyFailed, BodyStream
from gateway.wire.response_head import ResponseHead

IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
_DROP_FROM_TRUSTED = HOP_BY_HOP | OURS_UPSTREAM | LOOKALIKES
_DROP = _DROP_FROM_TRUSTED | ADDRESS_FIELDS
_NOT_IN_INTERIM = HOP_BY_HOP | {b"content-length"}  # a 1xx has no body (RFC 9110 §15.2), whatever it says


class Upload:
    """The request body on its way up: already at hand as a whole, or pumped while the answer is awaited."""

    __slots__ = ("body", "chunked", "failure", "task", "whole")

    def __init__(self, body: BodyStream | None, chunked: bool) -> None:
        self.body = body
        self.chunked = chunked
        self.whole: bytes | None = b"" if body is None else None
        self.task: asyncio.Task[None] | None = None
        self.failure: BodyFailed | None = None

    @property
    def repeatable(self) -> bool:
        """Whether everything that was sent can be sent again."""
        return self.whole is not None

    def stop(self) -> None:
        """The answer is over, or nobody wants it: stop sending."""
        if self.task is not None and not self.task.done():
            self.task.cancel()


NOTHING_TO_SEND = Upload(None, chunked=False)
"""For all calls without a body."""


async def forward(call: Call, upload: Upload) -> Exchange:
    """The exchange whose answer head has arrived (`exchange.head`).

    Raises UpstreamFailed when there is no answer, BodyFailed when the caller's body is at fault.
    """
    pool = call.gateway.upstreams.pool(call.route.upstream)
    started = call.forwarded_at = call.gateway.clock()
    try:
        return await attempt(call, pool, upload)
    except UpstreamFailed as failure:
        if not (failure.reused and upload.repeatable and call.record.method in IDEMPOTENT):
            raise
        _note_attempt(call, failure, call.gateway.clock() - started)
        return await attempt(call, pool, upload, fresh=True)
    finally:
        call.record.upstream_s = call.gateway.clock() - started


def _note_attempt(call: Call, failure: UpstreamFailed, seconds: float) -> None:
    attempts: list[dict[str, Any]] = call.record.attempts or []
    attempts.append({"n": len(attempts) + 1, "error_class": failure.error, "upstream_ms": round(seconds * 1e3, 3)})
    call.record.attempts = attempts


async def attempt(
    call: Call, pool: Pool, upload: Upload, *, fresh: bool = False, within_us: int | None = None
) -> Exchange:
    """Send the call once and wait for the head of the answer, for at most `within_us` (None: the upstream's bound).

    fresh  on a new socket in any case

    Raises as `forward` does; then nothing of the attempt is left.
    """
    exchange = None if fresh else pool.take()
    if exchange is None:
        exchange = await pool.open()
    call.record.upstream_addr = exchange.address
    try:
        _send(call, pool, exchange, upload, within_us)
        head = exchange.head
        if head is None:
            await exchange.answered()
            head = exchange.head
            assert head is not None, "answered means that there is a head"
        if pool.upstream.learning is not None:
            learn(call, pool.upstream.learning, head)
        if call.passage is not None and exchange.body is not None:
            head_arrived(call, head)
        if head.upgrade and not call.request.head.upgrade:
            raise UpstreamFailed("malformed", "101 that nobody asked for")
        body = exchange.body
        if body is not None and body.failure is not None and not body.size:
            raise UpstreamFailed("malformed", "broken from the first byte of its body")
    except BaseException as failure:
        upload.stop()
        exchange.abort()
        if upload.failure is not None and isinstance(failure, UpstreamFailed):
            raise upload.failure from None
        raise
    return exchange


def _send(call: Call, pool: Pool, exchange: Exchange, upload: Upload, within_us: int | None) -> None:
    """Write the request, or its head and start pumping its body."""
    head, body = _head(call), upload.body
    timeouts = pool.upstream.timeouts
    first_byte_s = (timeouts.first_byte_us if within_us is None else within_us) / 1e6
    if body is not None:
        if upload.whole is None and body.complete:
            data = body.take()
            upload.whole = chunk(data) + last_chunk(body.trailers) if upload.chunked else data
        if body.trailers:
            exchange.last_use = True
    at_hand = upload.whole is not None
    exchange.send(
        head + upload.whole if upload.whole else head,
        call.record.method,
        first_byte_s=first_byte_s if at_hand else 0.0,
        total_s=timeouts.total_us / 1e6,
        interim=None if call.request.head.http10 else _pass_on,
        listens=call.request.connection,
    )
    if body is not None and not at_hand:
        upload.task = asyncio.create_task(_pump(call, exchange, upload, body, first_byte_s))


async def _pump(call: Call, exchange: Exchange, upload: Upload, body: BodyStream, first_byte_s: float) -> None:
    """Send the body as it comes. A body that fails takes the exchange with it: half a request must not be acted on."""
    connection = call.request.connection
    if call.request.head.expects_continue and not body.size:
        connection.write(CONTINUE)
    try:
        while data := await body.read():
            exchange.write(chunk(data) if upload.chunked else data)
            if exchange.write_paused:
                await exchange.drain()
    except BodyFailed as failure:
        upload.failure = failure
        exchange.abort()
        return
    if upload.chunked:
        exchange.write(last_chunk(body.trailers))
        if body.trailers:
            exchange.last_use = True
    exchange.await_answer(first_byte_s)


def _pass_on(connection: Connection, head: ResponseHead) -> None:
    """Pass 1xx answers on, except 100, which is answered here (RFC 9110 §15.2)."""
    if head.status != 100:
        reason = head.reason.encode("utf-8", "surrogateescape")
        connection.write(b"HTTP/1.1 %d %b\r\n%b\r\n" % (head.status, reason, text(keep(head.fields, _NOT_IN_INTERIM))))


def _head(call: Call) -> bytes:
    """The request head for the upstream; most of it is the same for all calls that are alike."""
    alike, record, trace = call.alike, call.record, call.trace
    assert alike is not None, "who was admitted has been identified"
    fields = alike.upstream_fields
    if not fields:
        fields = alike.upstream_fields = _fields(call)
    line = f"{record.method} {call.target} HTTP/1.1\r\n"
    ids = f"X-Request-Id: {record.request_id}\r\ntraceparent: 00-{trace.trace_id}-{trace.span_id}-{trace.flags}\r\n\r\n"
    return line.encode("utf-8", "surrogateescape") + fields + ids.encode("ascii")


def _fields(call: Call) -> bytes:
    """The field lines but for the ids."""
    gateway, record, head = call.gateway, call.record, call.request.head
    upstream = call.route.upstream
    drop = _DROP_FROM_TRUSTED | gateway.hop.rewritten if call.peer_trusted else _DROP
    if call.route.credential_fields:
        drop = drop | call.route.credential_fields
    headers = head.headers
    added = b""
    if "Connection" in headers:
        keys = {
            part.source_name.encode() for part in call.route.keys if part.source in (KeyFrom.HEADER, KeyFrom.API_KEY)
        }
        drop = drop | connection_named(",".join(headers.getall("Connection")), keys)
        if head.upgrade:
            added = b"Connection: Upgrade\r\nUpgrade: %b\r\n" % head.upgrade.encode("latin-1", "replace")
        elif "trailers" in tokens(",".join(headers.getall("TE", ()))):
            added = b"Connection: TE\r\nTE: trailers\r\n"
    if head.chunked:
        added += b"Transfer-Encoding: chunked\r\n"
    elif "Trailer" in headers:
        drop = drop | {b"trailer"}
    if upstream.rewrite_host or not record.http_host:
        host = upstream.authority.encode("ascii")
    else:
        host = record.http_host.encode("latin-1")
    added += gateway.hop.lines(record, head.fields if call.peer_trusted else ())
    return b"Host: %b\r\n" % host + text(keep(head.fields, drop)) + added  # RFC 9110 §7.2: Host first
