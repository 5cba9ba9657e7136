"""Intake: the life of a webhook that comes in. Accept, check, keep, answer, settle, record.

It is delivered later, by any worker of any gateway. 200 means that it is in the store; whoever gets anything else, or
nothing, has to send it again. A webhook that is already kept gets the same answer and is not kept twice.
"""

import asyncio
from dataclasses import replace

from gateway.accept import accept, bounds
from gateway.admit import admit
from gateway.annotate import date_line, limit_lines, ours
from gateway.call import Call, Gateway
from gateway.core.problems import (
    BAD_REQUESTS,
    INTAKE_FULL,
    INTAKE_UNAVAILABLE,
    NO_ROUTE,
    UNAUTHENTICATED,
    Refusal,
    bad_request,
    body_problem,
)
from gateway.core.webhooks.intake import ROUTE, Rejected, Source
from gateway.handle import crashed, left, record
from gateway.listener.request import Request
from gateway.modules.intake.desk import Inlet, Intake
from gateway.refuse import refuse
from gateway.settle import settle
from gateway.wire.body import BodyFailed

AGAIN_S = 2
ONLY_POST = Refusal(BAD_REQUESTS[405], "Webhooks are sent by POST.", extra_fields=(("Allow", "POST"),))
UNKNOWN = Refusal(NO_ROUTE, "There is no such source of webhooks.")
FULL = Refusal(INTAKE_FULL, "The intake is full: as many webhooks wait as it may keep.", retry_after_s=AGAIN_S)
UNAVAILABLE = Refusal(INTAKE_UNAVAILABLE, "The webhook cannot be kept right now.", retry_after_s=AGAIN_S)


async def receive(request: Request, gateway: Gateway, intake: Intake) -> None:
    """Answer one webhook. Never raises, like `handle`."""
    call = accept(request, gateway)
    try:
        refusal = bounds(call) or await _take(call, intake)
        if refusal is not None:
            refuse(call, replace(refusal, written=None))  # what settings say in it may have changed since
    except asyncio.CancelledError:
        left(call, None)
    except Exception as crash:
        crashed(call, crash)
    finally:
        settle(call, None, None)
        record(call)


async def _take(call: Call, intake: Intake) -> Refusal | None:
    """Keep it and say so; or why not."""
    inlet = intake.find(call.request.head.target)
    if inlet is None:
        return UNKNOWN
    call.record.route = f"{ROUTE}{inlet.source.name}"
    if call.request.head.method != "POST":
        return ONLY_POST
    try:
        body = await asyncio.create_task(_in_time(call, inlet.source))
    except BodyFailed as failure:
        return body_problem(failure.reason)
    except TimeoutError:
        return body_problem("timeout")
    return await _keep(call, intake, inlet, body)


async def _keep(call: Call, intake: Intake, inlet: Inlet, body: bytes) -> Refusal | None:
    fields = call.request.head.headers
    try:
        known = intake.check(inlet, fields, body)
    except Rejected as rejected:
        call.record.error_detail = rejected.reason
        return Refusal(UNAUTHENTICATED, str(rejected)) if rejected.forged else bad_request(400, str(rejected))
    if inlet.ask is not None:  # only now: forged ones must not use up what the source may send
        call.ask = inlet.ask
        refusal = await admit(call)
        if refusal is not None:
            return refusal
    began = call.gateway.clock()
    result = await asyncio.shield(intake.take(inlet, known, fields, body))
    call.record.store_s += call.gateway.clock() - began
    if result not in ("accepted", "duplicate"):
        call.record.error_detail = result
        return FULL if result == "full" else UNAVAILABLE
    _acknowledge(call, b'{"result":"%b"}' % result.encode())
    return None


async def _in_time(call: Call, source: Source) -> bytes:
    """The whole body. Raises BodyFailed and TimeoutError. For a task of its own."""
    async with asyncio.timeout(source.time_us / 1e6):
        return await _read(call, source.max_bytes)


async def _read(call: Call, most_bytes: int) -> bytes:
    """The whole body. Raises BodyFailed."""
    stream = call.request.body
    if stream is None:
        return b""
    call.request.invite_body()
    pieces, size = [], 0
    while piece := await stream.read():
        size += len(piece)
        if size > most_bytes:
            raise BodyFailed("too_large")
        pieces.append(piece)
    return b"".join(pieces)


def _acknowledge(call: Call, body: bytes) -> None:
    call.record.status, call.record.bytes_out = 200, len(body)
    call.request.connection.write(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n%b%b%b\r\n%b"
        % (len(body), date_line(call.gateway), limit_lines(call), ours(call), body)
    )
