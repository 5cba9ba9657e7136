"""An answer that is kept, written to a caller."""

from gateway.annotate import limit_lines, ours
from gateway.caching.fetch import tell
from gateway.call import Call
from gateway.core.cache.ranges import Part, wanted_part
from gateway.core.cache.rules import Stored
from gateway.core.cache.validation import fields_of_304, unchanged
from gateway.core.http.fields import response_head
from gateway.core.http.framing import Fields
from gateway.core.units import SECOND_US


async def serve(call: Call, stored: Stored, said: Fields, status: bytes, told: str) -> None:
    """Write the stored answer, or 304 to a caller who has it already.

    said    the caller's fields
    status  what `Cache-Status` says of it, but for the time that is left; told: see `fetch.tell`
    """
    gateway, record, connection = call.gateway, call.record, call.request.connection
    at_us = gateway.now_us()
    age_us = stored.age_now_us(at_us)
    ttl_s = (stored.fresh_us - age_us) // SECOND_US
    name = gateway.settings.name.encode("ascii")
    added = b"Age: %d\r\nCache-Status: %b%b; ttl=%d\r\n" % (age_us // SECOND_US, name, status, ttl_s)
    if unchanged(stored, said, at_us):
        record.status, body = 304, b""
        head = response_head(304, "Not Modified", fields_of_304(stored), (), added)
    else:
        head, body = _answer(call, stored, wanted_part(stored, said, at_us), added)
    record.response_source = "cache"
    record.bytes_out = len(body)
    tell(call, told)
    connection.write(head[:-2] + limit_lines(call) + ours(call) + b"\r\n" + body)
    if connection.write_paused:
        await connection.drain()


def _answer(call: Call, stored: Stored, part: Part | None, added: bytes) -> tuple[bytes, bytes]:
    """Head and body of the whole answer, or of a part of it."""
    status, reason, body = stored.status, stored.reason, stored.body
    if part is not None and call.record.method == "GET":
        first, end = part
        status, reason = (206, "Partial Content") if first < end else (416, "Range Not Satisfiable")
        span = b"%d-%d" % (first, end - 1) if first < end else b"*"
        added += b"Content-Range: bytes %b/%d\r\n" % (span, len(body))
        body = body[first:end]
    call.record.status = status
    if status != 204:
        added += b"Content-Length: %d\r\n" % len(body)
    head = response_head(status, reason, stored.fields, (b"content-range",) if part else (), added)
    return head, b"" if call.record.method == "HEAD" else body
