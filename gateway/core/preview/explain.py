"""What the gateway would do with a call, and why: found by the very functions that serve calls, charging nothing.

The counters are not looked at here: whoever wants them asks the store to `peek` with the explanation's `ask`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from gateway.core.access.authentication import Denied, Identity, meets
from gateway.core.access.challenges import forbidden, unauthenticated
from gateway.core.ask import Ask
from gateway.core.caller import Parts, ask_for, key_values, missing
from gateway.core.http.targets import host_name
from gateway.core.keys import OnMissing, partition_key
from gateway.core.limits import Limit, Mode, Override
from gateway.core.measure import Measure
from gateway.core.policy import PolicySet, Route
from gateway.core.problems import Refusal
from gateway.core.routing.mismatch import mismatch
from gateway.core.routing.resolve import Asking, Resolved, resolve

_NOTHING_KNOWN: Parts = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Passed:
    """A route, or an operation, that stands before the one that was found, and what spoke against it."""

    name: str
    why: str


@dataclass(frozen=True, slots=True)
class LimitCase:
    """One limit of the route, as it is for this caller.

    limit      with this caller's numbers
    override   the one that gave them; None = the limit's own
    partition  the key in the store, without its prefix; "" when it is not asked
    cost       units that a call takes; `measure` says how the real number is found later
    why_not    why it is not asked; "" = it is
    """

    limit: Limit
    override: Override | None
    partition: str
    cost: int
    measure: Measure | None
    why_not: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """What is known about a call before any counter is.

    refusal    the answer that it would get without a limit or guard being asked; None = it would be admitted to them
    resolved   None = no route takes it
    passed     routes that stand before the one that was found (all, if none was)
    passed_operations  the same of the route's operations
    parts      values of the route's key parts
    ask        what the store would be asked
    limits     every limit of the route, in its order
    unchecked  whether the route wants credentials and nobody looked at any
    """

    refusal: Refusal | None
    resolved: Resolved | None = None
    passed: tuple[Passed, ...] = ()
    passed_operations: tuple[Passed, ...] = ()
    parts: Parts = field(default_factory=dict)
    ask: Ask | None = None
    limits: tuple[LimitCase, ...] = ()
    unchecked: bool = False


def explain(
    policies: PolicySet,
    asking: Asking,
    http_host: str,
    *,
    client_ip: str = "",
    identity: Identity | Denied | None = None,
    known: Parts = _NOTHING_KNOWN,
    realm: str = "gateway",
) -> Explanation:
    """Explain one call.

    asking     its method, raw target (path and query) and fields
    http_host  value of its Host field
    client_ip  textual address, "" = unknown
    identity   what looking at its credentials came to; None = nobody looked
    known      values of key parts that are known from elsewhere (a log line); they replace those that are read
    realm      name of the gateway
    """
    resolved = resolve(policies, asking, http_host)
    passed = tuple(_passed(policies, asking, http_host, None if isinstance(resolved, Refusal) else resolved.route))
    if isinstance(resolved, Refusal):
        return Explanation(resolved, passed=passed)
    operations = tuple(_passed_operations(resolved, asking))
    unchecked = bool(resolved.route.authenticate) and identity is None
    proven = identity if isinstance(identity, Identity) else None
    parts = key_values(resolved, asking.headers, client_ip, proven)
    refusal = _no_access(resolved.route, identity, realm)
    if isinstance(parts, Refusal):
        return Explanation(refusal or parts, resolved, passed, operations, unchecked=unchecked)
    parts = {name: known.get(name, value) for name, value in parts.items()}
    resolved = resolved._replace(route=resolved.route.facing(parts, asking.headers))
    asked = ask_for(policies, resolved.route, resolved.operation, parts)
    cases = tuple(_case(policies, resolved, limit, parts) for limit in resolved.route.limits)
    if isinstance(asked, Refusal):
        return Explanation(refusal or asked, resolved, passed, operations, parts, None, cases, unchecked)
    return Explanation(refusal, resolved, passed, operations, parts, asked, cases, unchecked)


def _no_access(route: Route, identity: Identity | Denied | None, realm: str) -> Refusal | None:
    """What the route answers to such credentials."""
    if not route.authenticate or identity is None:
        return None
    if isinstance(identity, Denied):
        return unauthenticated(identity, route.authenticate, realm)
    return None if meets(route.require, identity) else forbidden(route.require, route.authenticate, realm)


def _passed(policies: PolicySet, asking: Asking, http_host: str, found: Route | None) -> Iterator[Passed]:
    path = "/" if asking.target == "*" else asking.target.partition("?")[0]
    for route in policies.routes:
        if route is found:
            return
        why = mismatch(route.match, asking.method.upper(), host_name(http_host), path, asking.headers)
        if why is not None:
            yield Passed(route.name, why)


def _passed_operations(resolved: Resolved, asking: Asking) -> Iterator[Passed]:
    for operation in resolved.route.operations:
        if operation is resolved.operation:
            return
        why = mismatch(operation.match, asking.method.upper(), "", resolved.rest, asking.headers)
        if why is not None:
            yield Passed(operation.name, why)


def _case(policies: PolicySet, resolved: Resolved, limit: Limit, parts: Parts) -> LimitCase:
    values = {name: value for name, value in parts.items() if value is not None}
    mine, priced = limit.for_caller(values), resolved.operation or resolved.route
    override = next((one for one in limit.overrides if one.limit is mine), None)
    cost = priced.cost.get(limit.name, 1)
    why_not = _why_not(policies, limit, mine, values) if cost else "the call costs nothing of it"
    partition = "" if why_not else partition_key(mine, parts)
    return LimitCase(mine, override, partition, cost, priced.measures.get(limit.name), why_not)


def _why_not(policies: PolicySet, limit: Limit, mine: Limit, values: Mapping[str, str]) -> str:
    lacking = missing(policies, limit.key, values)
    if isinstance(lacking, Refusal):
        return f"a key part is missing, which refuses the call: {lacking.detail}"
    if lacking is OnMissing.SKIP:
        names = [name for name in limit.key if name not in values and policies.keys[name].on_missing is OnMissing.SKIP]
        return f"skipped: the call has no {' and no '.join(names)}"
    return "its mode is off" if mine.mode is Mode.OFF else ""
