"""Who is asking, and what the store is asked about such a call: the work of `identify` that needs nobody else."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from gateway.core.access.authentication import Identity
from gateway.core.access.challenges import not_vouched
from gateway.core.access.credentials import Credential, chosen
from gateway.core.ask import NO_MEASURES, Ask
from gateway.core.guards import IN_KEY, OPERATION, Breaker, Guard, Pausing
from gateway.core.keys import HASHED, VOUCHED, KeyFrom, KeyPart, OnMissing, partition, partition_key, read_key, vouched
from gateway.core.limits import Charge, Mode
from gateway.core.measure import Measure
from gateway.core.policy import Operation, PolicySet, Route
from gateway.core.problems import BAD_REQUESTS, CREDENTIALS_MISSING, KEY_MISSING, Refusal
from gateway.core.routing.ambiguity import said_twice
from gateway.core.routing.resolve import Resolved

Parts = Mapping[str, str | None]
"""Values of key parts by name; None = the caller has none."""


def key_values(resolved: Resolved, headers: Any, client_ip: str, identity: Identity | None) -> Parts | Refusal:
    """The route's key parts in order, or why it cannot be said who is asking.

    headers   as in `resolve.Asking`
    identity  what credentials have proven; None = nothing
    """
    route = resolved.route
    if said_twice(route, headers, resolved.query):
        return Refusal(BAD_REQUESTS[400], "A field or parameter that says who is calling is repeated.")
    parts = {part.name: read_key(part, headers, resolved.parameters, resolved.query, client_ip) for part in route.keys}
    if identity is not None:
        parts |= {part.name: vouched(part, identity) for part in route.keys if part.source in VOUCHED}
    return parts


def ask_for(policies: PolicySet, route: Route, operation: Operation | None, parts: Parts) -> Ask | Refusal:
    """What one call asks the store, or the refusal for a missing key part.

    Each limit and guard is asked whose key parts are known; a missing part rejects, skips or counts as anonymous. A
    limit of which the call costs nothing is not asked, nor who it counts for.
    """
    priced, upstream = operation or route, route.upstream
    values = {name: value for name, value in parts.items() if value is not None}
    charged = _charges(policies, route, priced.cost, values, parts)
    if isinstance(charged, Refusal):
        return charged
    charges, skipped = charged
    guards = _guards(policies, route, operation, parts)
    if isinstance(guards, Refusal):
        return guards
    credential = chosen(upstream.credentials, values)
    if upstream.credentials and credential is None and not upstream.credentials_optional:
        return Refusal(CREDENTIALS_MISSING, f"No credentials for upstream {upstream.name} are set up for this caller.")
    breaker = guards[-1] if guards and isinstance(guards[-1].rule, Breaker) else None
    own = route.breaker is not None and not route.breaker.shared
    return Ask(
        charges,
        guards[:-1] if breaker and own else guards,
        breaker=breaker,
        line=[parts.get(name) for name in upstream.pace.key] if upstream.pace is not None else (),
        cached=upstream.name in policies.cached and route.fixtures is None,
        shelf=_shelf(route, values, credential),
        skipped=skipped,
        measures=_measures(priced, charges) if priced.measures else NO_MEASURES,
        credential=credential,
    )


def asked_alike(policies: PolicySet, route: Route, operation: Operation | None) -> Hashable:
    """Where this is equal, equal callers are asked the same: all that `ask_for` reads of the place, and whose calls the
    ask stands for, the operation's. Valid as long as the route lives: parts of it are named by their identity."""
    priced, upstream = operation or route, route.upstream
    return (
        route.keys,
        tuple(map(id, route.limits)),
        frozenset(priced.cost.items()),
        frozenset(priced.measures.items()),
        id(upstream),
        id(route.breaker),
        (route.name, id(route.cache)) if route.cache is not None else None,
        upstream.name in policies.cached and route.fixtures is None,
        (operation.name, operation.entity) if operation is not None else None,
    )


def _charges(
    policies: PolicySet, route: Route, costs: Mapping[str, int], values: Mapping[str, str], parts: Parts
) -> tuple[list[Charge], bool] | Refusal:
    """What the route's limits are asked for, and whether one is left out because a key part is missing."""
    charges: list[Charge] = []
    skipped = False
    for limit in route.limits:
        cost = costs.get(limit.name, 1)
        if not cost:
            continue
        lacking = missing(policies, limit.key, values)
        if lacking is OnMissing.SKIP:
            skipped = True
            continue
        if isinstance(lacking, Refusal):
            return lacking
        mine = limit.for_caller(values)
        if mine.mode is not Mode.OFF:
            charges.append(Charge(mine, partition_key(mine, parts), cost))
            if mine.shadow is not None:
                charges.append(Charge(mine.shadow, partition_key(mine.shadow, parts), cost))
    return charges, skipped


def _shelf(route: Route, values: Mapping[str, str], credential: Credential | None) -> str | None:
    """See `Ask.shelf`. Of a caller who does not say all that keeps callers apart, nothing is kept. What was got with
    credentials of ours is for those alone for whom we show the same."""
    cache = route.cache
    if cache is None or any(name not in values for name in cache.vary_by):
        return None
    return partition(f"{route.name}:{credential.name if credential else ''}", cache.vary_by, values)


def _measures(priced: Route | Operation, charges: Sequence[Charge]) -> dict[str, Measure]:
    """What is put right later, of the limits that are asked; a variant in shadow like the limit it is one of."""
    found: dict[str, Measure] = {}
    for limit, _, _ in charges:
        measure = priced.measures.get(limit.name)
        if measure is not None:
            found[limit.name] = measure
            if limit.shadow is not None:
                found[limit.shadow.name] = measure
    return found


def _guards(policies: PolicySet, route: Route, operation: Operation | None, parts: Parts) -> list[Guard] | Refusal:
    """The pause and the breaker of this caller, in this order; a refusal where a key part must not be missing."""
    parts = {OPERATION: operation.name if operation is not None else None, **parts}
    values = {name: value for name, value in parts.items() if value is not None}
    rules: list[tuple[str, Pausing | Breaker]] = []
    learning = route.upstream.learning
    if learning is not None:
        rules.append(("pause", Pausing(route.upstream.name, learning.max_us, learning.key)))
    if route.breaker is not None:
        rules.append(("breaker", route.breaker))
    guards: list[Guard] = []
    for kind, rule in rules:
        lacking = missing(policies, rule.key, values)
        if isinstance(lacking, Refusal):
            return lacking
        if lacking is not OnMissing.SKIP:
            key = partition(f"{kind}:{rule.name}", rule.key, parts)
            guards.append(Guard(rule, key, parts if HASHED in key else IN_KEY))
    return guards


def missing(policies: PolicySet, key: Sequence[str], values: Mapping[str, str]) -> OnMissing | Refusal | None:
    """What follows from the parts of a key that the caller does not have: the refusal, SKIP, or nothing."""
    lacking = [policies.keys[name] for name in key if name not in values and name in policies.keys]
    if not lacking:
        return None
    rejecting = [part for part in lacking if part.on_missing is OnMissing.REJECT]
    if rejecting:
        return _key_missing(rejecting[0])
    return OnMissing.SKIP if any(part.on_missing is OnMissing.SKIP for part in lacking) else None


def _key_missing(part: KeyPart) -> Refusal:
    if part.source in VOUCHED:
        return not_vouched(part.name)
    where = part.source.value if part.source is KeyFrom.CLIENT_IP else f"{part.source.value} {part.source_name}"
    return Refusal(KEY_MISSING, f"The key part {part.name} ({where}) is missing.")
