"""Accept: a request becomes a call. Request id, trace, client address, and the bounds on calls in flight."""

import re

from gateway.call import Call, Gateway
from gateway.core.client_address import client, from_forwarded, from_x_forwarded_for, parse, trusted
from gateway.core.problems import LOOP, OVERLOADED, Refusal, body_problem
from gateway.core.trace import continue_or_start
from gateway.listener.request import Request
from gateway.record import CallRecord

_SANE_REQUEST_ID = re.compile(r"[A-Za-z0-9._~+/=:@-]{1,128}")


def accept(request: Request, gateway: Gateway) -> Call:
    """Begin the call's record: who asks, for what, under which id."""
    head = request.head
    headers = head.headers
    record = CallRecord()
    record.started = request.received
    record.method = head.method
    record.target = head.target
    record.scheme = request.connection.scheme
    record.http_host = headers.get("Host", "")
    if head.http10:
        record.protocol = "HTTP/1.0"
    record.user_agent = headers.get("User-Agent", "")
    record.referer = headers.get("Referer", "")
    given = headers.get("X-Request-Id")
    sane = given is not None and _SANE_REQUEST_ID.fullmatch(given) is not None
    record.request_id = given if given is not None and sane else gateway.new_id()
    call = Call(request, gateway, record)
    call.trace = continue_or_start(headers.get("traceparent"), gateway.random_bits(128))
    record.trace_id = call.trace.trace_id
    record.span_id = call.trace.span_id
    record.peer_ip = record.client_ip = request.connection.peer_ip
    if gateway.trusted_proxies:
        peer = parse(record.peer_ip)
        call.peer_trusted = peer is not None and trusted(peer, gateway.trusted_proxies)
        said = (
            from_forwarded(headers.getall("Forwarded", ())),
            from_x_forwarded_for(headers.getall("X-Forwarded-For", ())),
        )
        record.client_ip = client(record.peer_ip, *said, gateway.trusted_proxies)
    record.policy_version = call.policies.version
    gateway.in_flight += 1
    return call


def bounds(call: Call) -> Refusal | None:
    """Refuse a body known to be bad, a loop through ourselves, and calls beyond the bound on those in flight."""
    gateway, body = call.gateway, call.request.body
    if body is not None and body.failure is not None:
        return body_problem(body.failure.reason)
    if gateway.in_flight > gateway.settings.bounds.calls_in_flight:
        return Refusal(OVERLOADED, "The gateway has as many calls in flight as it may have.", retry_after_s=1)
    headers = call.request.head.headers
    if "Via" in headers and gateway.settings.name in _via_names(", ".join(headers.getall("Via"))):
        return Refusal(LOOP, "This request has passed through this gateway before.")
    return None


def _via_names(value: str) -> set[str]:
    return {words[1] for element in value.split(",") if len(words := element.split()) >= 2}
