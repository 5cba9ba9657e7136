"""Accept: a request becomes a call. Request id, trace, client address, and the bounds on calls in flight."""

from typing import Any

from gateway.call import Call, Gateway
from gateway.core.client_address import client, from_forwarded, from_x_forwarded_for, parse, trusted
from gateway.core.problems import OVERLOADED, Refusal, body_problem
from gateway.core.trace import continue_or_start
from gateway.listener.request import Request
from gateway.record import CallRecord


def accept(request: Request, gateway: Gateway) -> Call:
    """Begin the call's record: who asks, for what, under which id. Calls like it before leave little to do."""
    record = CallRecord()
    call = Call(request, gateway, record)
    remembered = request.head.remembered
    alike: Any = remembered and remembered.get(request.connection.peer_ip)
    if alike and alike.policies is call.policies:
        call.alike = alike
        call.route = alike.route
        call.operation = alike.operation
        call.target = alike.target
        call.ask = alike.ask
        call.peer_trusted = alike.peer_trusted
        vars(record).update(alike.facts)
    else:
        _get_to_know(call)
    record.started = request.received
    given, traceparent = request.ids
    record.request_id = given or gateway.new_id()
    trace = call.trace = continue_or_start(traceparent, gateway.random_bits(128))
    record.trace_id, record.span_id, _ = trace
    gateway.in_flight += 1
    return call


def _get_to_know(call: Call) -> None:
    """What the head and the socket say, for the record."""
    record, gateway, head = call.record, call.gateway, call.request.head
    headers = head.headers
    record.method = head.method
    record.target = head.target
    record.scheme = call.request.connection.scheme
    record.http_host = headers.get("Host", "")
    if head.http10:
        record.protocol = "HTTP/1.0"
    record.user_agent = headers.get("User-Agent", "")
    record.referer = headers.get("Referer", "")
    record.peer_ip = record.client_ip = call.request.connection.peer_ip
    if gateway.trusted_proxies:
        peer = parse(record.peer_ip)
        call.peer_trusted = peer is not None and trusted(peer, gateway.trusted_proxies)
        said = (
            from_forwarded(headers.getall("Forwarded", ())),
            from_x_forwarded_for(headers.getall("X-Forwarded-For", ())),
        )
        record.client_ip = client(record.peer_ip, *said, gateway.trusted_proxies)
    record.policy_version = call.policies.version


def bounds(call: Call) -> Refusal | None:
    """Refuse a body known to be bad, and calls beyond the bound on those in flight."""
    gateway, body = call.gateway, call.request.body
    if body is not None and body.failure is not None:
        return body_problem(body.failure.reason)
    if gateway.in_flight > gateway.settings.bounds.calls_in_flight:
        return Refusal(OVERLOADED, "The gateway has as many calls in flight as it may have.", retry_after_s=1)
    return None
