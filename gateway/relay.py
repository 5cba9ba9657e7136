"""The answer on its way to the caller: head and body, as fast as the caller reads, never faster."""

from gateway.annotate import annotate, switching_head
from gateway.call import Call
from gateway.core.http.fields import chunk, last_chunk
from gateway.metering import watch
from gateway.modules.cache.copying import Answered
from gateway.upstream.exchange import Exchange
from gateway.upstream.tunnel import Tunnel
from gateway.wire.body import BodyFailed, Readable
from gateway.wire.response_head import ResponseHead


def relayed_at_once(call: Call, exchange: Answered) -> bool:
    """Write an answer that has arrived as a whole; False = nothing was done, see `relay`.

    Nobody waits until a slow caller has taken it: its socket does, before the next call on it begins.
    """
    record, answer, body = call.record, exchange.head, exchange.whole
    if body is None or answer is None or answer.upgrade:
        return False
    record.status = record.upstream_status = answer.status
    record.response_source = "upstream"
    record.bytes_out = len(body)
    if call.ask.measures:
        watch(call, answer, body)
    call.request.connection.write_behind(annotate(call, answer)[0], body)
    return True


async def relay(call: Call, exchange: Answered) -> None:
    """Write an answer whose body is still to come, as it comes, or join the sockets of an upgrade.

    When the upstream's body breaks off, so does ours, in a way that shows.
    """
    record, connection, answer = call.record, call.request.connection, exchange.head
    assert answer is not None, "relayed is what has been answered"
    record.status = record.upstream_status = answer.status
    record.response_source = "upstream"
    if answer.upgrade and isinstance(exchange, Exchange):
        await _tunnel(call, exchange, answer)
        return
    body = exchange.body
    assert body is not None, "what is here as a whole has been relayed at once"
    head, chunked = annotate(call, answer)
    learning = call.route.upstream.learning
    if call.ask.measures or (learning is not None and answer.status in learning.worded):
        watch(call, answer, b"")
    try:
        if body.complete:
            connection.write_behind(head, _last(call, body, body.take(), chunked))
        else:
            await _stream(call, head, body, chunked)
    except BodyFailed as failure:
        _blame(call, failure.reason)
        if chunked or "Content-Length" in answer.headers:
            connection.break_off()
        else:
            connection.abort()  # only the end of the socket ends this answer: it must not look regular
        return
    if connection.write_paused:
        await connection.drain()


def _blame(call: Call, reason: str) -> None:
    """Note whose fault it is that the body will never be complete."""
    record = call.record
    if reason == "unread":
        record.aborted_by, record.error_class = "client", "client_closed"
        record.error_detail = "the caller read its answer too slowly"
        return
    record.aborted_by = "upstream"
    error = "idle_timeout" if reason == "timeout" else "cut"
    record.error_class = call.policies.classes.errors[error].name
    record.error_detail = f"response body {reason}"


def _last(call: Call, body: Readable, data: bytes, chunked: bool) -> bytes:
    """The last (or only) piece with what ends the body."""
    record = call.record
    record.bytes_out += len(data)
    if record.heard is not None:
        record.heard.feed(data)
    return chunk(data) + last_chunk(body.trailers) if chunked else data


async def _stream(call: Call, head: bytes, body: Readable, chunked: bool) -> None:
    connection, record = call.request.connection, call.record
    try:
        data = body.take()
    except BodyFailed:  # it has failed already: at least its head is passed on
        connection.write(head)
        raise
    record.bytes_out += len(data)
    if record.heard is not None:
        record.heard.feed(data)
    connection.write_behind(head, chunk(data) if chunked else data)
    del data  # 256 KiB of each slow caller, if they stayed here until there are more
    while True:
        if connection.write_paused:
            await connection.drain()
        data = await body.read()
        if body.complete:
            connection.write(_last(call, body, data, chunked))
            return
        record.bytes_out += len(data)
        if record.heard is not None:
            record.heard.feed(data)
        connection.write(chunk(data) if chunked else data)
        del data  # as above


async def _tunnel(call: Call, exchange: Exchange, answer: ResponseHead) -> None:
    """101: from here on bytes flow both ways untouched until either side closes."""
    record, connection = call.record, call.request.connection
    connection.write(switching_head(call, answer))
    upstream, from_upstream = exchange.hand_over()
    caller, from_caller = connection.hand_over()
    if upstream is None or caller is None:  # the upstream: when a caller has gone, its call ends where it waits
        record.aborted_by = "upstream"
        connection.abort()
        exchange.abort()
        return
    gateway = call.gateway
    tunnel = Tunnel(caller, upstream, lambda: 0.0 if gateway.cutting else gateway.settings.bounds.body_time_us / 1e6)
    tunnel.start(from_caller, from_upstream)
    try:
        await tunnel.closed
    finally:
        tunnel.abort()
        record.bytes_in = tunnel.bytes_in
        record.bytes_out = tunnel.bytes_out
    if gateway.cutting:
        record.aborted_by, record.error_class = "gateway", "drained"
    elif tunnel.unread:
        record.aborted_by, record.error_class = "client", "client_closed"
        record.error_detail = f"the {tunnel.unread} did not read what was left of a tunnel"
