"""What the store is asked about one call: everything that is the same for all calls of one caller on one route."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from gateway.core.guards import Guard
from gateway.core.limits import Algorithm, Charge, Decision, Mode
from gateway.core.measure import Measure
from gateway.core.problems import Refusal

NEAR = 5
"""A limit is nearly used up when a fifth of it is left, or less; of fewer units that cannot be said."""


class UsedUp:
    """A refusal that holds for a while, whatever others do.

    until_s  on the clock of whoever made it
    refusal  what the caller is told
    lines    the fields that say what is left, when somebody has written them
    """

    __slots__ = ("decision", "lines", "refusal", "until_s")

    def __init__(self, until_s: float, decision: Decision, refusal: Refusal) -> None:
        self.until_s = until_s
        self.decision = decision
        self.refusal = refusal
        self.lines = b""


class Ask:
    """Made once per caller and remembered while the caller keeps calling, so that nobody works it out twice.

    charges      what each limit is asked for
    guards       the pauses and the breaker that may hold the call back, asked before the limits
    breaker      the breaker: the last of the guards, unless each worker has its own; None = there is none
    own          the breaker, if each worker has its own: then it is asked for itself, before the store
    empty        whether there is nothing to ask anybody
    by_calendar  whether a limit has windows by the calendar: then what is sent and shown changes with time
    takes_slots  whether concurrency limits are among them: then each call needs a lease of its own
    line         the caller's values of what its upstream's pace counts by
    measures     by name the limits whose charge is an estimate, put right when the answer has ended
    skipped      whether a limit was left out because a key part is missing
    names        of the limits, in the order asked; `limits` are their names and modes
    near_at      (position, units left at which it is nearly used up; -1 = never) of each enforced limit
    shadows      whether limits are among them that never refuse
    watched      whether there may be something to see when the call is admitted: shadows, or once a grant was seen
    granted      the numbers of the last grant (`core.grant`), and what is asked under it; None = there was none
    shown        for whoever tells callers about limits: what is the same each time
    passage      for whoever lets calls through breakers: what all calls get while nothing is known against them, and
                 by whom they were let through (`passage_by`)
    refusal      the last one that a call of this caller got
    used_up      what the store answered when it refused one, and until when it could not answer otherwise; None = it
                 could
    seen         the store's last answer; None = there was none yet
    packed       for the store that is asked: what it sends, when every call of this caller sends the same
    """

    __slots__ = (
        "breaker",
        "by_calendar",
        "charges",
        "empty",
        "granted",
        "guards",
        "limits",
        "line",
        "measures",
        "names",
        "near_at",
        "own",
        "packed",
        "passage",
        "passage_by",
        "refusal",
        "seen",
        "shadows",
        "shown",
        "skipped",
        "takes_slots",
        "used_up",
        "watched",
    )

    def __init__(
        self,
        charges: Sequence[Charge],
        guards: Sequence[Guard] = (),
        *,
        breaker: Guard | None = None,
        line: Sequence[str | None] = (),
        skipped: bool = False,
        measures: Mapping[str, Measure] = MappingProxyType({}),
    ) -> None:
        self.charges = tuple(charges)
        self.guards = tuple(guards)
        self.breaker = breaker
        self.line = tuple(line)
        self.own = breaker if breaker not in self.guards else None
        self.empty = not (charges or guards or breaker)
        self.by_calendar = any(charge.limit.calendar is not None for charge in charges)
        self.takes_slots = any(charge.limit.algorithm is Algorithm.CONCURRENCY for charge in charges)
        self.skipped = skipped
        self.measures = measures
        self.names = tuple(charge.limit.name for charge in charges)
        self.limits = tuple((charge.limit.name, charge.limit.mode) for charge in charges)
        self.near_at = tuple(
            (position, charge.limit.quota // NEAR or -1)
            for position, charge in enumerate(charges)
            if charge.limit.mode is Mode.ENFORCE
        )
        self.shadows = any(charge.limit.mode is Mode.SHADOW for charge in charges)
        self.watched = self.shadows
        self.granted: tuple[tuple[int, ...], Ask] | None = None
        self.shown: Any = None
        self.passage: Any = None
        self.passage_by = ""
        self.refusal: Any = None
        self.used_up: UsedUp | None = None
        self.seen: Decision | None = None
        self.packed: Any = None


NOTHING = Ask(())
"""A call without limits."""
