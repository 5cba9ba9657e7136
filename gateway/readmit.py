"""Readmit: what another attempt of a call has to ask before it is sent.

The breaker and the pause are asked again, and the limits that count attempts are charged again: one trip to the store,
as for the call's first attempt.
"""

from typing import TYPE_CHECKING

from gateway.core.ask import Ask
from gateway.core.guards import Pausing, longest
from gateway.core.limits import Algorithm, ChargePer, Decision
from gateway.core.retry import Stop
from gateway.guarding import give_back, let_in
from gateway.guards.breakers import Judge
from gateway.store import StoreDown

if TYPE_CHECKING:
    from gateway.call import Call


async def readmit(call: "Call") -> Stop | int | None:
    """None = the attempt may be sent. Else why not, or how long a pause still lasts, in microseconds."""
    assert call.alike is not None, "who was forwarded has been identified"
    gateway, ask = call.gateway, call.alike.ask
    if ask.own is not None:
        own = await gateway.breakers.ask_own(ask.own)
        if not own.admitted:
            return Stop.BREAKER
        let_in(call, ask.own, own, None)
    again = per_attempt(ask)
    held = await _ask_store(call, again) if again.charges or again.guards else None
    if held is not None:
        give_back(call)
    return held


def per_attempt(ask: Ask) -> Ask:
    """The part of a call's question that each attempt asks. Slots are held for the whole call."""
    charges = [
        charge
        for charge in ask.charges
        if charge.limit.charge is ChargePer.ATTEMPT and charge.limit.algorithm is not Algorithm.CONCURRENCY
    ]
    return Ask(charges, ask.guards, breaker=ask.breaker)


async def _ask_store(call: "Call", again: Ask) -> Stop | int | None:
    gateway, began = call.gateway, call.gateway.clock()
    decision: Decision | None
    judge: Judge | None = gateway.store
    try:
        decision = await gateway.store.admit(again, "")
    except StoreDown as down:
        record = call.record
        record.store_error, record.error_detail = down.kind, record.error_detail or str(down)
        gateway.on_fallback(again, down)
        if gateway.fallback.denies(again.charges):
            return Stop.LIMIT
        _, decision = await gateway.fallback.admit(again, "")
        judge = None
    finally:
        took_s = gateway.clock() - began
        call.record.store_s += took_s
        call.forwarded_at += took_s
    if decision is None:
        return None
    held_by = longest(decision.standings)
    if held_by >= 0:
        paused = isinstance(again.guards[held_by].rule, Pausing)
        return decision.standings[held_by].wait_us if paused else Stop.BREAKER
    if not decision.admitted:
        return Stop.LIMIT
    if again.breaker is not None and again.breaker in again.guards:
        let_in(call, again.breaker, decision, judge)
    if judge is not None:
        _show(call, again, decision)
    return None


def _show(call: "Call", again: Ask, decision: Decision) -> None:
    """What these limits say now is what the caller and the log are told, unless a worker's share of them says it."""
    known = call.decision
    if known is None or not known.verdicts:
        return
    newer = {charge.key: verdict for charge, verdict in zip(again.charges, decision.verdicts, strict=True)}
    verdicts = [newer.get(charge.key, old) for charge, old in zip(call.ask.charges, known.verdicts, strict=True)]
    call.decision = call.record.decision = known._replace(verdicts=tuple(verdicts))
    call.ask.see(call.decision)
