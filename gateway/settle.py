"""Settle: what a call held is given back when its body is over, and its outcome is classified."""

from gateway.call import Call
from gateway.forward import Upload
from gateway.guarding import attempt_ended
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
        _tell_breaker(call, until_head_s)


def _tell_breaker(call: Call, until_head_s: float) -> None:
    """How the last attempt ended. Slow is an answer that let wait for itself, not a caller who reads slowly."""
    record = call.record
    if record.attempts:
        until_head_s = record.attempts[-1]["upstream_ms"] / 1e3
    counts = call.policies.classes.counted(record.error_class, record.upstream_status)
    attempt_ended(call, counts, until_head_s)


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
