"""Settle: what a call held is given back when its body is over, and its outcome is classified."""

from gateway.call import Call
from gateway.core.classes import NO_PLACE
from gateway.core.headers import whole_seconds
from gateway.core.http.signals import Honor, read
from gateway.guarding import attempt_ended, judged_by, overheard
from gateway.metering import settle_costs
from gateway.modules.cache.copying import Answered
from gateway.upload import Upload
from gateway.wire.response_head import ResponseHead

RETRY_AFTER = (Honor.RETRY_AFTER,)


def settle(call: Call, exchange: Answered | None, upload: Upload | None) -> None:
    """Release the upstream socket and the concurrency slots. Never raises, never waits."""
    gateway, record = call.gateway, call.record
    until_head_s = record.upstream_s
    if upload is not None and upload.task is not None:
        until_head_s -= upload.waited_s
        if not upload.task.done():
            upload.stop()
            if exchange is not None:
                exchange.abort()
    if exchange is not None:
        record.upstream_s = gateway.clock() - call.forwarded_at
        if exchange.transport is not None:
            exchange.release()
    if call.lease:
        _free_slots(call)
    gateway.calls.discard(call)
    head = exchange.head if exchange is not None else None
    if call.ask.measures or record.error_class == NO_PLACE:
        settle_costs(call, head)
    body = call.request.body
    if body is not None and not record.bytes_in:
        record.bytes_in = body.size
    classes = call.policies.classes
    if head is not None and (record.heard is not None or head.means in classes.statuses):
        _classify(call, head)
    if call.passage is not None:
        if record.attempts:  # slow is an answer that let wait for itself, not a caller who sends or reads slowly
            until_head_s = record.attempts[-1]["upstream_ms"] / 1e3 - (upload.waited_s if upload is not None else 0.0)
        counts = classes.counted(record.error_class, record.upstream_status)
        attempt_ended(call, counts, until_head_s)


def _free_slots(call: Call) -> None:
    """Give the slots back: at once, or when the upstream is done with a call that was given up."""
    record, leases, goes_on_us = call.record, call.gateway.leases, call.route.upstream.goes_on_us
    given_up = record.upstream_addr and (record.aborted_by or record.code == "UPSTREAM_TIMEOUT")
    if goes_on_us and given_up:
        leases.give_back_after(call, goes_on_us / 1e6)
    else:
        leases.give_back(call)


def _classify(call: Call, head: ResponseHead) -> None:
    record, statuses = call.record, call.policies.classes.statuses
    if record.heard is not None:
        head = overheard(call, record.heard, head)
    error_class, means = statuses.get(head.means), judged_by(call, head)
    if error_class is None or not record.upstream_status:
        return
    record.judged_status = means
    record.error_class = record.error_class or statuses.get(means, error_class).name
    asked = read(means, head.fields, call.gateway.now_us(), RETRY_AFTER)
    record.upstream_retry_after_s = whole_seconds(asked.wait_us)
