"""What each caller's limits and guards are asked: computed once per caller, remembered while callers keep calling."""

from collections.abc import Iterator, Mapping, Sequence

from gateway.core.ask import Ask
from gateway.core.challenges import not_vouched
from gateway.core.guards import OPERATION, Breaker, Guard, Pausing
from gateway.core.keys import partition, partition_key
from gateway.core.limits import Charge, Mode
from gateway.core.measure import Measure
from gateway.core.policy import VOUCHED, KeyFrom, KeyPart, OnMissing, Operation, PolicySet, Route
from gateway.core.problems import KEY_MISSING, Refusal
from gateway.wire.memo import Memo

MOST_CALLERS = 8_192
"""That are surely remembered while they keep calling; at most twice as many are."""
MAX_VALUE_CHARS = 128


class Callers:
    """Remembers what to ask by route, operation and key values."""

    def __init__(self) -> None:
        self._remembered: Memo[tuple[object, ...], tuple[Route, Operation | None, Ask]] = Memo(MOST_CALLERS)

    def __len__(self) -> int:
        return len(self._remembered)

    def asked(
        self, policies: PolicySet, route: Route, operation: Operation | None, parts: Mapping[str, str | None]
    ) -> Ask | Refusal:
        """What one call asks the store, or the refusal for a missing key part. Equal callers get the same object.

        parts  the route's key parts in order
        """
        key = (id(route), id(operation), *parts.values())
        known = self._remembered.young.get(key) or self._remembered.recall(key)
        if known is not None:
            return known[2]
        asked = _ask(policies, route, operation, parts)
        if isinstance(asked, Refusal):
            return asked
        if any(value is not None and len(value) > MAX_VALUE_CHARS for value in parts.values()):
            return asked  # whoever sends kilobytes of identity pays for it himself, each time
        self._remembered.remember(key, (route, operation, asked))  # holding both keeps their identities theirs
        return asked


def _ask(
    policies: PolicySet, route: Route, operation: Operation | None, parts: Mapping[str, str | None]
) -> Ask | Refusal:
    """Ask each limit and guard whose key parts are known; a missing part rejects, skips or counts as anonymous."""
    priced = operation or route
    costs = priced.cost
    values = {name: value for name, value in parts.items() if value is not None}
    charges: list[Charge] = []
    skipped = False
    for limit in route.limits:
        missing = _missing(policies, limit.key, values)
        if missing is OnMissing.SKIP:
            skipped = True
            continue
        if isinstance(missing, Refusal):
            return missing
        mine = limit.for_caller(values)
        cost = costs.get(limit.name, 1)
        if mine.mode is not Mode.OFF:
            charges.append(Charge(mine, partition_key(mine, parts), cost))
            if mine.shadow is not None:
                charges.append(Charge(mine.shadow, partition_key(mine.shadow, parts), cost))
    guards: list[Guard] = []
    for guard in _guards(policies, route, operation, parts):
        if isinstance(guard, Refusal):
            return guard
        guards.append(guard)
    breaker = guards[-1] if guards and isinstance(guards[-1].rule, Breaker) else None
    own = route.breaker is not None and not route.breaker.shared
    asked = guards[:-1] if breaker and own else guards
    pace = route.upstream.pace
    line = [parts.get(name) for name in pace.key] if pace is not None else ()
    return Ask(charges, asked, breaker=breaker, line=line, skipped=skipped, measures=_measures(priced, charges))


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


def _guards(
    policies: PolicySet, route: Route, operation: Operation | None, parts: Mapping[str, str | None]
) -> Iterator[Guard | Refusal]:
    """The pause and the breaker of this caller, in this order; a refusal where a key part must not be missing."""
    parts = {OPERATION: operation.name if operation is not None else None, **parts}
    values = {name: value for name, value in parts.items() if value is not None}
    rules: list[tuple[str, Pausing | Breaker, Sequence[str]]] = []
    learning = route.upstream.learning
    if learning is not None:
        rules.append(("pause", Pausing(route.upstream.name, learning.max_us), (learning.scope,)))
    if route.breaker is not None:
        rules.append(("breaker", route.breaker, route.breaker.key))
    for kind, rule, key in rules:
        missing = _missing(policies, key, values)
        if isinstance(missing, Refusal):
            yield missing
        elif missing is not OnMissing.SKIP:
            yield Guard(rule, partition(f"{kind}:{rule.name}", key, parts))


def _missing(policies: PolicySet, key: Sequence[str], values: Mapping[str, str]) -> OnMissing | Refusal | None:
    """What follows from the parts of a key that the caller does not have: the refusal, SKIP, or nothing."""
    missing = [policies.keys[name] for name in key if name not in values and name in policies.keys]
    rejecting = [part for part in missing if part.on_missing is OnMissing.REJECT]
    if rejecting:
        return _key_missing(rejecting[0])
    return OnMissing.SKIP if any(part.on_missing is OnMissing.SKIP for part in missing) else None


def _key_missing(part: KeyPart) -> Refusal:
    if part.source in VOUCHED:
        return not_vouched(part.name)
    where = part.source.value if part.source is KeyFrom.CLIENT_IP else f"{part.source.value} {part.source_name}"
    return Refusal(KEY_MISSING, f"The key part {part.name} ({where}) is missing.")
