"""Admit: one store trip asks every guard and every limit of the call, all or nothing."""

from collections.abc import Mapping

from gateway.call import Call
from gateway.core.ask import Ask, Kind, UsedUp
from gateway.core.grant import under
from gateway.core.headers import refusing, retry_after_s, surely_refused_us, too_little_sentence, used_up_sentence
from gateway.core.limits import Algorithm, Decision, Mode
from gateway.core.problems import CONCURRENCY, RATE_LIMIT, STORE_DOWN, Refusal
from gateway.guarding import ask_own, guarded
from gateway.store import StoreDown
from gateway.supplied import supplied

STORE_RETRY_S = 1
REMEMBER_S = 0.1
"""For how long at most a refusal is repeated without asking the store. What operators do to counters, and what other
limits of the call have left, is seen so much later."""


async def admit(call: Call) -> Refusal | None:
    """Charge the call's limits, or say which guard or limit refuses it and when it may come again."""
    ask = call.ask
    gateway, record = call.gateway, call.record
    if ask.beforehand:
        refusal = await _beforehand(call)
        if refusal is not None or not (ask.charges or ask.guards):
            return refusal
    started = gateway.clock()
    known = ask.used_up
    if known is not None and started < known.until_s:
        record.store, record.ask = gateway.store.kind, ask
        call.decision = record.decision = known.decision
        return _noted(call, known.refusal)
    if ask.kind.takes_slots:
        call.lease = gateway.new_id()
    try:
        call.decision = await gateway.store.admit(ask, call.lease)
        record.store = gateway.store.kind
    except StoreDown as down:
        record.store_error, record.error_detail = down.kind, str(down)
        gateway.on_fallback(ask, down)
        if call.lease:
            gateway.leases.give_up(call)
        if gateway.fallback.denies(ask.charges):
            return _denied_without_store(call)
        await _admit_without_store(call)
    finally:
        record.store_s = gateway.clock() - started
    if call.decision is None:
        return None
    if ask.passage is not None or ask.guards:
        refusal = guarded(call, call.decision)
        if refusal is not None or not call.ask.kind.names:
            return refusal
    record.ask = ask = call.ask
    record.decision = call.decision
    refusal = _outcome(call, call.decision)
    if refusal is not None and record.store == gateway.store.kind and not call.decision.quotas:
        _remember(ask, call.decision, refusal, started)
    return refusal


async def _beforehand(call: Call) -> Refusal | None:
    """What this worker knows without the store. Nobody is charged for a call that cannot be forwarded anyway."""
    refusal = await supplied(call, call.ask.credential) if call.ask.credential is not None else None
    if refusal is None and call.ask.own is not None:
        refusal = await ask_own(call, call.ask.own)
    return refusal


def _remember(ask: Ask, decision: Decision, refusal: Refusal, asked_at_s: float) -> None:
    """A flood of calls that can only be refused is no load on the store. It answered after it was asked: so much later
    than we assume its refusal ends."""
    surely_s = min(surely_refused_us(ask.charges, decision) / 1e6, REMEMBER_S)
    ask.used_up = UsedUp(asked_at_s + surely_s, decision, refusal) if surely_s else None


async def _admit_without_store(call: Call) -> None:
    """Let each limit's posture decide; slots taken here have a lease of their own."""
    gateway = call.gateway
    call.record.store = "local"
    lease, limited = gateway.new_id(), bool(call.ask.charges)
    call.ask, call.decision = await gateway.fallback.admit(call.ask, lease)
    call.lease = lease if call.ask.kind.takes_slots else ""
    if limited and not call.ask.charges:  # every limit says allow: nobody decided anything
        call.record.store = "none"
        call.record.verdict = "skipped"


def _denied_without_store(call: Call) -> Refusal:
    call.lease = ""
    call.record.verdict = "limited"
    return Refusal(
        STORE_DOWN, "The limits of this call cannot be checked right now.", "limit", retry_after_s=STORE_RETRY_S
    )


def _outcome(call: Call, decision: Decision) -> Refusal | None:
    """What the limits have decided, put into the record: slots are held, or the call is refused."""
    record = call.record
    if decision.admitted and not (call.ask.watched or call.lease):
        record.verdict = "allowed"
        return None
    if decision.quotas:
        call.ask = record.ask = under(call.ask, decision.quotas)
    if decision.admitted:
        shadowed = [
            charge.limit
            for charge, verdict in zip(call.ask.charges, decision.verdicts, strict=True)
            if charge.limit.mode is Mode.SHADOW and not verdict.admitted
        ]
        record.verdict = "shadow_limited" if shadowed else "allowed"
        if shadowed:
            record.limit_fired = shadowed[0].name
        if call.lease:
            call.gateway.leases.hold(call)
        return None
    call.lease = ""
    wait_s = retry_after_s(call.ask.charges, decision)
    return _noted(call, _over_limit(call.ask, decision, wait_s))


def _noted(call: Call, refusal: Refusal) -> Refusal:
    """A limit's refusal, put into the record."""
    record = call.record
    record.verdict = "limited"
    record.limit_fired = refusal.violated[0]
    return refusal


def _over_limit(ask: Ask, decision: Decision, wait_s: int) -> Refusal:
    """The refusal; the same object as for the caller's last call, if there is nothing else to say."""
    kind, verdicts = ask.kind, decision.verdicts
    at_fault = refusing(kind, verdicts)
    sentences = kind.sentences or _sentences(kind)
    names = tuple([kind.names[at] for at in at_fault])
    detail = " ".join([sentences[at][verdicts[at].remaining > 0] for at in at_fault])
    last: Refusal | None = ask.refusal
    if last is not None and last.retry_after_s == wait_s and last.violated == names and last.detail == detail:
        return last
    limits = [ask.charges[at].limit for at in at_fault]
    only_slots = all(limit.algorithm is Algorithm.CONCURRENCY for limit in limits)
    problem = (CONCURRENCY if only_slots else RATE_LIMIT)._replace(status=limits[0].status)
    refusal = ask.refusal = Refusal(problem, detail, "limit", retry_after_s=wait_s, violated=names)
    return refusal


def _sentences(kind: Kind) -> Mapping[int, tuple[str, str]]:
    """What each limit says that refuses: when nothing is left, and when there is, but too little."""
    sentences = kind.sentences = {
        at: (limit.detail or used_up_sentence(limit), limit.detail or too_little_sentence(limit))
        for at, limit, _ in kind.enforced
    }
    return sentences
