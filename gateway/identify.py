"""Identify: which route and operation a request belongs to, and who is asking."""

import re

from gateway.call import Call
from gateway.core.authentication import Denied, Identity, meets
from gateway.core.challenges import forbidden, unauthenticated
from gateway.core.keys import read_key, vouched
from gateway.core.match import find_operation, find_route
from gateway.core.policy import VOUCHED, KeyFrom, Route
from gateway.core.problems import BAD_REQUESTS, NO_ROUTE, Refusal
from gateway.core.targets import canonical, climbs, has_dot_dot
from gateway.wire.head import Headers

ODD = re.compile(r"//|/\.|[%;\\]")
"""What makes a path readable in more than one way."""

_IN_FIELDS = (KeyFrom.HEADER, KeyFrom.API_KEY)


async def identify(call: Call) -> Refusal | None:
    """Resolve route, caller, operation, key parts and what each limit will be asked (`call.ask`).

    Waits only where the route wants credentials and they are signed with a key that has to be fetched.
    """
    head, record = call.request.head, call.record
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
    if _ambiguous(call, route, path, host.lower()):
        return Refusal(BAD_REQUESTS[400], "The path can also be read as one of another route.")
    identity: Identity | None = None
    if route.authenticate:
        known = await _authenticate(call)
        if isinstance(known, Refusal):
            return known
        identity = known
    rest = path.removeprefix(route.strip_prefix) if route.strip_prefix else path
    rest = rest if rest.startswith("/") or rest == "*" else "/" + rest
    call.target = f"{route.upstream.base_path}{rest}{question}{query}" if rest != "*" else "*"
    operation = call.operation = find_operation(route, head.method, rest, head.headers)
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
    call.parts = parts
    asked = call.gateway.callers.asked(call.policies, route, operation, parts)
    if isinstance(asked, Refusal):
        return asked
    call.ask = asked
    if asked.skipped:
        record.verdict = "skipped"
    return None


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


def _ambiguous(call: Call, route: Route, path: str, host: str) -> bool:
    """Whether a server that tidies paths up would serve this one as another route's, past that route's limits."""
    if len(call.policies.routes) == 1 or not ODD.search(path):
        return False
    head = call.request.head
    other = find_route(call.policies, head.method, host, canonical(path), head.headers)
    return other is not None and other[0] is not route


def _has_port(host: str) -> bool:
    return ":" in host and not host.endswith("]")
