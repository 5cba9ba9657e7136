"""What a breaker or a pause makes of a call: let through, to be told how it ended, or held back with an answer of ours.

Nobody was charged for a call that was held back.
"""

from gateway.breakers import Judge
from gateway.call import Call
from gateway.core.guards import Breaker, Guard, Standing, State, longest
from gateway.core.headers import whole_seconds
from gateway.core.limits import Decision
from gateway.core.problems import CIRCUIT_OPEN, PAUSED, Refusal

STATES = {State.CLOSED: "closed", State.OPEN: "open", State.HALF_OPEN: "half_open"}
SPREAD_BITS = 16


async def ask_own(call: Call, guard: Guard) -> Refusal | None:
    """Ask a breaker that this worker has for itself."""
    breakers = call.gateway.breakers
    decision = await breakers.ask_own(guard)
    call.record.breaker = guard.rule.name
    if not decision.admitted:
        return _held_back(call, guard, decision.standings[0])
    _let_in(call, guard, decision, None)
    return None


def guarded(call: Call, decision: Decision) -> Refusal | None:
    """What the guards say that the store was asked about, or this worker in its place."""
    ask, gateway = call.ask, call.gateway
    breaker = ask.breaker if ask.own is None else None
    if breaker is not None:
        call.record.breaker = breaker.rule.name
    which = longest(decision.standings)
    if which >= 0:
        call.decision, call.lease = None, ""
        return _held_back(call, ask.guards[which], decision.standings[which])
    if breaker is not None and decision.admitted:
        _let_in(call, breaker, decision, gateway.store if call.record.store == gateway.store.kind else None)
    return None


def _let_in(call: Call, guard: Guard, decision: Decision, judge: Judge | None) -> None:
    call.passage = call.gateway.breakers.let_in(guard, decision.standings, judge)
    call.record.breaker_state = STATES[call.passage.standing.state]


def _held_back(call: Call, guard: Guard, standing: Standing) -> Refusal:
    """Who waits for the end of a pause is spread a little, so that not all come back at once."""
    record, wait_us = call.record, standing.wait_us
    record.verdict = "held"
    if isinstance(guard.rule, Breaker):
        record.breaker_state = STATES[standing.state]
        record.retry_after_s = max(1, whole_seconds(wait_us))
        detail = f"Calls keep failing: breaker {guard.rule.name} lets none through for now."
        return Refusal(CIRCUIT_OPEN, detail, "breaker", retry_after_s=record.retry_after_s)
    wait_us += wait_us * call.gateway.random_bits(SPREAD_BITS) // (10 << SPREAD_BITS)
    record.retry_after_s = max(1, whole_seconds(wait_us))
    detail = f"The upstream {guard.rule.name} asked for a pause."
    return Refusal(PAUSED, detail, "pause", retry_after_s=record.retry_after_s)
