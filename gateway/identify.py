"""Identify: which route and operation a request belongs to, and who is asking."""

from gateway.call import Call
from gateway.core.keys import read_key
from gateway.core.match import find_operation, find_route
from gateway.core.policy import Route
from gateway.core.problems import BAD_REQUESTS, NO_ROUTE, Refusal
from gateway.core.targets import climbs, has_dot_dot


def identify(call: Call) -> Refusal | None:
    """Resolve route, operation, key parts and what each limit will be asked (`call.charges`)."""
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
    rest = path.removeprefix(route.strip_prefix) if route.strip_prefix else path
    rest = rest if rest.startswith("/") or rest == "*" else "/" + rest
    call.target = f"{route.upstream.base_path}{rest}{question}{query}" if rest != "*" else "*"
    operation = call.operation = find_operation(route, head.method, rest, head.headers)
    if operation is not None:
        record.operation = operation.name
        record.entity = operation.entity
    parts = {part.name: read_key(part, head.headers, path_parameters, query, record.client_ip) for part in route.keys}
    record.tenant = parts.get("tenant") or ""
    record.account = parts.get("account") or ""
    record.connection = parts.get("connection") or ""
    call.parts = parts
    asked = call.gateway.callers.asked(call.policies, route, operation, parts)
    if isinstance(asked, Refusal):
        return asked
    call.charges, skipped = asked
    if skipped:
        record.verdict = "skipped"
    return None


def _leaves(route: Route, path: str) -> bool:
    """Whether dot segments would take the call to a part of the upstream that its route does not stand for."""
    pattern = route.match.path
    if pattern is not None and pattern.segments is not None:
        return has_dot_dot(path)
    prefix = pattern.prefix if pattern is not None and pattern.prefix is not None else "/"
    if prefix == "/" and not route.upstream.base_path:
        return False
    return climbs(path[len(prefix) - 1 :])


def _has_port(host: str) -> bool:
    return ":" in host and not host.endswith("]")
