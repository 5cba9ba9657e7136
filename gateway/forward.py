"""Forward: send the call upstream and get the head of its answer. What follows when that fails is `attempts`' part."""

import asyncio

from gateway.attempts import STALE_SOCKET, Again, Attempts
from gateway.call import Call
from gateway.core.access.credentials import Credential, with_parameter
from gateway.core.http.fields import HOP_BY_HOP, connection_named, lower, response_head, text
from gateway.core.http.signals import TOO_MANY
from gateway.core.http.trace import parent_field
from gateway.core.upstream_fields import upstream_fields
from gateway.guarding import head_arrived, learn, take_turn
from gateway.listener.connection import Connection
from gateway.tried import Tried, may_repeat
from gateway.upload import Upload
from gateway.upstream.exchange import Exchange
from gateway.upstream.failure import UpstreamFailed
from gateway.upstream.held import HeldAnswer
from gateway.upstream.pool import Pool
from gateway.upstream.understood import understood
from gateway.wire.body import BodyFailed
from gateway.wire.response_head import ResponseHead

TOO_LATE = 408
_NOT_IN_INTERIM = HOP_BY_HOP | {b"content-length"}  # a 1xx has no body (RFC 9110 §15.2), whatever it says


async def forward(call: Call, upload: Upload) -> Exchange | HeldAnswer:
    """What has the answer: its head has arrived.

    Raises UpstreamFailed when there is no answer, BodyFailed when the caller's body is at fault.
    """
    route = call.route
    pool = call.alike.pool  # type: ignore[union-attr]  # who was admitted has been identified
    pool.calls += 1
    call.forwarded_at = call.gateway.clock()
    if upload.whole is None and route.keep_bytes:
        upload.keep(route.keep_bytes)
    try:
        exchange = await attempt(call, pool, upload)
        if not route.watched or exchange.head is None or exchange.head.means not in route.watched:
            return exchange
        first = Tried(exchange)
    except UpstreamFailed as failure:
        first = Tried(None, failure)
        if not first.worth_another(call, route.retry or STALE_SOCKET):
            raise
    finally:
        call.record.upstream_s = call.gateway.clock() - call.forwarded_at
    return await _go_on(call, pool, upload, first)


async def _go_on(call: Call, pool: Pool, upload: Upload, first: Tried) -> Exchange | HeldAnswer:
    """Further attempts. One after a stale socket goes out on a fresh one: that race is lost only once."""
    fresh = first.failure is not None and first.failure.reused

    async def send(again: Again) -> Exchange:
        nonlocal fresh
        now, fresh = fresh, False
        return await attempt(call, pool, upload, fresh=now, again=again)

    attempts = Attempts(call, call.route.retry or STALE_SOCKET, first, send, upload)
    try:
        return await asyncio.create_task(attempts.go_on())
    except BaseException:
        attempts.drop()
        raise
    finally:
        call.record.upstream_s = call.gateway.clock() - call.forwarded_at


async def attempt(
    call: Call, pool: Pool, upload: Upload, *, fresh: bool = False, again: Again | None = None
) -> Exchange:
    """Send the call once and wait for the head of the answer.

    fresh  on a new socket in any case
    again  what is different from the first attempt of the call; None = this is it

    Raises as `forward` does; then nothing of the attempt is left.
    """
    if call.route.upstream.pace is not None:
        await take_turn(call)
    exchange = None if fresh else pool.take()
    if exchange is None:
        exchange, again = await _opened(call, pool, again)
    call.record.upstream_addr = exchange.address
    try:
        _send(call, pool, exchange, upload, again)
        head = exchange.head
        if head is None:
            await exchange.answered()
            head = exchange.head
            assert head is not None, "answered means that there is a head"
        learning = call.route.upstream.learning
        if learning is not None:
            if head.status in learning.worded:
                head = await understood(exchange, learning, patient=_tries_again(call))
            learn(call, learning, head)
        if head.upgrade and not call.request.head.upgrade:
            raise UpstreamFailed("malformed", "101 that nobody asked for")
        if head.status == TOO_LATE and _heard_nobody(call, exchange, head, upload):
            raise UpstreamFailed("closed", "it was closing an idle socket (408)", reused=True)
        body = exchange.body
        if body is not None and body.failure is not None and body.failure.reason == "malformed" and not body.size:
            raise UpstreamFailed("malformed", "broken from the first byte of its body")
        if call.passage is not None and (body is not None or head.upgrade):
            head_arrived(call, head, upload.waited_s)
    except BaseException as failure:
        upload.stop()
        exchange.abort()
        if upload.task is not None and isinstance(failure, UpstreamFailed):
            _blame_caller(upload, failure, pool.upstream.timeouts.total_us)
        raise
    return exchange


