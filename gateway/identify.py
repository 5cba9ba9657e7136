"""Identify: which route and operation a request belongs to, and who is asking."""

import re
from collections.abc import Mapping

from gateway.call import Alike, Call
from gateway.core.authentication import Denied, Identity, meets
from gateway.core.challenges import forbidden, unauthenticated
from gateway.core.keys import read_key, vouched
from gateway.core.match import find_operation, find_route
from gateway.core.policy import VOUCHED, KeyFrom, Operation, Route
from gateway.core.problems import BAD_REQUESTS, LOOP, NO_ROUTE, Refusal
from gateway.core.targets import climbs, decoded, has_dot_dot, readings
from gateway.record import OWN
from gateway.wire.head import Headers

ODD = re.compile(r"//|/\.|[%;\\]")
"""What makes a path readable in more than one way."""

MAX_ODD_SEGMENTS = 256  # of such a path; comparing its readings is work for us

MOST_PEERS = 16  # that send one and the same head; more are forgotten

_IN_FIELDS = (KeyFrom.HEADER, KeyFrom.API_KEY)


async def identify(call: Call) -> Refusal | None:
    """Resolve route, caller, operation, key parts and what each limit will be asked (`call.ask`).

    Waits only where the route wants credentials and they are signed with a key that has to be fetched.
    """
    head, record = call.request.head, call.record
    if "Via" in head.headers and call.gateway.settings.name in _via_names(", ".join(head.headers.getall("Via"))):
        return Refusal(LOOP, "This request has passed through this gateway before.")
    path, question, query = head.target.partition("?")
    host = record.http_host.rpartition(":")[0] if _has_port(record.http_host) else record.http_host
    found = find_route(call.policies, head.method, host.lower(), "/" if path == "*" else path, head.headers)
    if found is None:
        return Refusal(NO_ROUTE, "No route of this gateway matches the request.")
    route, path_parameters = found
    call.route = route
    record.route = route.name
    record.upstream = route.upstream.name
    if _leaves(route, path):
        return Refusal(BAD_REQUESTS[400], "The path leads out of its route.")
    odd = ODD.search(path) is not None
    if odd and _ambiguous(call, route, path_parameters, path, host.lower()):
        return Refusal(BAD_REQUESTS[400], "The path can also be read as another route's, or as another caller's.")
    identity: Identity | None = None
    if route.authenticate:
        known = await _authenticate(call)
        if isinstance(known, Refusal):
            return known
        identity = known
    rest = path.removeprefix(route.strip_prefix) if route.strip_prefix else path
    rest = rest if rest.startswith("/") or rest == "*" else "/" + rest
    call.target = f"{route.upstream.base_path}{rest}{question}{query}" if rest != "*" else "*"
    operation = find_operation(route, head.method, rest, head.headers)
    if odd and route.operations:
        operation = _dearest(call, route, operation, rest)
    call.operation = operation
    if operation is not None:
        record.operation = operation.name
        record.entity = operation.entity
    if _said_twice(route, head.headers):
        return Refusal(BAD_REQUESTS[400], "A field that says who is calling is repeated.")
    parts = {part.name: read_key(part, head.headers, path_parameters, query, record.client_ip) for part in route.keys}
    if identity is not None:
        parts |= {part.name: vouched(part, identity) for part in route.keys if part.source in VOUCHED}
    record.tenant = parts.get("tenant") or ""
    record.account = parts.get("account") or ""
    record.connection = parts.get("connection") or ""
    asked = call.gateway.callers.asked(call.policies, route, operation, parts)
    if isinstance(asked, Refusal):
        return asked
    call.ask = asked
    if asked.skipped:
        record.verdict = "skipped"
    _remember(call)
    return None


def _remember(call: Call) -> None:
    """Calls with the same head from the same peer need not be identified again, unless by credentials: those expire."""
    head, record = call.request.head, call.record
    record.notes = {}
    facts = {name: value for name, value in vars(record).items() if name not in OWN}
    call.alike = Alike(call, facts)
    if call.route.authenticate:
        record.notes = None
        return
    if head.remembered is None or len(head.remembered) >= MOST_PEERS:
        head.remembered = {}
    head.remembered[record.peer_ip] = call.alike


def _via_names(value: str) -> set[str]:
    return {words[1] for element in value.split(",") if len(words := element.split()) >= 2}


async def _authenticate(call: Call) -> Identity | Refusal:
    """Who the credentials say is calling, if they hold and give access to this route."""
    gateway, route, record = call.gateway, call.route, call.record
    found = await gateway.authenticator.authenticate(route.authenticate, call.request.head.headers)
    if isinstance(found, Denied):
        record.error_detail = found.reason
        return unauthenticated(found, route.authenticate, gateway.settings.name)
    record.auth_scheme, record.auth_key = found.scheme, found.key_id
    if route.require and not meets(route.require, found):
        record.error_detail = "credentials lack what the route requires"
        return forbidden(route.require, route.authenticate, gateway.settings.name)
    return found


def _said_twice(route: Route, headers: Headers) -> bool:
    """Whether a key field is repeated: the upstream might read another value than the one that is counted."""
    return any(part.source in _IN_FIELDS and len(headers.getall(part.source_name, ())) > 1 for part in route.keys)


def _leaves(route: Route, path: str) -> bool:
    """Whether dot segments would take the call to a part of the upstream that its route does not stand for."""
    pattern = route.match.path
    if pattern is not None and pattern.segments is not None:
        return has_dot_dot(path)
    prefix = pattern.prefix if pattern is not None and pattern.prefix is not None else "/"
    if prefix == "/" and not route.upstream.base_path:
        return False
    return climbs(path[len(prefix) - 1 :])


def _ambiguous(call: Call, route: Route, parameters: Mapping[str, str], path: str, host: str) -> bool:
    """Whether some server would serve this path as another route's, past that route's limits, or find another caller
    in it than the one that is counted."""
    if path.count("/") > MAX_ODD_SEGMENTS:
        return True
    counted = _counted(route, parameters)
    head = call.request.head
    for reading in readings(path):
        other = find_route(call.policies, head.method, host, reading, head.headers)
        if other is not None and other[0] is not route:
            return True
        if counted:
            segments = reading.split("/")
            if any(len(segments) <= at or segments[at] not in same for at, same in counted):
                return True
    return False


def _counted(route: Route, parameters: Mapping[str, str]) -> list[tuple[int, tuple[str, str]]]:
    """Where the path says who is calling: (number of the segment, its text and what that stands for)."""
    pattern = route.match.path
    names = {part.source_name for part in route.keys if part.source is KeyFrom.PATH}
    if not names or pattern is None or pattern.segments is None:
        return []
    return [
        (at, (raw, decoded(raw)))
        for at, segment in enumerate(pattern.segments, 1)
        if segment[1:-1] in names and (raw := parameters.get(segment[1:-1])) is not None
    ]


def _dearest(call: Call, route: Route, operation: Operation | None, rest: str) -> Operation | None:
    """Of the operations that the path can be read as, the one that costs most."""
    head = call.request.head
    found = [find_operation(route, head.method, reading, head.headers) for reading in readings(rest)]
    return max((operation, *found), key=lambda one: _price(route, one))


def _price(route: Route, operation: Operation | None) -> int:
    return (
        sum(operation.cost.get(limit.name, 1) for limit in route.limits) if operation is not None else len(route.limits)
    )


def _has_port(host: str) -> bool:
    return ":" in host and not host.endswith("]")
