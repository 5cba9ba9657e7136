"""Breakers of `scope: local`: each worker has its own, so all of them are asked, and told what an operator wants."""

from typing import Any

from gateway.admin.operations.breakers import Document, Order, Target, look
from gateway.admin.operations.keys import shown
from gateway.admin.problems import AdminProblem
from gateway.admin.view import AdminView
from gateway.core.guards import Guard, State
from gateway.core.policy import PolicySet

LOOK, FORCE = "breaker.look", "breaker.force"
PATIENCE_S = 1.0

Asked = dict[str, Any]


def answer_siblings(worker: AdminView) -> None:
    """Let every worker say how its own stand, and do as it is told."""

    async def look_here(asked: Asked) -> Document:
        return await look(worker.own_store, _target(worker.policies, asked))

    async def force_here(asked: Asked) -> Document:
        target = _target(worker.policies, asked)
        state = None if asked["state"] is None else State(asked["state"])
        change = await worker.own_store.force(target.guard, state, asked["for_us"])
        if change is not None:
            worker.breaker_changed(target.guard, change)
        return await look(worker.own_store, target)

    worker.siblings.on(LOOK, look_here)
    worker.siblings.on(FORCE, force_here)


def _target(policies: PolicySet, asked: Asked) -> Target:
    breaker = policies.breakers.get(asked["breaker"])
    if breaker is None:
        raise AdminProblem(404, "NO_SUCH_BREAKER", f"There is no breaker {asked['breaker']!r} here.")
    return Target({}, Guard(breaker, asked["partition"]))


async def look_everywhere(worker: AdminView, target: Target) -> Document:
    """How a breaker of `scope: local` stands in each worker."""
    return await _everywhere(worker, target, LOOK, {})


async def force_everywhere(worker: AdminView, target: Target, order: Order) -> Document:
    """Do what the operator wants in each worker; how it stands there afterwards."""
    return await _everywhere(worker, target, FORCE, {"state": order.state, "for_us": order.for_us})


async def _everywhere(worker: AdminView, target: Target, what: str, asked: Asked) -> Document:
    named = {"breaker": target.guard.rule.name, "partition": target.guard.key}
    answers = await worker.siblings.ask_all(what, {**named, **asked}, timeout_s=PATIENCE_S)
    here = [
        {"worker": one.worker, "missing": one.missing} if one.missing else {"worker": one.worker, **_own(one.payload)}
        for one in answers
    ]
    return {"key": shown(target.parts), "name": target.guard.rule.name, "scope": "local", "workers": here}


def _own(document: Document) -> Document:
    """What differs from worker to worker."""
    return {name: value for name, value in document.items() if name not in ("key", "name")}
