"""What a breaker that let a call through waits for: how the call ends."""

from collections.abc import Awaitable, Sequence
from typing import Protocol

from gateway.core.guards import Change, Guard, Report, Standing
from gateway.core.tuples import made

Changes = tuple[Change | None, ...]


class Judge(Protocol):
    """Where a breaker's state is: the store, or this worker's own memory."""

    def report(self, reports: Sequence[Report]) -> Awaitable[Changes]:
        """See `gateway.store.Store.report`."""


class Passage:
    """A breaker let a call through, and waits to hear how it ended. Nothing in it is the call's own while nothing is
    known against the breaker's calls: then all that one caller makes share one.

    calls, slow  successes that the breaker was not told of yet; this passage counts them for others of its kind, too
    due          the turn in which they are told at the latest
    enough       so many of them are told in the next turn; 0 = the breaker remembers none. Who counts failures in a row
                 has none when a call succeeds, or it would be asked at once
    """

    __slots__ = ("__weakref__", "calls", "due", "enough", "guard", "judge", "rule", "slow", "standing")

    def __init__(self, guard: Guard, standing: Standing, judge: Judge) -> None:
        self.guard = guard
        self.rule = guard.rule  # each call wants it: of a caller who was away, one object less that is in no cache
        self.standing = standing
        self.judge = judge
        self.calls = self.slow = self.due = self.enough = 0

    def joins(self, other: "Passage") -> bool:
        """Whether the breaker is to hear of both in one: it is the same generation, and is kept at the same place."""
        return self.judge is other.judge and self.standing.generation == other.standing.generation

    def told(self) -> Report:
        """The successes that were counted, which are not counted any more."""
        report: Report = made(Report, (self.guard, self.standing.generation, 0, self.calls, 0, self.slow, 0))
        self.calls = self.slow = 0
        return report
