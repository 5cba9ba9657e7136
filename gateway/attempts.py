"""Attempts: what follows when one has failed. Wait and try again, until one succeeds or something speaks against it.

The first attempt is `forward`'s; a call that needs no other never comes here. Nothing of an answer has gone to the
caller yet. While a call waits here it holds no socket to the upstream: the answer it got is read and kept, and that is
what the caller gets, unchanged, if there is no further attempt.
"""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, NamedTuple

from gateway.call import CUT_SLACK_S
from gateway.core.classes import Counts
from gateway.core.http.signals import read
from gateway.core.http.trace import new_span
from gateway.core.retry import CHANCE_BITS, RENEWED, UNAUTHORIZED, Repeat, Retry, Stop, plan
from gateway.guarding import attempt_ended, give_back, judged_by
from gateway.readmit import FOR_NOTHING, Readmission, readmit
from gateway.tried import Answered, Tried, class_of, fault, may_repeat, note, outcome
from gateway.upload import Upload
from gateway.upstream.exchange import Exchange
from gateway.upstream.failure import UpstreamFailed
from gateway.upstream.held import hold

if TYPE_CHECKING:
    from gateway.call import Call
    from gateway.modules.credentials.renewal import Renewal

STALE_SOCKET = Retry("", 2, statuses=frozenset(), others=Repeat.NEVER, share=None, told="")
"""Without a policy: once more when a kept-alive socket had been closed by the upstream before it saw the request."""


class Again(NamedTuple):
    """What is different about a further attempt.

    elapsed_us  since the first attempt began
    span_id     its own span in the call's trace, 16 hex digits
    """

    elapsed_us: int
    span_id: str


