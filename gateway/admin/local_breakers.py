"""Breakers of `scope: local`: each worker has its own, so all of them are asked, and told what an operator wants."""

from typing import Any

from gateway.admin.breakers import Document, Order, Target, find, force, look
from gateway.admin.keys import shown
from gateway.admin.view import AdminView
from gateway.core.guards import State

LOOK, FORCE = "breaker.look", "breaker.force"
PATIENCE_S = 1.0

Asked = dict[str, Any]


def answer_siblings(worker: AdminView) -> None:
    """Let every worker say how its own stand, and do as it is told."""

    async def look_here(asked: Asked) -> Document:
        return await look(worker.own_store, find(worker.policies, asked["words"]))

    async def force_here(asked: Asked) -> Document:
        target, state = find(worker.policies, asked["words"]), asked["state"]
        order = Order(None if state is None else State(state), asked["for_us"])
        change = await force(worker.own_store, target, order)
        if change is not None:
            worker.breaker_changed(target.guard, change)
        return await look(worker.own_store, target)

    worker.siblings.on(LOOK, look_here)
    worker.siblings.on(FORCE, force_here)


async def look_everywhere(worker: AdminView, target: Target, words: list[str]) -> Document:
    """How it stands in each worker. `words` are the raw path segments that name it."""
    return await _everywhere(worker, target, LOOK, {"words": words})


async def force_everywhere(worker: AdminView, target: Target, words: list[str], order: Order) -> Document:
    """Do what the operator wants in each worker; how it stands there afterwards."""
    return await _everywhere(worker, target, FORCE, {"words": words, "state": order.state, "for_us": order.for_us})


async def _everywhere(worker: AdminView, target: Target, what: str, asked: Asked) -> Document:
    answers = await worker.siblings.ask_all(what, asked, timeout_s=PATIENCE_S)
    here = [
        {"worker": one.worker, "missing": one.missing} if one.missing else {"worker": one.worker, **_own(one.payload)}
        for one in answers
    ]
    return {"key": shown(target.parts), "name": target.guard.rule.name, "scope": "local", "workers": here}


def _own(document: Document) -> Document:
    """What differs from worker to worker."""
    return {name: value for name, value in document.items() if name not in ("key", "name")}
