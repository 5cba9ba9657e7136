"""Accept: a request becomes a call. Request id, trace, client address, and the bounds on calls in flight."""

from gateway.call import Call, Gateway
from gateway.core.http.client_address import client, from_forwarded, from_x_forwarded_for, parse, trusted
from gateway.core.http.trace import continue_or_start
from gateway.core.problems import OVERLOADED, Refusal, body_problem
from gateway.leads import follow_lead
from gateway.listener.request import Request
from gateway.record import UNKNOWN, CallRecord


def accept(request: Request, gateway: Gateway) -> Call:
    """Begin the call's record: who asks, for what, under which id. Calls like it before leave little to do."""
    head, record = request.head, CallRecord()
    call = Call(request, gateway, record)
    known = head.remembered and head.remembered.get(request.connection.peer_ip)
    if known and known[0].policies is call.policies:
        alike, call.target = known
        alike.begin(call)
    elif not follow_lead(call):
        _describe(call)
    record.method = head.method
    record.target = head.target
    record.started = request.received
    given, traceparent = request.ids
    record.request_id = given or gateway.new_id()
    record.trace_id, record.span_id, record.trace_flags, record.parent_span_id = continue_or_start(
        traceparent, gateway.random_bits(128), gateway.sampled_below
    )
    gateway.calls.add(call)
    return call


def _describe(call: Call) -> None:
    """What the fields and the socket say, for the record; the same for all calls that share both."""
    request, record = call.request, call.record
    block, facts = request.head.block, call.gateway.facts
    key = (request.connection.peer_ip,)  # no bare text: keys of one sort, as `identify` has, take half the memory
    known = block.remembered.get(key)
    if known is None or known[0] is not call.policies:
        record.__dict__ = UNKNOWN.copy()
        _read_fields(call)
        block.keep(facts.same(key), (call.policies, call.peer_trusted, facts.shared(record)[0]))
    else:
        _, call.peer_trusted, shared = known
        record.__dict__ = shared.whole.copy()


def _read_fields(call: Call) -> None:
    """Into the record, and whether the peer is trusted; nothing that each call has of its own."""
    record, gateway, head = call.record, call.gateway, call.request.head
    headers = head.headers
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
    if len(gateway.calls) > gateway.settings.bounds.calls_in_flight:
        return Refusal(OVERLOADED, "The gateway has as many calls in flight as its settings allow.", retry_after_s=1)
    return None