class Attempts:
    """All attempts of one call behind the first.

    first  how that one ended; it is worth another
    send   makes one, and returns when the answer's head has arrived
    body   what it sends
    """

    def __init__(
        self, call: "Call", retry: Retry, first: Tried, send: Callable[[Again], Awaitable[Exchange]], body: Upload
    ) -> None:
        self._call = call
        self._first, self._open = first, first.answered
        self._retry = retry
        self._send = send
        self._body = body
        self._began = self._sent_at = call.forwarded_at
        self._pool = call.gateway.upstreams.pool(call.route.upstream)
        credential = call.alike.ask.credential if call.alike is not None else None
        self._renewal = call.gateway.supply.of(credential) if credential is not None else None
        self._budget = self._pool.budget(retry.share) if retry.share is not None else None

    def drop(self) -> None:
        """Nobody wants the answer any more: let go of the socket that it is on."""
        if self._open is not None:
            self._open.abort()

    async def go_on(self) -> Answered:
        """The answer to pass on. Has to run in a task; when that is cancelled, `drop` has to follow.

        Raises UpstreamFailed when the last attempt had no answer, and whatever else `send` raises.
        """
        last = self._first
        note(self._call, last, self._call.gateway.clock() - self._began)
        while True:
            if judged_by(self._call, last.head) == UNAUTHORIZED and self._renewal is not None:
                last = await self._with_another_token(last, self._renewal)
            if not last.worth_another(self._call, self._retry):
                return self._result(last)
            wait_us = self._next(last)
            if isinstance(wait_us, Stop):
                return self._stop(last, wait_us)
            last, stop = await self._again(last, wait_us)
            if stop is not None:
                return self._stop(last, stop)

    async def _with_another_token(self, last: Tried, renewal: "Renewal") -> Tried:
        """The upstream has refused the token: once more with another one, if there is one and the request may be sent
        twice; else at least the next call is to have one. It counts neither as a retry nor as a failure."""
        call, gateway, self._renewal = self._call, self._call.gateway, None
        twice = may_repeat(call, call.route.retry or RENEWED) and self._body.repeatable
        kept = await self._set_aside(last) if twice else None
        if kept is None:
            renewal.suspect()
            return last
        self._tell_breaker(kept)
        began = gateway.clock()
        renewed = await renewal.renew(self._sent_at)
        waited_s = gateway.clock() - began
        call.record.retry_wait_s += waited_s
        call.forwarded_at += waited_s
        readmission = await self._readmitted() if renewed else None
        if readmission is None or readmission.held is not None:
            return kept
        assert call.record.attempts is not None, "the one before was noted"
        call.record.attempts[-1]["token_renewed"] = True
        ended = await self._attempt(kept, waited_s, readmission)
        return kept if ended.unsent else ended

    @property
    def _made(self) -> int:
        return len(self._call.record.attempts or ())

    def _next(self, last: Tried) -> int | Stop:
        """How long to wait before the next attempt, in microseconds; or why there is none."""
        call, retry = self._call, self._retry
        if not may_repeat(call, retry):
            return Stop.METHOD
        if not self._body.repeatable:
            return Stop.BODY
        if last.failure is not None and last.failure.reused:  # nobody has seen the request: at once, and for nothing
            return 0 if self._made < retry.attempts else Stop.ATTEMPTS
        said, now_us = last.head.fields if last.head is not None else (), call.gateway.now_us()
        learning = call.route.upstream.learning
        own = learning.also_from if learning is not None and retry.honor else ()
        asked_us = read(judged_by(call, last.head), said, now_us, retry.honor, own).wait_us
        wait_us = plan(retry, self._made, asked_us, self._elapsed_us(), call.gateway.random_bits(CHANCE_BITS))
        return Stop.DEADLINE if not isinstance(wait_us, Stop) and self._too_late(wait_us) else wait_us

    async def _again(self, last: Tried, wait_us: int) -> tuple[Tried, Stop | None]:
        """One more attempt: how it ended. Or the last one, with its answer kept, and why there was none."""
        if last.failure is not None and last.failure.reused:
            await self._body.halt()
            return await self._attempt(last, 0.0), None
        budget = self._budget
        if budget is not None and not budget.take(self._pool.calls):
            return last, Stop.BUDGET
        try:
            kept = await self._set_aside(last)
            if kept is None:
                return last, Stop.ANSWER
            self._tell_breaker(kept)
            waited_before_s = self._call.record.retry_wait_s
            if not await self._wait(wait_us):
                return kept, Stop.DEADLINE
            readmission = await self._readmitted()
            if readmission.held is not None:
                return kept, Stop.UPSTREAM_WAIT if isinstance(readmission.held, int) else readmission.held
            waited_s = self._call.record.retry_wait_s - waited_before_s
            ended = await self._attempt(kept, waited_s, readmission)
            return (kept, Stop.PLACE) if ended.unsent else (ended, None)
        finally:
            if budget is not None:
                budget.end()

    async def _set_aside(self, last: Tried) -> Tried | None:
        """Keep the answer without its socket; None when it cannot be kept."""
        answered = last.answered
        if not isinstance(answered, Exchange):
            await self._body.halt()
            return last
        held = await hold(answered)
        if held is None:
            return None
        whole = await self._body.halt()
        self._open = None
        if whole:
            answered.release()
        else:
            answered.abort()
        return Tried(held)

    async def _wait(self, wait_us: int) -> bool:
        """Time that is not the upstream's. Whether there was time for it: a drain may have begun meanwhile."""
        call, began = self._call, self._call.gateway.clock()
        try:
            await call.gateway.sleep(wait_us / 1e6)
        finally:
            waited_s = call.gateway.clock() - began
            call.record.retry_wait_s += waited_s
            call.forwarded_at += waited_s
        return began + wait_us / 1e6 < call.gateway.cut_at - CUT_SLACK_S

    async def _readmitted(self) -> Readmission:
        """The end of a pause is waited for like that of a back-off, once."""
        readmission = await readmit(self._call)
        held = readmission.held
        if isinstance(held, int):
            wait_us = self._retry.backoff.asked_us(held, self._call.gateway.random_bits(CHANCE_BITS))
            if held <= self._retry.max_wait_us and not self._too_late(wait_us) and await self._wait(wait_us):
                readmission = await readmit(self._call)
        return readmission

    async def _attempt(self, before: Tried, waited_s: float, readmission: Readmission = FOR_NOTHING) -> Tried:
        """Send the request again; what came of it is noted and counted."""
        call, gateway = self._call, self._call.gateway
        began, queued_before_s = gateway.clock(), call.record.queue_s
        self._sent_at = began
        again = Again(self._elapsed_us(), new_span(gateway.random_bits(64)))
        try:
            ended = Tried(await self._send(again))
        except UpstreamFailed as failure:
            ended = Tried(None, failure)
            if ended.unsent:
                readmission.unsent()
                give_back(call)
        except BaseException as why:  # it has been sent all the same, and its limits were charged
            ended = Tried(None, given_up=fault(call.gateway, why))
            raise
        finally:
            self._open = ended.answered
            queued_s = call.record.queue_s - queued_before_s
            note(call, ended, gateway.clock() - began - queued_s, waited_s, queued_s, again.span_id)
            outcomes = [outcome(call, one) or "success" for one in (before, ended)]
            gateway.on_retry(call.route.upstream.name, *outcomes)
        return ended

    def _stop(self, last: Tried, stop: Stop) -> Answered:
        call = self._call
        call.gateway.on_stop(call.record, self._retry, stop)
        return self._result(last)

    def _result(self, last: Tried) -> Answered:
        if self._made == 1:
            self._call.record.attempts = None
        return last.result()

    def _tell_breaker(self, ended: Tried) -> None:
        """At once, not after the wait: others are to know. Of the last attempt it hears by `settle`."""
        attempts, error_class = self._call.record.attempts, class_of(self._call, ended)
        took_s = attempts[-1]["upstream_ms"] / 1e3 - self._body.waited_s if attempts else 0.0
        attempt_ended(self._call, Counts.SUCCESS if error_class is None else error_class.breaker, took_s)

    def _too_late(self, wait_us: int) -> bool:
        """Whether the total, or a drain, would be over before."""
        gateway, total_us = self._call.gateway, self._retry.total_us
        if total_us and self._elapsed_us() + wait_us >= total_us:
            return True
        return gateway.clock() + wait_us / 1e6 >= gateway.cut_at

    def _elapsed_us(self) -> int:
        return int((self._call.gateway.clock() - self._began) * 1e6)
