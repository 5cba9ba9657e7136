"""What holds back the calls of one connection right now: its breakers and pauses, as documents."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from gateway.core.guards import Breaker, Guard, Pausing, Reason, Standing
from gateway.core.guards.breaker import Circuit
from gateway.core.guards.pause import Pause
from gateway.core.headers import whole_seconds
from gateway.core.keys import partition
from gateway.core.policy import PolicySet
from gateway.store import Store

Parts = Mapping[str, str | None]
Rule = tuple[str, Breaker | Pausing, Sequence[str]]


def counts_by_connection(key: Collection[str], parts: Parts) -> bool:
    """Whether something with this key has one partition for the connection: `parts` are all that is known of it."""
    return "connection" in key and set(key) <= parts.keys()


def guards_of(policies: PolicySet, parts: Parts) -> list[Guard]:
    """The connection's shared breakers and pauses, by name. A breaker of `scope: local` is each worker's own affair."""
    breakers: Iterator[Rule] = (("breaker", one, one.key) for one in policies.breakers.values() if one.shared)
    pauses: Iterator[Rule] = (
        ("pause", Pausing(upstream.name, upstream.learning.max_us, upstream.learning.key), upstream.learning.key)
        for upstream in policies.upstreams.values()
        if upstream.learning is not None
    )
    return [
        Guard(rule, partition(f"{kind}:{rule.name}", key, parts), parts)
        for kind, rule, key in (*breakers, *pauses)
        if counts_by_connection(key, parts)
    ]


async def guard_documents(store: Store, policies: PolicySet, parts: Parts) -> dict[str, Any]:
    """`breakers`: every one that counts by this connection; `paused_s`: the longest pause; `upstreams`: what each said
    is left, if it did and that is kept to. Raises StoreDown."""
    guards = guards_of(policies, parts)
    if not guards:
        return {"breakers": [], "paused_s": 0, "upstreams": {}}
    now_us, kept = await store.guards(guards)
    breakers, pauses_us = [], [0]
    upstreams: dict[str, Any] = {}
    for guard, known in zip(guards, kept, strict=True):
        settled = known.settled(guard.rule, now_us)
        standing = settled.standing(guard.rule, now_us)
        if isinstance(settled, Circuit):
            breakers.append(breaker_document(guard.rule.name, settled, standing, now_us))
        elif isinstance(settled, Pause):
            pauses_us.append(standing.wait_us)
            if settled.renews_us > now_us:
                reset_s = whole_seconds(settled.renews_us - now_us)
                upstreams[guard.rule.name] = {"remaining": settled.left, "reset_s": reset_s}
    return {"breakers": breakers, "paused_s": whole_seconds(max(pauses_us)), "upstreams": upstreams}


GIVEN_BACK = "given_back"
"""The reason of a breaker that an operator held, and that decides for itself again: nothing has changed it since."""


def breaker_document(name: str, circuit: Circuit, standing: Standing, now_us: int) -> dict[str, Any]:
    """How a breaker stands: why it entered its state, by which counts, and how long until a probe may fly."""
    document: dict[str, Any] = {"name": name, "state": standing.state.name.lower()}
    if circuit.reason:
        counts = {"calls": circuit.calls, "failed": circuit.failed, "slow": circuit.slow}
        over = circuit.reason is Reason.FORCED and circuit.until_us <= now_us
        document |= {"reason": GIVEN_BACK if over else circuit.reason.name.lower(), **counts}
    if standing.wait_us:
        document["next_probe_s"] = whole_seconds(standing.wait_us)
    return document
