"""Attempts: what follows when one has failed. Wait and try again, until one succeeds or something speaks against it.

The first attempt is `forward`'s; a call that needs no other never comes here. Nothing of an answer has gone to the
caller yet. While a call waits here it holds no socket to the upstream: the answer it got is read and kept, and that is
what the caller gets, unchanged, if there is no further attempt.
"""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from gateway.core.ask import Ask
from gateway.core.classes import Counts, ErrorClass
from gateway.core.guards import longest
from gateway.core.limits import Algorithm, ChargePer, Decision
from gateway.core.retry import CHANCE_BITS, Retry, Stop, plan
from gateway.core.signals import read
from gateway.guarding import attempt_ended, give_back, let_in
from gateway.store import Store, StoreDown
from gateway.upstream.exchange import Exchange
from gateway.upstream.failure import UpstreamFailed
from gateway.upstream.held import HeldAnswer, hold
from gateway.wire.response_head import ResponseHead

if TYPE_CHECKING:
    from gateway.call import Call

Answered = Exchange | HeldAnswer


class Tried(NamedTuple):
    """How an attempt ended: with the head of an answer and what brings its body, or with a failure."""

    head: ResponseHead | None
    answered: Answered | None
    failure: UpstreamFailed | None

    def worth_another(self, retry: Retry) -> bool:
        """Whether the policy lists this outcome."""
        if self.failure is not None:
            return self.failure.reused or self.failure.error in retry.errors
        return self.head is not None and self.head.status in retry.statuses

    def result(self) -> Answered:
        """The answer, to be passed on. Raises UpstreamFailed if there is none."""
        if self.answered is None:
            assert self.failure is not None
            raise self.failure
        return self.answered


async def tried(attempt: Awaitable[Exchange]) -> Tried:
    """Await an attempt. Raises what has nothing to do with the upstream."""
    try:
        exchange = await attempt
    except UpstreamFailed as failure:
        return Tried(None, None, failure)
    return Tried(exchange.head, exchange, None)


class Attempts:
    """All attempts of one call behind the first.

    send        makes one, whose answer may take so many microseconds, and returns when its head has arrived
    repeatable  whether everything that was sent of the request can be sent again
    """

    def __init__(
        self, call: "Call", retry: Retry, send: Callable[[int], Awaitable[Exchange]], repeatable: Callable[[], bool]
    ) -> None:
        self._call = call
        self._retry = retry
        self._send = send
        self._repeatable = repeatable
        self._began = call.forwarded_at
        self._pool = call.gateway.upstreams.pool(call.route.upstream)
        self._budget = self._pool.budget(retry.share) if retry.share is not None else None

    async def go_on(self, first: Tried) -> Answered:
        """The answer to pass on, after a first attempt that is worth another.

        Raises UpstreamFailed when the last attempt had no answer, and whatever else `send` raises.
        """
        last = first
        note(self._call, last, self._call.gateway.clock() - self._began)
        while last.worth_another(self._retry):
            wait_us = self._next(last)
            if isinstance(wait_us, Stop):
                return self._stop(last, wait_us)
            last, stop = await self._again(last, wait_us)
            if stop is not None:
                return self._stop(last, stop)
        return last.result()

    @property
    def _made(self) -> int:
        return len(self._call.record.attempts or ())

    def _next(self, last: Tried) -> int | Stop:
        """How long to wait before the next attempt, in microseconds; or why there is none."""
        call, retry = self._call, self._retry
        gateway = call.gateway
        if not retry.repeats(call.record.method, bool(call.request.head.headers.get("Idempotency-Key"))):
            return Stop.METHOD
        if not self._repeatable():
            return Stop.BODY
        if last.failure is not None and last.failure.reused:  # nobody has seen the request: at once, and for nothing
            return 0 if self._made < retry.attempts else Stop.ATTEMPTS
        asked_us = 0
        if last.head is not None:
            now_us = int(gateway.wall_clock() * 1e6)
            asked_us = read(last.head.status, last.head.fields, now_us, retry.honor).wait_us
        wait_us = plan(retry, self._made, asked_us, self._elapsed_us(), gateway.random_bits(CHANCE_BITS))
        if isinstance(wait_us, Stop):
            return wait_us
        return Stop.DEADLINE if gateway.clock() + wait_us / 1e6 >= gateway.cut_at else wait_us

    async def _again(self, last: Tried, wait_us: int) -> tuple[Tried, Stop | None]:
        """One more attempt: how it ended. Or `last`, kept, and why there was none."""
        if last.failure is not None and last.failure.reused:
            return await self._attempt(last, 0.0), None
        budget = self._budget
        if budget is not None and not budget.take(self._pool.calls):
            return last, Stop.BUDGET
        try:
            kept = await _set_aside(last)
            if kept is None:
                return last, Stop.ANSWER
            self._tell_breaker(last)
            waited_s = await self._wait(wait_us)
            stop = await self._readmit()
            return (kept, stop) if stop is not None else (await self._attempt(kept, waited_s), None)
        finally:
            if budget is not None:
                budget.end()

    def _tell_breaker(self, last: Tried) -> None:
        """At once, not after the wait: the others are to know."""
        record, error_class = self._call.record, class_of(self._call, last)
        took_s = record.attempts[-1]["upstream_ms"] / 1e3 if record.attempts else 0.0
        attempt_ended(self._call, Counts.SUCCESS if error_class is None else error_class.breaker, took_s)

    async def _wait(self, wait_us: int) -> float:
        """Seconds waited. They are no time of the upstream's."""
        call = self._call
        gateway, record = call.gateway, call.record
        began = gateway.clock()
        try:
            await gateway.sleep(wait_us / 1e6)
        finally:
            waited_s = gateway.clock() - began
            record.retry_wait_s += waited_s
            call.forwarded_at += waited_s
        return waited_s

    async def _readmit(self) -> Stop | None:
        """Ask the breaker, and charge the limits that count attempts. Why there must be no attempt; None = go."""
        call = self._call
        ask = per_attempt(call.ask)
        if ask.own is not None:
            decision = await call.gateway.breakers.ask_own(ask.own)
            if not decision.admitted:
                return Stop.BREAKER
            let_in(call, ask.own, decision, None)
        if not ask.charges and not ask.guards:
            return None
        stop = await self._ask_again(ask)
        if stop is not None:
            give_back(call)
        return stop

    async def _ask_again(self, ask: Ask) -> Stop | None:
        call = self._call
        gateway, began = call.gateway, call.gateway.clock()
        decision: Decision | None
        judge: Store | None = gateway.store
        try:
            decision = await gateway.store.admit(ask, "")
        except StoreDown:
            if gateway.fallback.denies(ask.charges):
                return Stop.LIMIT
            (_, decision), judge = await gateway.fallback.admit(ask, ""), None
        finally:
            took_s = gateway.clock() - began
            call.record.store_s += took_s
            call.forwarded_at += took_s
        if decision is not None and not decision.admitted:
            return Stop.BREAKER if longest(decision.standings) >= 0 else Stop.LIMIT
        if decision is not None and judge is not None:
            call.decision = call.record.decision = _renewed(call, ask, decision)
        if decision is not None and ask.breaker is not None and ask.own is None:
            let_in(call, ask.breaker, decision, judge)
        return None

    async def _attempt(self, before: Tried, waited_s: float) -> Tried:
        """Send the request again; what came of it is noted and counted."""
        call, gateway = self._call, self._call.gateway
        began = gateway.clock()
        within_us = self._retry.answer_within_us(call.route.upstream.timeouts.first_byte_us, self._elapsed_us())
        ended = await tried(self._send(within_us))
        note(call, ended, gateway.clock() - began, waited_s)
        reason, outcome = class_of(call, before), class_of(call, ended)
        gateway.on_retry(call.route.upstream.name, name(reason), name(outcome))
        return ended

    def _stop(self, last: Tried, stop: Stop) -> Answered:
        call = self._call
        call.gateway.on_stop(call.record, self._retry, stop)
        if self._made == 1:
            call.record.attempts = None
        return last.result()

    def _elapsed_us(self) -> int:
        return int((self._call.gateway.clock() - self._began) * 1e6)


