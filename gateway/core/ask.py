"""What the store is asked about one call: everything that is the same for all calls of one caller on one route."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import chain
from struct import Struct
from types import MappingProxyType
from typing import Any

from gateway.core.access.credentials import Credential
from gateway.core.guards import Guard
from gateway.core.limits import Algorithm, Charge, Decision, Limit, Mode, Verdict
from gateway.core.measure import Measure
from gateway.core.problems import Refusal

NEAR = 5
"""A limit is nearly used up when a fifth of it is left, or less; of fewer units that cannot be said."""
_QUOTA = Struct(">I")
NO_MEASURES: Mapping[str, Measure] = MappingProxyType({})


class UsedUp:
    """A refusal that holds for a while, whatever others do.

    until_s  on the clock of whoever made it
    refusal  what the caller is told
    lines    the fields that say what is left, when somebody has written them
    said     the same for whoever logs it; `logged` what the lines of such calls have in common, and in
             whose words
    """

    __slots__ = ("decision", "lines", "logged", "refusal", "said", "until_s")

    def __init__(self, until_s: float, decision: Decision, refusal: Refusal) -> None:
        self.until_s = until_s
        self.decision = decision
        self.refusal = refusal
        self.lines = b""
        self.said: Any = None
        self.logged: Any = None


class Kind:
    """What follows from the limits and costs alone: one for all the callers who are asked the same.

    alike        whether every call of a caller asks the store the same, so that several can be decided in one go: there
                 are neither slots nor windows by the calendar
    by_calendar  whether a limit has windows by the calendar: then what is sent and shown changes with time
    takes_slots  whether concurrency limits are among them: then each call needs a lease of its own
    names        of the limits, in the order asked; `limits` their names and modes
    answers      how stores pack what they say to them: whether the call is admitted, when, and the verdicts
    verdicts     where these begin among the numbers
    near_at      (position, units left at which it is nearly used up; -1 = never) of each enforced limit
    enforced     (position, limit, whether it can be the tightest) of each of them: slots cannot, beside others
    ranked       (place among the enforced, position, whether it can be the tightest) of the same, longer windows first
    shadows      whether limits are among them that never refuse
    shown        for whoever tells callers about limits, `said` for whoever logs them: what is the same each time;
                 `sentences` for whoever refuses: each limit's own
    """

    __slots__ = (
        "alike", "answers", "by_calendar", "enforced", "limits", "names", "near_at", "ranked", "said", "sentences",
        "shadows", "shown", "takes_slots", "verdicts",
    )  # fmt: skip

    def __init__(self, asked: Sequence[tuple[Limit, int]]) -> None:
        limits = [limit for limit, _ in asked]
        self.by_calendar = any(limit.calendar is not None for limit in limits)
        self.takes_slots = any(limit.algorithm is Algorithm.CONCURRENCY for limit in limits)
        self.alike = not (self.by_calendar or self.takes_slots)
        self.names = tuple(limit.name for limit in limits)
        self.limits = tuple((limit.name, limit.mode) for limit in limits)
        self.answers = Struct(">Bq" + "?qqqq" * len(limits))
        self.verdicts = range(2, 2 + 5 * len(limits), 5)
        enforced = [(at, limit) for at, limit in enumerate(limits) if limit.mode is Mode.ENFORCE]
        self.near_at = tuple((at, limit.quota // NEAR or -1) for at, limit in enforced)
        only_slots = all(limit.algorithm is Algorithm.CONCURRENCY for _, limit in enforced)
        self.enforced = tuple(
            (at, limit, only_slots or limit.algorithm is not Algorithm.CONCURRENCY) for at, limit in enforced
        )
        places = sorted(range(len(enforced)), key=lambda place: -enforced[place][1].window_us)
        self.ranked = tuple((place, self.enforced[place][0], self.enforced[place][2]) for place in places)
        self.shadows = any(limit.mode is Mode.SHADOW for limit in limits)
        self.shown: Any = None
        self.said: Any = None
        self.sentences: Any = None


@lru_cache(maxsize=4_096)
def _kind(asked: Sequence[tuple[Limit, int]], _written: Sequence[int]) -> Kind:
    """Callers are many, what is asked of them is one of a few. Limits that are equal may be `_written` differently: 60
    per 1m, 1 per 1s; and callers are told what was written."""
    return Kind(asked)


class Ask:
    """Made once per caller and remembered while the caller keeps calling, so that nobody works it out twice.

    charges      what each limit is asked for; `keys` of them
    guards       the pauses and the breaker that may hold the call back, asked before the limits
    breaker      the breaker: the last of the guards, unless each worker has its own; None = there is none
    own          the breaker, if each worker has its own: then it is asked for itself, before the store
    beforehand   whether something in this worker is asked before the store: a breaker of its own, or whether there is
                 a token for the credential
    empty        whether there is nothing to ask anybody
    line         the caller's values of what its upstream's pace counts by
    cached       whether anything is kept of the upstream's answers, which the call may use or make wrong
    shelf        whose answers a cache may give this caller (a partition); None = nobody's
    measures     by name the limits whose charge is an estimate, put right when the answer has ended
    credential   what the upstream is shown for this caller; None = what the caller sends
    skipped      whether a limit was left out because a key part is missing
    kind         what it has in common with other callers' asks
    watched      whether there may be something to see when the call is admitted: shadows, or once a grant was seen
    granted      the numbers of the last grant (`core.grant`), and what is asked under it; None = there was none
    passage      for whoever lets calls through breakers: what all calls get while nothing is known against them, and
                 by whom they were let through (`passage_by`)
    refusal      the last one that a call of this caller got
    used_up      what the store answered when it refused one, and until when it could not answer otherwise; None = it
                 could
    form         for the store that is asked: how it puts the question, when every call of this caller sends the same
    packed       and what it sends
    told         what the store said last, but for the guards', as it packed it (`Kind.answers`), and the quotas of
                 grants behind it; b"" = nothing yet. Of thousands of callers hardly one is asked what it was
    uncounted    for whoever counts callers: calls that have ended and were not counted yet
    tally        for whoever counts calls of connections: where this caller's are
    """

    __slots__ = (
        "beforehand",
        "breaker",
        "cached",
        "charges",
        "credential",
        "empty",
        "form",
        "granted",
        "guards",
        "keys",
        "kind",
        "line",
        "measures",
        "own",
        "packed",
        "passage",
        "passage_by",
        "refusal",
        "shelf",
        "skipped",
        "tally",
        "told",
        "uncounted",
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
        cached: bool = False,
        shelf: str | None = None,
        skipped: bool = False,
        measures: Mapping[str, Measure] = NO_MEASURES,
        credential: Credential | None = None,
    ) -> None:
        self.charges = tuple(charges)
        self.keys = tuple([charge.key for charge in self.charges])
        self.guards = tuple(guards)
        self.breaker = breaker
        self.line = tuple(line)
        self.cached = cached
        self.shelf = shelf
        self.own = breaker if breaker not in self.guards else None
        renewed = credential is not None and credential.oauth is not None
        self.beforehand = renewed or self.own is not None
        self.empty = not (charges or guards or breaker or renewed)
        self.kind = _kind(
            tuple([(limit, cost) for limit, _, cost in charges]), tuple([limit.times for limit, _, _ in charges])
        )
        self.skipped = skipped
        self.measures = measures
        self.credential = credential
        self.watched = self.kind.shadows
        self.granted: tuple[tuple[int, ...], Ask] | None = None
        self.passage: Any = None
        self.passage_by = ""
        self.refusal: Any = None
        self.used_up: UsedUp | None = None
        self.form: Any = None
        self.packed: Any = None
        self.told = b""
        self.uncounted = 0
        self.tally: Any = None

    def see(self, decision: Decision) -> None:
        """The store has told this, though not as one answer to this question."""
        numbers = chain.from_iterable(decision.verdicts)
        told = self.kind.answers.pack(decision.admitted, decision.now_us, *numbers)
        self.see_packed(told, decision.quotas)

    def see_packed(self, told: bytes, quotas: Sequence[int]) -> None:
        """The store has told this, see `told`; under these grants, if there are any."""
        self.told = told
        if quotas:
            self.told += b"".join(map(_QUOTA.pack, quotas))
            self.watched = True

    @property
    def seen(self) -> Decision | None:
        """The store's last answer, but for the guards'; None = there was none yet."""
        if not self.told:
            return None
        answers = self.kind.answers
        numbers = answers.unpack_from(self.told)
        verdicts = tuple([Verdict(*numbers[at : at + 5]) for at in self.kind.verdicts])
        quotas = tuple([quota for (quota,) in _QUOTA.iter_unpack(self.told[answers.size :])])
        return Decision(numbers[0] == 1, verdicts, numbers[1], quotas=quotas)


NOTHING = Ask(())
"""A call without limits."""
