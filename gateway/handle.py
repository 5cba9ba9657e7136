"""The life of a call, top to bottom. The same words name the modules, the log's timings and `docs/life-of-a-call.md`.

accept → identify → admit → forward → annotate → settle → record. A refusal is a value, a failure an exception.
"""

import asyncio

from gateway.accept import accept, bounds
from gateway.admit import admit
from gateway.caching.through import through_cache
from gateway.call import Call, Forward, Gateway
from gateway.core.policy import Route
from gateway.core.problems import BAD_REQUESTS, INTERNAL, Refusal, body_problem
from gateway.forward import forward
from gateway.identify import identify
from gateway.listener.connection import Connection
from gateway.listener.request import Request
from gateway.modules.cache.copying import Answered
from gateway.record import CallRecord
from gateway.refuse import from_upstream_failure, refuse, unreadable
from gateway.relay import relay, relayed_at_once
from gateway.sandbox import from_fixtures
from gateway.settle import settle
from gateway.upload import NOTHING_TO_SEND, Upload
from gateway.upstream.failure import UpstreamFailed
from gateway.wire.body import BodyFailed
from gateway.wire.head import BadHead


def forwarded_by(route: Route) -> Forward:
    """What the admitted calls of a route are given to: here modules that answer in the upstream's place are joined."""
    return from_fixtures if route.fixtures is not None else forward


async def handle(request: Request, gateway: Gateway) -> None:
    """Answer one request. Never raises: whatever happens, the caller gets an answer or a cut, and the log one line."""
    call = accept(request, gateway)
    exchange: Answered | None = None
    upload: Upload | None = None
    try:
        refusal = bounds(call)
        if refusal is None and call.alike is None:
            refusal = await identify(call)
        if refusal is None:
            if call.ask.cached:  # in place of admit and forward
                refusal, exchange, upload = await through_cache(call)
            elif call.ask.empty or (refusal := await admit(call)) is None:
                upload = NOTHING_TO_SEND if request.body is None else Upload(request.body, request.head.chunked)
                try:  # who was admitted has been identified; `forwarded_by` has said by what
                    exchange = await call.alike.forward(call, upload)  # type: ignore[union-attr]
                except UpstreamFailed as failure:
                    refusal = from_upstream_failure(call, failure)
                except BodyFailed as failure:
                    refusal = body_problem(failure.reason)
        if refusal is not None:
            refuse(call, refusal)
        elif exchange is not None and not relayed_at_once(call, exchange):  # either annotates
            await relay(call, exchange)
    except asyncio.CancelledError:
        left(call, exchange)
    except Exception as crash:
        crashed(call, crash)
    finally:
        settle(call, exchange, upload)
        record(call)


def left(call: Call, exchange: Answered | None) -> None:
    """The caller closed its socket, or did not read its answer and was cut; or a drain's grace is over."""
    record, gateway = call.record, call.gateway
    cut = gateway.cutting
    record.status = record.status or (503 if cut else 499)
    record.aborted_by = "gateway" if cut else "client"
    record.error_class = "drained" if cut else "client_closed"
    if call.request.connection.unread:
        record.error_detail = "the caller did not read its answer"
    call.request.connection.abort()
    if exchange is not None:
        exchange.abort()


def crashed(call: Call, crash: Exception) -> None:
    """A defect of ours: the caller gets a 500 if nothing was sent yet, the log everything."""
    call.gateway.on_crash(crash, call.record)
    call.record.error_class = "internal"
    if call.record.status:
        call.request.connection.abort()
    else:
        call.request.connection.keep_alive = False
        refuse(call, Refusal(INTERNAL, "The gateway failed to handle this call."))


def record(call: Call) -> None:
    """The one place a call is logged and counted."""
    call.record.ended = call.gateway.clock()
    call.gateway.sink.emit(call.record)


def handle_bad_head(connection: Connection, bad: BadHead, gateway: Gateway, *, to_head: bool) -> None:
    """Answer and record what is not a request: the socket is closed behind the answer.

    to_head  whether its method is HEAD all the same: then there is no body (RFC 9110 §9.3.2)
    """
    refusal = Refusal(BAD_REQUESTS[bad.status], f"{bad.reason[0].upper()}{bad.reason[1:]}.")
    entry = CallRecord()
    entry.request_id = gateway.new_id()
    entry.started = entry.ended = gateway.clock()
    entry.scheme = connection.scheme
    entry.peer_ip = entry.client_ip = connection.peer_ip
    entry.policy_version = gateway.policies.version
    entry.status = bad.status
    entry.code = refusal.kind.code
    entry.error_class = "bad_request"
    entry.error_detail = bad.reason
    head, body = unreadable(gateway, refusal, entry.request_id)
    if not to_head:
        entry.bytes_out = len(body)
        head += body
    connection.write(head)
    gateway.sink.emit(entry)
