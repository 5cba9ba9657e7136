"""Tells the store how connections are doing: counted here call by call, reported together about once a second.

A success of a connection that is well costs one lookup and two additions. What may change a state is reported at the
end of the loop's turn, though about one connection at most once a second, so that a storm of failures is one report.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from itertools import islice
from time import monotonic

from gateway.core.ask import NOTHING
from gateway.core.connections.names import name_of
from gateway.core.connections.outcome import Outcome, Outcomes
from gateway.core.connections.state import ConnectionState, Failure, Named, Report, Transition
from gateway.observe.connections.attempts import Attempt, attempts_of
from gateway.observe.connections.errors import ConnectionErrors
from gateway.observe.connections.tally import ConnectionTally, PairTally
from gateway.observe.log.logger import event
from gateway.record import CallRecord

TICK_S = 1.0
IDLE_TICKS = 10
"""Without anything to report, one in so many ticks still asks: somebody has to see that a pause is over."""
BATCH, MOST_AT_ONCE = 5, 100
"""Connections in one report, which the store takes in as one piece of work, and in a tick: more active ones are
reported as much later."""
MAX_PAIRS = 16_000
"""Pairs of connection and operation counted at once; beyond it counting begins anew, without what was not reported."""
LIMITED_S = 60
"""How long a connection counts as rate limited when the upstream did not say."""
MAX_LIMITED_S = 24 * 3600

Push = Callable[[Sequence[tuple[Named, Report]]], Awaitable[Sequence[ConnectionState]]]
"""Takes reports in and says in which states the connections are now; () when it could not. Raises nothing."""

_FAILURES = (Outcome.FAILED, Outcome.DOWN)
MESSAGES = {
    ConnectionState.ONLINE: "Connection is online",
    ConnectionState.DEGRADED: "Connection is degraded",
    ConnectionState.OFFLINE: "Connection is offline",
    ConnectionState.AUTH_REQUIRED: "Connection needs new credentials",
    ConnectionState.PERMISSION_DENIED: "Connection lacks a permission",
    ConnectionState.RATE_LIMITED: "Connection is rate limited by its upstream",
}


class Connections:
    """A `RecordSink` for calls that name a connection.

    errors  where failed attempts are logged
    push    where reports go
    ready   whether it makes sense to report now; what is counted waits
    """

    def __init__(
        self,
        outcomes: Outcomes,
        errors: ConnectionErrors,
        push: Push,
        *,
        ready: Callable[[], bool] = lambda: True,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.outcomes = outcomes
        self._errors = errors
        self._push = push
        self._ready = ready
        self._clock = clock
        self._pairs: dict[tuple[str, str, str, str], PairTally] = {}
        self._tallies: dict[tuple[str, str], ConnectionTally] = {}
        self._waiting: dict[ConnectionTally, None] = {}  # in the order in which they were touched
        self._urgent: dict[ConnectionTally, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._reporting: set[asyncio.Task[None]] = set()
        self._idle_ticks = 0

    # -- counting

    def emit(self, record: CallRecord) -> None:
        """Count one finished call."""
        if not record.connection:
            return
        pair = record.ask.tally
        if pair is None or not pair.quiet:
            pair = self._pair(record)
        if 0 < record.upstream_status < 400 and not record.error_class and record.attempts is None:
            pair.succeeded(record.started, record.ended)
            if not pair.quiet or record.breaker_state == "half_open":
                self._succeeded(pair, record)
        else:
            self._unusual(pair, record)

    def _unusual(self, pair: PairTally, record: CallRecord) -> None:
        """A call that failed, was refused, or took more than one attempt."""
        source, of = record.response_source, pair.connection
        if source == "limit" or (source == "breaker" and record.breaker_state == "half_open"):
            return  # says nothing: the probe that is under way will
        if source == "breaker" and self.outcomes.shut_by(record.breaker):
            of.refused(record.breaker, record.ended)
            self._touch(of, urgent=of.state is not ConnectionState.OFFLINE)
        elif source == "pause":
            of.limited_until = max(of.limited_until, record.ended + min(record.retry_after_s, MAX_LIMITED_S))
            self._touch(of, urgent=of.state is ConnectionState.ONLINE)
        for attempt in attempts_of(record):
            outcome = self.outcomes.of(attempt.error_class, attempt.status)
            if outcome is not None:
                self._count(pair, record, attempt, outcome)

    def _succeeded(self, pair: PairTally, record: CallRecord) -> None:
        of = pair.connection
        of.tail = 0
        if record.breaker and (of.success_matters or record.breaker_state == "half_open"):
            of.came_through(record.breaker, record.started)
        self._touch(of, urgent=of.success_matters)
        pair.quiet = not of.success_matters

    def _count(self, pair: PairTally, record: CallRecord, attempt: Attempt, outcome: Outcome) -> None:
        of = pair.connection
        if outcome is Outcome.OK:
            pair.succeeded(record.started, record.ended)
            self._succeeded(pair, record)
        elif outcome is Outcome.REJECTED:
            pair.rejected += 1
            of.answered(record.started)
            if record.breaker:
                of.came_through(record.breaker, record.started)
            self._touch(of, urgent=of.state is ConnectionState.OFFLINE)
        else:
            self._errors.write(record, attempt)
            pair.failed += 1
            of.went_wrong(outcome, record, attempt, _limited_s(record, attempt))
            if record.breaker and outcome not in _FAILURES:
                of.came_through(record.breaker, record.started)
            self._touch(of, urgent=of.news(outcome))

    def _pair(self, record: CallRecord) -> PairTally:
        """Where such calls are counted. All with one ask are of one connection and operation, so the next one finds it
        there; but of those without, nobody knows whose they are."""
        pair = record.ask.tally
        if pair is not None and pair.connection.counts:
            known: PairTally = pair
            return known
        pair = self._pairs.get((record.tenant, record.connection, record.operation, record.entity))
        if pair is None:
            pair = self._new_pair(record)
        if record.ask is not NOTHING:
            record.ask.tally = pair
        return pair

    def _new_pair(self, record: CallRecord) -> PairTally:
        if len(self._pairs) >= MAX_PAIRS or len(self._tallies) >= MAX_PAIRS:
            self._let_go()
        named = name_of(record.tenant, record.connection)
        of = self._tallies.get(named)
        if of is None:
            of = self._tallies[named] = ConnectionTally(named)
        pair = of.pair(record.operation, record.entity)
        if named == (record.tenant, record.connection):  # what is too long to be shown is too long to be kept
            self._pairs[*named, record.operation, record.entity] = pair
        return pair

    def _let_go(self) -> None:
        """Begin anew. What waits for its report still gets it, unless that is as much again."""
        for of in self._tallies.values():
            of.leave()
            if not of.touched:
                of.fall_apart()
        self._pairs.clear()
        self._tallies.clear()
        if len(self._waiting) >= MAX_PAIRS:
            for of in self._waiting:
                of.fall_apart()
            self._waiting.clear()
            self._urgent.clear()

    def _touch(self, of: ConnectionTally, *, urgent: bool) -> None:
        if not of.touched:
            of.touched = True
            self._waiting[of] = None
        if urgent and of.reported_at + TICK_S <= self._clock():
            if not self._urgent:
                asyncio.get_running_loop().call_soon(self._report_urgent)
            self._urgent[of] = None

    # -- reporting

    def start(self) -> None:
        """Begin to report. Needs the running loop."""
        self._timer = asyncio.get_running_loop().call_later(TICK_S, self._tick)

    async def close(self) -> None:
        """Report what is left, as far as the store answers. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiting and self._ready():
            self._report([*islice(self._waiting, MOST_AT_ONCE)])
        if self._reporting:
            await asyncio.wait(self._reporting)

    def _tick(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(TICK_S, self._tick)
        self._idle_ticks += 1
        if (self._waiting or self._idle_ticks >= IDLE_TICKS) and self._ready():
            self._report([*islice(self._waiting, MOST_AT_ONCE)])

    def _report_urgent(self) -> None:
        some = [*islice(self._urgent, MOST_AT_ONCE)]
        self._urgent.clear()
        if some and self._ready():
            self._report(some)

    def _report(self, some: Sequence[ConnectionTally]) -> None:
        self._idle_ticks = 0
        for of in some:
            self._waiting.pop(of, None)
            self._urgent.pop(of, None)
        task = asyncio.create_task(self._send(some))
        self._reporting.add(task)
        task.add_done_callback(self._reporting.discard)

    async def _send(self, some: Sequence[ConnectionTally]) -> None:
        """One batch after the other, so that decisions about calls get their turn between them."""
        for first in range(0, len(some) or 1, BATCH):
            batch, now = some[first : first + BATCH], self._clock()
            states = await self._push([(of.named, of.take(now)) for of in batch])
            for of, state in zip(batch, states, strict=False):
                of.learn(state)
            for of in batch:
                if self._tallies.get(of.named) is not of:
                    of.fall_apart()


def _limited_s(record: CallRecord, attempt: Attempt) -> float:
    """How long the upstream wants to be left alone, from now: what was waited for has passed."""
    return min(record.upstream_retry_after_s or LIMITED_S, MAX_LIMITED_S) if attempt.last else 0


def tell_transition(transition: Transition) -> None:
    """Report a state's change as an event, with the failure that led to it."""
    (tenant, connection), track = transition.status
    well = track.state is ConnectionState.ONLINE
    event(
        f"connection.{track.state}",
        MESSAGES[track.state],
        "info" if well else "warning",
        connection=connection,
        tenant=tenant or None,
        state_before=transition.before,
        state_before_s=max(0, track.since_us - transition.before_since_us) // 1000 / 1e3,
        **({} if well or track.failure.at_us < 0 else _about(track.failure)),
    )


def _about(failure: Failure) -> dict[str, object]:
    return {
        "error_class": failure.error_class or None,
        "upstream_status": failure.status or None,
        "operation": failure.operation or None,
        "entity": failure.entity or None,
        "request_id": failure.request_id or None,
    }
