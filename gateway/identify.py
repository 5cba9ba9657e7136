"""Identify: which route and operation a request belongs to, and who is asking."""

from collections.abc import Iterable, Mapping
from typing import Any

from gateway.call import Alike, Call
from gateway.core.authentication import Denied, Identity, meets
from gateway.core.challenges import forbidden, unauthenticated
from gateway.core.doubts import ODD, ambiguous, dearest, leaves, said_twice
from gateway.core.keys import read_key, vouched
from gateway.core.match import find_operation, find_route
from gateway.core.policy import VOUCHED
from gateway.core.problems import BAD_REQUESTS, LOOP, NO_ROUTE, Refusal
from gateway.record import OWN

MOST_PEERS = 16  # that send one and the same head; more are forgotten


async def identify(call: Call) -> Refusal | None:
    """Resolve route, caller, operation, key parts and what each limit will be asked (`call.ask`).

    Waits only where the route wants credentials and they are signed with a key that has to be fetched.
    """
    head, record = call.request.head, call.record
    if "Via" in head.headers and call.gateway.settings.name in _names(head.headers.getall("Via")):
        return Refusal(LOOP, "This request has passed through this gateway before.")
    path, question, query = head.target.partition("?")
    method, host = head.method.upper(), _host_name(record.http_host)
    found = find_route(call.policies, method, host, "/" if path == "*" else path, head.headers)
    if found is None:
        return Refusal(NO_ROUTE, "No route of this gateway matches the request.")
    route, path_parameters = found
    call.route = route
    record.route = route.name
    record.upstream = route.upstream.name
    if leaves(route, path):
        return Refusal(BAD_REQUESTS[400], "The path leads out of its route.")
    odd = ODD.search(path) is not None
    if odd and ambiguous(call.policies, found, method, host, path, head.headers):
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
    operation = find_operation(route, method, rest, head.headers)
    if odd and route.operations:
        operation = dearest(route, operation, method, rest, head.headers)
    call.operation = operation
    if operation is not None:
        record.operation = operation.name
        record.entity = operation.entity
    if said_twice(route, head.headers, query):
        return Refusal(BAD_REQUESTS[400], "A field or parameter that says who is calling is repeated.")
    parts = {part.name: read_key(part, head.headers, path_parameters, query, record.client_ip) for part in route.keys}
    if identity is not None:
        parts |= {part.name: vouched(part, identity) for part in route.keys if part.source in VOUCHED}
    return _know(call, parts)


def _know(call: Call, parts: Mapping[str, str | None]) -> Refusal | None:
    """Who is asking, and so what for: everything that calls like this one need not find out again."""
    record = call.record
    record.tenant = parts.get("tenant") or ""
    record.account = parts.get("account") or ""
    record.connection = parts.get("connection") or ""
    asked = call.gateway.callers.asked(call.policies, call.route, call.operation, parts)
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
    known: dict[str, Any] | None = None if call.route.authenticate else {}
    record.notes = known
    call.alike = Alike(call, {name: value for name, value in vars(record).items() if name not in OWN})
    if known is None:
        return
    if head.remembered is None or len(head.remembered) >= MOST_PEERS:
        head.remembered = {}
    head.remembered[record.peer_ip] = call.alike


def _names(via: Iterable[str]) -> set[str]:
    """Who a message has passed through (RFC 9110 §7.6.3)."""
    return {words[1] for element in ",".join(via).split(",") if len(words := element.split()) >= 2}


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


def _host_name(host: str) -> str:
    """What routes compare: without port, in lower case, without the dot that ends an absolute name."""
    name = host.rpartition(":")[0] if ":" in host and not host.endswith("]") else host
    return name.lower().removesuffix(".")