async def _set_aside(last: Tried) -> Tried | None:
    """Keep the answer without its socket; None when it cannot be kept."""
    if not isinstance(last.answered, Exchange):
        return last
    held = await hold(last.answered)
    return last._replace(answered=held) if held is not None else None


def per_attempt(ask: Ask) -> Ask:
    """What a further attempt asks: breakers and pauses again, and the limits that are charged for every attempt."""
    charges = [
        charge
        for charge in ask.charges
        if charge.limit.charge is ChargePer.ATTEMPT and charge.limit.algorithm is not Algorithm.CONCURRENCY
    ]
    return Ask(charges, ask.guards, breaker=ask.breaker)


def _renewed(call: "Call", ask: Ask, decision: Decision) -> Decision | None:
    """The call's decision with what these limits say now."""
    known = call.decision
    if known is None or len(known.verdicts) != len(call.ask.charges):
        return known
    newer = {charge.key: verdict for charge, verdict in zip(ask.charges, decision.verdicts, strict=True)}
    verdicts = [newer.get(charge.key, old) for charge, old in zip(call.ask.charges, known.verdicts, strict=True)]
    return known._replace(verdicts=tuple(verdicts), standings=decision.standings)


def class_of(call: "Call", ended: Tried) -> ErrorClass | None:
    """The error class of an attempt; None for a success."""
    classes = call.policies.classes
    if ended.failure is not None:
        return classes.errors[ended.failure.error]
    return classes.statuses.get(ended.head.status) if ended.head is not None else None


def name(error_class: ErrorClass | None) -> str:
    """As metrics and logs show it."""
    return error_class.name if error_class is not None else "success"


def note(call: "Call", ended: Tried, upstream_s: float, waited_s: float = 0.0) -> None:
    """Put an attempt into the record: `attempts` of the log line."""
    attempts = call.record.attempts = call.record.attempts or []
    error_class = class_of(call, ended)
    entry: dict[str, Any] = {"n": len(attempts) + 1}
    if ended.head is not None:
        entry["status"] = ended.head.status
    if error_class is not None:
        entry["error_class"] = error_class.name
    entry["upstream_ms"] = round(upstream_s * 1e3, 3)
    if waited_s:
        entry["wait_ms"] = round(waited_s * 1e3, 3)
    attempts.append(entry)
