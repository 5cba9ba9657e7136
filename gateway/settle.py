"""Settle: what a call held is given back when its body is over, and its outcome is classified."""

from gateway.breakers import Passage
from gateway.call import Call
from gateway.forward import Upload
from gateway.upstream.exchange import Exchange


def settle(call: Call, exchange: Exchange | None, upload: Upload | None) -> None:
    """Release the upstream socket and the concurrency slots. Never raises, never waits."""
    gateway, record = call.gateway, call.record
    until_head_s = record.upstream_s
    if upload is not None and upload.task is not None and not upload.task.done():
        upload.stop()
        if exchange is not None:
            exchange.abort()
    if exchange is not None:
        record.upstream_s = gateway.clock() - call.forwarded_at
        if exchange.transport is not None:
            exchange.release()
    if call.lease:
        gateway.leases.give_back(call)
    gateway.in_flight -= 1
    body = call.request.body
    if body is not None and not record.bytes_in:
        record.bytes_in = body.size
    _classify(call)
    if call.passage is not None:
        _tell_breaker(call, call.passage, until_head_s)


def _tell_breaker(call: Call, passage: Passage, until_head_s: float) -> None:
    """How the call ended, and how long its answer let wait for itself: not how long a caller took to read it."""
    record = call.record
    call.passage = None
    if record.attempts:
        until_head_s = record.attempts[-1]["upstream_ms"] / 1e3
    counts = call.policies.classes.counted(record.error_class, record.upstream_status)
    call.gateway.breakers.ended(passage, counts, until_head_s)


def _classify(call: Call) -> None:
    record = call.record
    status = record.upstream_status
    if status >= 400 and not record.error_class:
        record.error_class = status_class(status)


def status_class(status: int) -> str:
    """The default error class of an upstream's status; "" for success."""
    if status < 400:
        return ""
    if status in (401, 403):
        return "auth_error"
    if status == 429:
        return "rate_limited"
    return "client_error" if status < 500 else "server_error"
