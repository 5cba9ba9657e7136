"""Circuit breakers: which there are, how one of them stands, and holding one open or closed by hand for a while.

A caller is named as in `/-/breakers/connection/conn_42`: the breaker, then its key parts in their order.
"""

from typing import Any, NamedTuple
from urllib.parse import unquote

from gateway.admin.endpoint import check_members
from gateway.admin.operations.guards import breaker_document
from gateway.admin.operations.keys import Parts, read_parts, shown
from gateway.admin.operations.reason import read_reason
from gateway.admin.operations.ttl import read_ttl
from gateway.admin.problems import AdminProblem
from gateway.core.guards import Breaker, Guard, State
from gateway.core.guards.breaker import Circuit
from gateway.core.keys import partition
from gateway.core.policy import PolicySet
from gateway.core.units import SECOND_US
from gateway.store import Store

MILLION = 1_000_000
WANTED = '{"state": "open", "ttl": "10m", "reason": "maintenance"}'
STATES = {"open": State.OPEN, "closed": State.CLOSED, "auto": None}

Document = dict[str, Any]


class Target(NamedTuple):
    """One caller's circuit of one breaker."""

    parts: Parts
    guard: Guard

    @property
    def shared(self) -> bool:
        """Whether it is one for the whole fleet; else each worker has its own."""
        return isinstance(self.guard.rule, Breaker) and self.guard.rule.shared


class Order(NamedTuple):
    """What an operator wants: a state held for so long; None = the breaker decides for itself again. And why."""

    state: State | None
    for_us: int
    reason: str = ""


def breaker_documents(policies: PolicySet) -> list[Document]:
    """Every breaker with its numbers, and the routes that ask it."""
    routes: dict[str, list[str]] = {}
    for route in policies.routes:
        if route.breaker is not None:
            routes.setdefault(route.breaker.name, []).append(route.name)
    return [{**_numbers(breaker), "routes": routes.get(breaker.name, [])} for breaker in policies.breakers.values()]


def _numbers(breaker: Breaker) -> Document:
    """As loaded; a threshold that is not in use is left out."""
    document: Document = {
        "name": breaker.name,
        "key": list(breaker.key),
        "scope": "shared" if breaker.shared else "local",
        "window_s": breaker.window_us / SECOND_US,
        "minimum_calls": breaker.minimum_calls,
        "open_for_s": breaker.open_us / SECOND_US,
        "max_open_for_s": breaker.max_open_us / SECOND_US,
        "half_open_calls": breaker.half_open_calls,
        "close_after": breaker.close_after,
        "source": breaker.source,
    }
    if breaker.consecutive_failures:
        document["consecutive_failures"] = breaker.consecutive_failures
    if breaker.failure_ppm:
        document["failure_rate"] = breaker.failure_ppm / MILLION
    if breaker.slow_ppm:
        document |= {"slow_rate": breaker.slow_ppm / MILLION, "slow_s": breaker.slow_us / SECOND_US}
    return document


def find(policies: PolicySet, words: list[str]) -> Target:
    """The circuit that raw path segments name. Raises AdminProblem."""
    name = unquote(words[0])
    breaker = policies.breakers.get(name)
    if breaker is None:
        raise AdminProblem(404, "NO_SUCH_BREAKER", f"There is no breaker {name!r}.")
    parts = read_parts("breaker", name, breaker.key, words[1:])
    return Target(parts, Guard(breaker, partition(f"breaker:{name}", breaker.key, parts), parts))


async def look(store: Store, target: Target) -> Document:
    """How it stands. Raises StoreDown."""
    rule = target.guard.rule
    now_us, (kept,) = await store.guards([target.guard])
    circuit = kept.settled(rule, now_us)
    standing = circuit.standing(rule, now_us)
    assert isinstance(circuit, Circuit), "a breaker's guard keeps circuits"
    return {"key": shown(target.parts), **breaker_document(rule.name, circuit, standing, now_us)}


def read_force(order: Document) -> Order:
    """From `{"state": "open", "ttl": "10m"}`. Raises AdminProblem."""
    check_members(order, {"state"}, {"ttl", "reason"}, WANTED)
    state, ttl = order["state"], order.get("ttl")
    if not isinstance(state, str) or state not in STATES:
        raise AdminProblem(400, "BAD_ORDER", "`state` must be open, closed or auto.")
    if (ttl is None) != (state == "auto"):
        raise AdminProblem(400, "BAD_ORDER", "`ttl` says how long it is held open or closed; auto has none.")
    return Order(STATES[state], 0 if ttl is None else read_ttl(ttl), read_reason(order))
