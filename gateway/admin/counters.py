"""Counters of single callers: what is left of a limit, read without spending; starting over; a grant for a while.

A caller is named as in `/-/limits/connection-1m/acme/conn_42`: the limit, then its key parts in their order.
"""

from typing import Any, NamedTuple
from urllib.parse import unquote

from gateway.admin.keys import Parts, read_parts, shown
from gateway.admin.problems import AdminProblem, unavailable
from gateway.core.ask import Ask
from gateway.core.headers import whole_seconds
from gateway.core.keys import partition_key
from gateway.core.limits import Charge, Verdict
from gateway.core.policy import PolicySet
from gateway.store import Store, StoreDown


class Target(NamedTuple):
    """One caller's counter of one limit, and of its shadow variant if it has one."""

    parts: Parts
    charges: tuple[Charge, ...]


def find(policies: PolicySet, words: list[str]) -> Target:
    """The counter that raw path segments name. Raises AdminProblem."""
    name = unquote(words[0])
    limit = policies.limits.get(name)
    if limit is None:
        raise AdminProblem(404, "NO_SUCH_LIMIT", f"There is no limit {name!r}; GET /-/limits lists them.")
    parts = read_parts("limit", limit.name, limit.key, words[1:])
    mine = limit.for_caller({part: value for part, value in parts.items() if value is not None})
    charges = [Charge(mine, partition_key(limit, parts), 1)]
    if mine.shadow is not None:
        charges.append(Charge(mine.shadow, partition_key(mine.shadow, parts), 1))
    return Target(parts, tuple(charges))


async def peek(store: Store, target: Target) -> dict[str, Any]:
    """What the target's callers have left. Raises AdminProblem when the store does not answer."""
    try:
        decision = await store.peek(Ask(target.charges))
    except StoreDown as down:
        raise unavailable(down) from None
    states = [_state(charge, verdict) for charge, verdict in zip(target.charges, decision.verdicts, strict=True)]
    document = {"name": states[0].pop("name"), "key": shown(target.parts), **states[0], "store": store.kind}
    return document | ({"shadow": states[1]} if len(states) > 1 else {})


async def reset(store: Store, target: Target) -> bool:
    """Forget what was counted. Whether there was anything. Raises AdminProblem when the store does not answer."""
    try:
        return any([await store.reset(charge) for charge in target.charges])
    except StoreDown as down:
        raise unavailable(down) from None


def _state(charge: Charge, verdict: Verdict) -> dict[str, Any]:
    limit = charge.limit
    return {
        "name": limit.name,
        "limit": limit.quota,
        "remaining": verdict.remaining,
        "used": limit.quota - verdict.remaining,
        "reset_s": whole_seconds(verdict.reset_us),
        "retry_after_s": whole_seconds(verdict.retry_us),
        "algorithm": limit.algorithm.value,
        "mode": limit.mode.value,
        "partition": charge.key,
    }
