"""Readmit: what another attempt of a call has to ask before it is sent.

The breaker and the pause are asked again, and the limits that count attempts are charged again: one trip to the store,
as for the call's first attempt.
"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from gateway.core.ask import Ask
from gateway.core.guards import Pausing, longest
from gateway.core.limits import Algorithm, ChargePer, Decision
from gateway.core.retry import Stop
from gateway.guarding import give_back, let_in
from gateway.guards.passages import Judge
from gateway.metering import give_back_charges
from gateway.store import StoreDown

if TYPE_CHECKING:
    from gateway.call import Call


class Readmission(NamedTuple):
    """Whether an attempt may be sent.

    held      None = it may. Else why not, or how long a pause still lasts, in microseconds
    unsent    to be called when there was no place for it after all: gives back what it was charged
    """

    held: Stop | int | None = None
    unsent: Callable[[], None] = lambda: None


FOR_NOTHING = Readmission()
"""It asks nobody, and costs nothing."""


async def readmit(call: "Call") -> Readmission:
    """Ask whether the next attempt may be sent."""
    assert call.alike is not None, "who was forwarded has been identified"
    gateway, ask = call.gateway, call.alike.ask
    if ask.own is not None:
        own = await gateway.breakers.ask_own(ask.own)
        if not own.admitted:
            return Readmission(Stop.BREAKER)
        let_in(call, ask.own, own, None)
    again = per_attempt(ask)
    readmission = await _ask_store(call, again) if again.charges or again.guards else FOR_NOTHING
    if readmission.held is not None:
        give_back(call)
    return readmission


def per_attempt(ask: Ask) -> Ask:
    """The part of a call's question that each attempt asks. Slots are held for the whole call."""
    charges = [
        charge
        for charge in ask.charges
        if charge.limit.charge is ChargePer.ATTEMPT and charge.limit.algorithm is not Algorithm.CONCURRENCY
    ]
    return Ask(charges, ask.guards, breaker=ask.breaker)


async def _ask_store(call: "Call", again: Ask) -> Readmission:
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
            return Readmission(Stop.LIMIT)
        again, decision = await gateway.fallback.admit(again, "")
        judge = None
    finally:
        took_s = gateway.clock() - began
        call.record.store_s += took_s
        call.forwarded_at += took_s
    if decision is None:
        return FOR_NOTHING
    held_by = longest(decision.standings)
    if held_by >= 0:
        paused = isinstance(again.guards[held_by].rule, Pausing)
        return Readmission(decision.standings[held_by].wait_us if paused else Stop.BREAKER)
    if not decision.admitted:
        return Readmission(Stop.LIMIT)
    if again.breaker is not None and again.breaker in again.guards:
        let_in(call, again.breaker, decision, judge)
    if judge is not None:
        _show(call, again, decision)
    keeper = gateway.fallback if judge is None else gateway.store
    return Readmission(unsent=partial(give_back_charges, keeper, again, decision))


def _show(call: "Call", again: Ask, decision: Decision) -> None:
    """What these limits say now is what the caller and the log are told, unless a worker's share of them says it."""
    known = call.decision
    if known is None or not known.verdicts:
        return
    newer = {charge.key: verdict for charge, verdict in zip(again.charges, decision.verdicts, strict=True)}
    verdicts = [newer.get(charge.key, old) for charge, old in zip(call.ask.charges, known.verdicts, strict=True)]
    call.decision = call.record.decision = known._replace(verdicts=tuple(verdicts))
    call.ask.see(call.decision)
