"""Identify: which route and operation a request belongs to, and who is asking.

Little of it is done twice. Calls with the same fields from the same peer on the same route are alike, whatever their
request lines say, unless the line says who is calling or credentials do. Those with the same line too are alike at once
(`accept`), and so are those whose line begins alike wherever that says where it leads (`leads`).
"""

from collections.abc import Iterable, Mapping

from gateway.call import Alike, Call
from gateway.core.access.authentication import Denied, Identity, meets
from gateway.core.access.challenges import forbidden, unauthenticated
from gateway.core.caller import key_values
from gateway.core.policy import Route
from gateway.core.problems import LOOP, Refusal
from gateway.core.routing.resolve import Resolved, resolve
from gateway.leads import look_for_lead, remember_line


async def identify(call: Call) -> Refusal | None:
    """Resolve route, caller, operation, key parts and what each limit will be asked (`call.ask`).

    Waits only where the route wants credentials and they are signed with a key that has to be fetched.
    """
    head, record = call.request.head, call.record
    if head.block.via and call.gateway.settings.name in _names(head.headers.getall("Via")):
        name = call.gateway.settings.name
        return Refusal(LOOP, f"A gateway named {name} has forwarded this request: this one, or one of the same `name`.")
    resolved = resolve(call.policies, head, record.http_host)
    if isinstance(resolved, Refusal):
        return resolved
    route = call.route = resolved.route
    call.target = resolved.target
    call.operation = resolved.operation
    if not route.authenticate:
        known = head.block.remembered.get((record.peer_ip, id(route), id(resolved.operation)))
        if known is not None and known.policies is call.policies:
            known.lend(call)
            remember_line(call, known)
            look_for_lead(call, resolved, known)
            return None
    record.route = route.name
    record.upstream = route.upstream.name
    if resolved.operation is not None:
        record.operation = resolved.operation.name
        record.entity = resolved.operation.entity
    return await _find_caller(call, resolved)


async def _find_caller(call: Call, resolved: Resolved) -> Refusal | None:
    """Who is asking, by credentials and by what is counted."""
    route, headers = resolved.route, call.request.head.headers
    identity: Identity | None = None
    if route.authenticate:
        known = await _authenticate(call)
        if isinstance(known, Refusal):
            return known
        identity = known
    parts = key_values(resolved, headers, call.record.client_ip, identity)
    if isinstance(parts, Refusal):
        return parts
    if route.sandbox is not None:
        call.route = route.facing(parts, headers)
    return _find_ask(call, resolved, parts)


def _find_ask(call: Call, resolved: Resolved, parts: Mapping[str, str | None]) -> Refusal | None:
    """What the caller's limits and guards are asked; everything that calls like this one need not find out again."""
    record = call.record
    record.tenant = parts.get("tenant") or ""
    record.account = parts.get("account") or ""
    record.connection = parts.get("connection") or ""
    asked = call.gateway.callers.asked(call.policies, call.route, call.operation, parts)
    if isinstance(asked, Refusal):
        return asked
    call.ask = asked
    if asked.breaker is not None:
        record.breaker = asked.breaker.rule.name
    if asked.skipped:
        record.verdict = "skipped"
    _remember(call, resolved.route)
    return None


def _remember(call: Call, route: Route) -> None:
    """For as long as credentials hold is not for ever: calls that showed some are identified each time."""
    alike = call.alike = Alike(call, lends=not route.authenticate)
    if route.authenticate:
        return
    remember_line(call, alike)
    if not route.line_keys:
        key = (call.record.peer_ip, id(route), id(call.operation))
        call.request.head.block.keep(call.gateway.facts.same(key), alike)


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


def _names(via: Iterable[str]) -> set[str]:
    """Who a message has passed through (RFC 9110 §7.6.3)."""
    return {words[1] for element in ",".join(via).split(",") if len(words := element.split()) >= 2}
