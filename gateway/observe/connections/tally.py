"""What one worker has seen of a connection since it last reported."""

from collections.abc import Mapping

from gateway.core.connections.counts import Row
from gateway.core.connections.outcome import Outcome
from gateway.core.connections.state import NEVER, ConnectionState, Failure, Named, Report
from gateway.observe.connections.attempts import Attempt
from gateway.record import CallRecord

FAR_BACK = float("-inf")
_NOBODY: Mapping[str, float] = {}
_BY_POLICY = ""
"""In the place of a breaker: a policy says that this outcome means offline."""
_DENIED = {
    Outcome.UNAUTHENTICATED: ConnectionState.AUTH_REQUIRED,
    Outcome.FORBIDDEN: ConnectionState.PERMISSION_DENIED,
}
_LEADS_TO = _DENIED | {Outcome.LIMITED: ConnectionState.RATE_LIMITED, Outcome.DOWN: ConnectionState.OFFLINE}
_ENDED_BY_SUCCESS = (ConnectionState.OFFLINE, ConnectionState.AUTH_REQUIRED, ConnectionState.PERMISSION_DENIED)


class PairTally:
    """Attempts of one operation and entity of a connection. Times are monotonic seconds.

    quiet  whether one success more is but counted here: its connection waits for its report already, and is well. Most
           calls are such, and look no further
    """

    __slots__ = ("began", "connection", "ended", "entity", "failed", "ok", "operation", "quiet", "rejected")

    def __init__(self, connection: "ConnectionTally", operation: str, entity: str) -> None:
        self.connection = connection
        self.operation = operation
        self.entity = entity
        self.ok = self.rejected = self.failed = 0
        self.began = self.ended = FAR_BACK
        self.quiet = False

    def succeeded(self, began: float, ended: float) -> None:
        """Count a success."""
        self.ok += 1
        self.ended = ended
        if began > self.began:
            self.began = began

    def take(self, now: float) -> Row:
        """What was counted since the last time; counting begins anew."""
        row = Row(
            self.operation,
            self.entity,
            self.ok,
            self.rejected,
            self.failed,
            _age_us(self.began, now) if self.ok else 0,
            _age_us(self.ended, now) if self.ok else 0,
        )
        self.ok = self.rejected = self.failed = 0
        self.began = self.ended = FAR_BACK
        return row


class ConnectionTally:
    """What `core.connections.state.Report` says, while it comes about.

    state            as the store last told
    success_matters  whether a success may change that
    touched          whether there is something to report
    tail             failures since the last answer
    counts           whether calls are still counted here, see `leave`
    """

    __slots__ = (
        "answer_began",
        "counts",
        "denied",
        "failure",
        "failures",
        "limited_until",
        "named",
        "pairs",
        "reported_at",
        "shut",
        "state",
        "success_matters",
        "tail",
        "through",
        "touched",
    )

    def __init__(self, named: Named) -> None:
        self.named = named
        self.pairs: list[PairTally] = []
        self.reported_at = FAR_BACK
        self.counts = True
        self.state, self.success_matters = ConnectionState.ONLINE, False
        self._begin_anew()

    def _begin_anew(self) -> None:
        self.touched = False
        self.failures = self.tail = 0
        self.answer_began = self.limited_until = FAR_BACK
        self.shut = self.through = _NOBODY
        self.denied: tuple[ConnectionState, float, str, str] | None = None
        self.failure: tuple[float, Failure] | None = None

    def pair(self, operation: str, entity: str) -> PairTally:
        """The tally of one operation of the connection, made if there is none yet."""
        for pair in self.pairs:
            if (pair.operation, pair.entity) == (operation, entity):
                return pair
        self.pairs.append(PairTally(self, operation, entity))
        return self.pairs[-1]

    def _look_again(self) -> None:
        """What the next success of each pair means has changed."""
        for pair in self.pairs:
            pair.quiet = False

    def leave(self) -> None:
        """Counting has begun anew without this."""
        self.counts = False
        self._look_again()

    def fall_apart(self) -> None:
        """Nothing is counted here any more: the pairs refer to this, and only the collector, which seldom runs, would
        give their memory back."""
        self.pairs.clear()

    def learn(self, state: ConnectionState) -> None:
        """The store has told the state."""
        self.state = state
        self.success_matters = state in _ENDED_BY_SUCCESS
        if self.success_matters:
            self._look_again()

    def answered(self, began: float) -> None:
        """The other side is there, whatever it answered."""
        self.tail = 0
        self.answer_began = max(self.answer_began, began)

    def refused(self, breaker: str, at: float) -> None:
        """A breaker of the whole connection did not let a call through."""
        self.shut = {**self.shut, breaker: at}

    def came_through(self, breaker: str, began: float) -> None:
        """A call that this breaker had let through was answered."""
        self.through = {**self.through, breaker: max(began, self.through.get(breaker, FAR_BACK))}

    def went_wrong(self, outcome: Outcome, record: CallRecord, attempt: Attempt, limited_s: float) -> None:
        """Note an attempt that is neither a success nor the request's own fault."""
        at = record.ended
        self._look_again()
        if outcome in (Outcome.FAILED, Outcome.DOWN):
            self.failures += 1
            self.tail += 1
        else:
            self.answered(record.started)
        if outcome is Outcome.DOWN:
            self.refused(_BY_POLICY, at)
        elif outcome is Outcome.LIMITED:
            self.limited_until = max(self.limited_until, at + limited_s)
        elif outcome in _DENIED:
            self.denied = (_DENIED[outcome], at, record.operation, record.entity)
        details = (attempt.error_class, attempt.status, record.request_id, record.operation, record.entity)
        self.failure = (at, Failure(0, *details))

    def news(self, outcome: Outcome) -> bool:
        """Whether a failed attempt may change the state; how a row of failures ends is for the next tick."""
        return self.state is ConnectionState.ONLINE or self.state is not _LEADS_TO.get(outcome, self.state)

    def take(self, now: float) -> Report:
        """The report of what was counted since the last one; counting begins anew."""
        rows = tuple(pair.take(now) for pair in self.pairs if pair.ok or pair.rejected or pair.failed)
        answers_us = [row.began_us for row in rows if row.ok]
        if self.answer_began > FAR_BACK:
            answers_us.append(_age_us(self.answer_began, now))
        state, denied_at, operation, entity = self.denied or (None, FAR_BACK, "", "")
        failed_at, failure = self.failure or (FAR_BACK, Failure())
        report = Report(
            rows,
            self.failures,
            self.tail,
            min(answers_us, default=NEVER),
            state,
            _age_us(denied_at, now),
            operation,
            entity,
            max(0, round((self.limited_until - now) * 1e6)) if self.limited_until > FAR_BACK else 0,
            _ages_us(self.shut, now) if self.shut else (),
            _ages_us(self.through, now) if self.through else (),
            failure._replace(at_us=_age_us(failed_at, now)),
        )
        self._begin_anew()
        self._look_again()
        self.reported_at = now
        return report


def _age_us(at: float, now: float) -> int:
    return NEVER if at == FAR_BACK else max(0, round((now - at) * 1e6))


def _ages_us(moments: Mapping[str, float], now: float) -> tuple[tuple[str, int], ...]:
    return tuple((name, _age_us(at, now)) for name, at in moments.items())
