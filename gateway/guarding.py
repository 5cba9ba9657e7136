"""What a breaker, a pause or a pace makes of a call: let through, or held back with an answer of ours or for a while.

Nobody was charged for a call that was held back.
"""

from gateway.call import Call
from gateway.core.classes import Counts
from gateway.core.guards import Breaker, Guard, Pausing, Standing, State, longest
from gateway.core.headers import whole_seconds
from gateway.core.http.signals import TOO_MANY
from gateway.core.learning import Heed, heeded, may_say, says_too_many, stands_for
from gateway.core.limits import Decision
from gateway.core.measure import Heard
from gateway.core.problems import CIRCUIT_OPEN, PAUSED, Refusal
from gateway.core.upstream import Learning
from gateway.guards.passages import Judge
from gateway.store import Store
from gateway.wire.response_head import ResponseHead

STATES = {State.CLOSED: "closed", State.OPEN: "open", State.HALF_OPEN: "half_open"}
SPREAD_BITS = 16


def learn(call: Call, learning: Learning, answer: ResponseHead) -> None:
    """Let everybody heed what the upstream's answer asks of those who use the caller's connection."""
    gateway = call.gateway
    status, now_us = judged_by(call, answer), gateway.now_us()
    heed = heeded(learning, status, call.policies.classes.statuses.get(status), answer.fields, now_us)
    if heed.for_us:
        for position, guard in enumerate(call.ask.guards):
            if isinstance(guard.rule, Pausing) and not _known(call, position, heed):
                gateway.pauses.begin(guard, heed, _store_of(call))


def judged_by(call: Call, answer: ResponseHead | None) -> int:
    """The answer's status, or 429 where its upstream says that in other words; 0 without an answer."""
    learning = call.route.upstream.learning
    if learning is None or answer is None or answer.means not in learning.also_on:
        return answer.means if answer is not None else 0
    return stands_for(learning, answer.means, answer.fields, call.gateway.now_us())


def overheard(call: Call, heard: Heard, answer: ResponseHead) -> ResponseHead:
    """An answer's head, with what its body made of it that has passed by now. Everybody is to heed that, too."""
    learning, settled = call.route.upstream.learning, answer.means == TOO_MANY or call.record.aborted_by
    if learning is None or settled or not may_say(learning, answer.status, heard.content_type):
        return answer
    if not says_too_many(learning, answer.status, heard.coding, heard.document):
        return answer
    answer = answer.meaning(TOO_MANY)
    learn(call, learning, answer)
    return answer


def _known(call: Call, position: int, heed: Heed) -> bool:
    """Whether the store counts as few calls as the upstream: this one's permit says how many there were with it."""
    standings = call.decision.standings if call.decision is not None else ()
    permit = standings[position].probe if standings else 0
    return 0 < permit <= heed.left + 1


def _store_of(call: Call) -> Store | None:
    """Where the call was decided; None: in this worker, because the store is down."""
    store = call.gateway.store
    return store if call.record.store == store.kind else None


def attempt_ended(call: Call, counts: Counts, took_s: float) -> None:
    """Tell the breaker how what it let through has ended, and how long the answer let wait for itself."""
    passage, call.passage = call.passage, None
    if passage is not None:
        call.gateway.breakers.ended(passage, counts, took_s)


def give_back(call: Call) -> None:
    """What the breaker let through never reached the upstream."""
    attempt_ended(call, Counts.IGNORE, 0.0)


def head_arrived(call: Call, answer: ResponseHead, waited_s: float) -> None:
    """A probe has done its work when the answer begins: its body, or its tunnel, may go on for hours.

    waited_s  of that time for the caller
    """
    if call.passage is not None and call.passage.standing.probe:
        took_s = call.gateway.clock() - call.forwarded_at - waited_s
        attempt_ended(call, call.policies.classes.counted("", judged_by(call, answer)), took_s)


async def take_turn(call: Call) -> None:
    """Wait until the upstream's pace lets the next attempt begin. Raises UpstreamFailed when that takes too long."""
    gateway = call.gateway
    began = gateway.clock()
    try:
        assert call.alike is not None, "who was admitted has been identified"
        await gateway.pacing.turn(call.route.upstream, call.alike.ask.line)
    finally:
        waited_s = gateway.clock() - began
        call.record.queue_s += waited_s
        call.forwarded_at += waited_s


async def ask_own(call: Call, guard: Guard) -> Refusal | None:
    """Ask a breaker that this worker has for itself."""
    breakers = call.gateway.breakers
    decision = await breakers.ask_own(guard)
    if not decision.admitted:
        return _held_back(call, guard, decision.standings[0])
    let_in(call, guard, decision, None)
    return None


def guarded(call: Call, decision: Decision) -> Refusal | None:
    """What the guards say that the store was asked about, or this worker in its place."""
    ask = call.ask
    if not decision.standings and decision.admitted and ask.passage is not None and call.record.store == ask.passage_by:
        call.passage = ask.passage
        call.record.breaker_state = "closed"
        return None
    breaker = ask.breaker if ask.own is None else None
    held_by = longest(decision.standings)
    if held_by >= 0:
        call.decision, call.lease = None, ""
        return _held_back(call, ask.guards[held_by], decision.standings[held_by])
    if breaker is not None and decision.admitted:
        let_in(call, breaker, decision, _store_of(call))
        if not decision.standings:
            ask.passage, ask.passage_by = call.passage, call.record.store
    return None


def let_in(call: Call, guard: Guard, decision: Decision, judge: Judge | None) -> None:
    """The breaker waits to hear how the call ends. `judge` is where it was asked; None = in this worker."""
    call.passage = call.gateway.breakers.let_in(guard, decision.standings, judge)
    call.record.breaker_state = STATES[call.passage.standing.state]


def _held_back(call: Call, guard: Guard, standing: Standing) -> Refusal:
    """Who waits for the end of a pause is told up to a tenth more, so that not all come back at once."""
    record, wait_us = call.record, standing.wait_us
    record.verdict = "held"
    if isinstance(guard.rule, Breaker):
        record.breaker_state = STATES[standing.state]
        detail = f"Breaker {guard.rule.name} lets no calls through for now."
        return Refusal(CIRCUIT_OPEN, detail, "breaker", retry_after_s=max(1, whole_seconds(wait_us)))
    wait_us += wait_us * call.gateway.random_bits(SPREAD_BITS) // (10 << SPREAD_BITS)
    detail = f"The upstream {guard.rule.name} asked for a pause, or said that nothing is left."
    return Refusal(PAUSED, detail, "pause", retry_after_s=max(1, whole_seconds(wait_us)))