async def _opened(call: Call, pool: Pool, again: Again | None) -> tuple[Exchange, Again | None]:
    """A fresh socket; the bounds of the route's retries hold for connecting, too, and what that took is over."""
    retry = call.route.retry
    if retry is None:
        return await pool.open(), again
    elapsed_us, span_id = again or (0, call.record.span_id)
    began = call.gateway.clock()
    exchange = await pool.open(retry.answer_within_us(pool.upstream.timeouts.connect_us, elapsed_us))
    return exchange, Again(elapsed_us + int((call.gateway.clock() - began) * 1e6), span_id)


def _tries_again(call: Call) -> bool:
    """Whether a call that is one too many is sent again."""
    retry = call.route.retry
    return retry is not None and TOO_MANY in retry.statuses and may_repeat(call, retry)


def _heard_nobody(call: Call, exchange: Exchange, head: ResponseHead, upload: Upload) -> bool:
    """Whether a 408 is no answer to this request: some servers say it when they close a socket that was idle for long,
    and it may be on its way when the next request is. What was not read may be sent again (RFC 9110 §15.5.9)."""
    if not exchange.served or head.keep_alive or upload.task is not None:
        return False
    return may_repeat(call, call.route.retry or STALE_SOCKET)


def _blame_caller(upload: Upload, failure: UpstreamFailed, total_us: int) -> None:
    """Raises BodyFailed when the attempt failed because the caller broke its body off, or took too long over it."""
    if upload.failure is not None:
        raise upload.failure from None
    if failure.error == "total_timeout" and upload.let_wait(total_us / 1e6):
        raise BodyFailed("timeout") from None


def _send(call: Call, pool: Pool, exchange: Exchange, upload: Upload, again: Again | None) -> None:
    """Write the request, or its head and start pumping its body."""
    timeouts, retry = pool.upstream.timeouts, call.route.retry
    first_byte_us = timeouts.first_byte_us
    if retry is not None:
        first_byte_us = retry.answer_within_us(first_byte_us, again.elapsed_us if again else 0)
    head, body, begun = _head(call, again.span_id if again else call.record.span_id), upload.body, b""
    if body is not None:
        begun = upload.begin()
        if body.trailers:
            exchange.last_use = True
    at_hand = upload.whole is not None
    exchange.send(
        head,
        call.record.method,
        body=begun,
        first_byte_s=first_byte_us / 1e6 if at_hand else 0.0,
        total_s=timeouts.total_us / 1e6,
        interim=None if call.request.head.block.http10 else _pass_on,
        listens=call.request.connection,
    )
    if not at_hand:
        upload.pump(exchange, call.request, first_byte_us)


def _pass_on(connection: Connection, head: ResponseHead) -> None:
    """Pass 1xx answers on, except 100, which is answered here (RFC 9110 §15.2)."""
    if head.status != 100:
        drop = _NOT_IN_INTERIM | connection_named(",".join(head.headers.getall("Connection", ())), ())
        connection.write(response_head(head.status, head.reason, head.fields, drop, b""))


def _head(call: Call, span_id: str) -> bytes:
    """The request head for the upstream; most of it is the same for all calls that are alike."""
    alike, record = call.alike, call.record
    assert alike is not None, "who was admitted has been identified"
    fields = alike.upstream_fields
    if not fields:
        head, credential = call.request.head, alike.ask.credential
        fields = upstream_fields(
            call.route, call.gateway.hop, record, head, trusted=call.peer_trusted, credential=credential
        )
        alike.tracestate = text([field for field in head.fields if lower[field[0]] == b"tracestate"])
        if credential is None or credential.lasting:
            alike.upstream_fields = fields
            head.block.let_go()
        elif credential.parameter:
            call.target = with_parameter(call.target, credential)
        else:
            fields += _token_line(call, credential)
    line = f"{record.method} {call.target} HTTP/1.1\r\n"
    if alike.tracestate and record.parent_span_id:  # W3C Trace Context §4.3: not without its traceparent
        fields += alike.tracestate
    parent = parent_field(record.trace_id, span_id, record.trace_flags)
    ids = f"X-Request-Id: {record.request_id}\r\ntraceparent: {parent}\r\n\r\n"
    return line.encode("utf-8", "surrogateescape") + fields + ids.encode("ascii")


def _token_line(call: Call, credential: Credential) -> bytes:
    """What `admit` found to be there. Raises UpstreamFailed when reloads have taken the credential away meanwhile."""
    line = call.gateway.supply.line(credential)
    if not line:
        raise UpstreamFailed("busy", f"credentials {credential.name} have left the policies")
    return line
