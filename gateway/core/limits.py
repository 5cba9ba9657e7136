"""The vocabulary of limits: what a limit is, what it is asked, what it answers.

All times are integer microseconds, all amounts integer units. Nothing here does I/O or reads a clock.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import NamedTuple

from gateway.core.calendars import Calendar
from gateway.core.guards import Standing

VARIANT = ".shadow"
"""What the name of a variant that is tried in shadow has behind that of its limit."""


class Algorithm(StrEnum):
    """How a limit counts. `docs/limits.md` states the guarantee and the error bound of each."""

    ROLLING_WINDOW = "rolling_window"
    TOKEN_BUCKET = "token_bucket"
    FIXED_WINDOW = "fixed_window"
    CONCURRENCY = "concurrency"


class Mode(StrEnum):
    """What a limit's verdict does: refuse, only be recorded, or nothing (the limit is not asked)."""

    ENFORCE = "enforce"
    SHADOW = "shadow"
    OFF = "off"


class ChargePer(StrEnum):
    """Whether a retried call costs once or once per attempt."""

    CALL = "per_call"
    ATTEMPT = "per_attempt"


class Posture(StrEnum):
    """What a limit does while the store does not answer."""

    LOCAL = "local"
    ALLOW = "allow"
    DENY = "deny"


@dataclass(frozen=True, slots=True)
class Override:
    """Other numbers for some callers: applies when every named key part has exactly the given value."""

    match: tuple[tuple[str, str], ...]
    limit: "Limit"


_Overrides = dict[tuple[str, ...], dict[tuple[str | None, ...], int]]


USUAL_STATUS = 429
"""Of the answer to whom a limit refuses (RFC 6585 §4)."""


@dataclass(frozen=True, slots=True)
class Limit:
    """One named rule, with every number resolved at load time.

    quota      units: what a window admits, a bucket's burst, or the number of concurrent slots; > 0
    window_us  rolling and fixed window: its length; by the calendar, its usual length.
               Token bucket: time to refill from empty, rounded up.
               Concurrency: how long a lease lives when nobody renews or releases it.
    rate, per_us  token bucket only: `rate` units come back every `per_us`, reduced to lowest terms; else 0
    times      by how much both were reduced: what operators wrote is so many times as much (`said`)
    quantum_us rolling window only: entries are dated up to a multiple of this. 1 = exact; with `precision: N`
               it is ceil(window_us / N). Never admits too many; may refuse up to one quantum longer.
    key        names of the key parts it counts by; the first one is the hash tag on a Redis Cluster
    overrides  first match wins; the override's limit keeps the name and the counters
    shadow     a variant decided beside this one and only recorded; it has counters of its own
    source     `file:line` of its definition
    calendar   fixed window only: its windows are those of the calendar, and each has a length of its own
    status, detail  of the answer to whom it refuses; "" = a sentence with its numbers
    """

    name: str
    algorithm: Algorithm
    quota: int
    window_us: int
    key: tuple[str, ...]
    rate: int = 0
    per_us: int = 0
    quantum_us: int = 1
    mode: Mode = Mode.ENFORCE
    charge: ChargePer = ChargePer.CALL
    on_store_error: Posture = Posture.LOCAL
    overrides: tuple[Override, ...] = ()
    shadow: "Limit | None" = None
    source: str = ""
    calendar: Calendar | None = None
    status: int = USUAL_STATUS
    detail: str = ""
    times: int = field(default=1, compare=False)
    _by_values: _Overrides = field(init=False, repr=False, compare=False, default_factory=dict)
    _bare: "Limit | None" = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_bare", replace(self, overrides=()) if self.overrides else None)
        for position, override in enumerate(self.overrides):
            names, values = zip(*sorted(override.match), strict=True)
            self._by_values.setdefault(names, {}).setdefault(values, position)

    @property
    def said(self) -> tuple[int, int]:
        """`rate` and `per_us` as operators wrote them: 60 per 1m, where 1 per 1s is decided by."""
        return self.rate * self.times, self.per_us * self.times

    @property
    def denies(self) -> bool:
        """Whether callers are refused for it while the store is down. In shadow, or off, for everybody: nobody is."""
        if self.on_store_error is not Posture.DENY:
            return False
        return self.mode is Mode.ENFORCE or any(one.limit.mode is Mode.ENFORCE for one in self.overrides)

    def for_caller(self, parts: Mapping[str, str | None]) -> "Limit":
        """The limit with this caller's numbers: the first override whose parts all match, else its own.

        It has no overrides any more: what is remembered of callers is compared by their limits. Costs one lookup per
        combination of key parts that overrides ask for, however many overrides there are.
        """
        first = none = len(self.overrides)
        for names, positions in self._by_values.items():
            first = min(first, positions.get(tuple(map(parts.get, names)), none))
        return self.overrides[first].limit if first < none else self._bare or self


class Charge(NamedTuple):
    """One limit asked to admit one call.

    key   the partition: an encoded, collision-free text made by `core.keys.partition_key`
    cost  units, 1 <= cost <= limit.quota
    """

    limit: Limit
    key: str
    cost: int


class Verdict(NamedTuple):
    """The answer of one limit. Everything headers, logs and metrics need; nothing is read a second time.

    admitted   whether this limit alone has room for the cost
    remaining  units left, after the charge if the call was charged
    reset_us   until the limit is full again (every unit back), if nothing more is charged
    more_us    until the next unit(s) come back; 0 when the limit is full
    retry_us   until this same cost would be admitted, if nobody else charges; 0 when admitted
    """

    admitted: bool
    remaining: int
    reset_us: int
    more_us: int
    retry_us: int


class Decision(NamedTuple):
    """The answer for the whole call: admitted only if every enforced limit admits, and then all are charged.

    verdicts  one per charge, in the order asked. Shadow limits never refuse; a shadow limit is charged when the call
              is admitted and the shadow limit itself had room. Empty when a guard holds the call back.
    now_us    the store's clock at the decision
    standings one per guard, in the order asked; empty when nothing is known against the call
    quotas    one per charge when any of them is under a grant: its number, 0 for the others; see `core.grant`
    """

    admitted: bool
    verdicts: tuple[Verdict, ...]
    now_us: int
    standings: tuple[Standing, ...] = ()
    quotas: tuple[int, ...] = ()

    def charged_at_us(self, index: int) -> int:
        """The store's clock when the charge of this index was made. Stores on several servers have several clocks."""
        return self.now_us
