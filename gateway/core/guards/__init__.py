"""The vocabulary of guards: what is asked, beside the limits, before a call may go to its upstream.

A guard is a circuit breaker or a pause. It charges nothing; while it holds calls back nobody is charged at all.
All times are integer microseconds. Nothing here does I/O or reads a clock.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from types import MappingProxyType
from typing import NamedTuple

from gateway.core.units import DAY_US, HOUR_US

OPERATION = "operation"
"""What a breaker may count by without anybody defining it: the name of the call's operation."""


class State(IntEnum):
    """Of a breaker: closed = calls flow, open = none do, half_open = a few probes do. A pause is closed or open."""

    CLOSED = 0
    OPEN = 1
    HALF_OPEN = 2


class Reason(IntEnum):
    """Why a breaker entered its state."""

    NONE = 0
    CONSECUTIVE_FAILURES = 1
    FAILURE_RATE = 2
    SLOW_CALLS = 3
    PROBE_FAILED = 4
    OPEN_TIME_OVER = 5
    PROBES_SUCCEEDED = 6
    FORCED = 7


@dataclass(frozen=True, slots=True)
class Breaker:
    """One named breaker, with every number resolved at load time. A threshold of 0 is not in use.

    key        names of the key parts it counts by
    shared     one state for the whole fleet, in the store; else each worker has its own
    window_us  how far back the rates look, in `core.guards.tallies.PARTS` parts: the oldest part goes as a whole
    minimum_calls  in the window, before a rate says anything
    failure_ppm, slow_ppm  shares of the calls in the window, in millionths, from which on it opens
    slow_us    a call that takes longer is slow
    consecutive_failures  opens when so many calls in a row failed
    open_us    how long it stays open; each failed probe makes that `growth_milli / 1000` times as long
    max_open_us     but never longer than this
    half_open_calls how many probes may be out at once
    close_after     how many probes in a row must succeed
    permit_us  a probe of which nothing is heard is given up after this long
    probe_us   and any probe after this long
    source     `file:line` of its definition
    """

    name: str
    key: tuple[str, ...]
    shared: bool = True
    window_us: int = 60_000_000
    minimum_calls: int = 10
    failure_ppm: int = 0
    slow_ppm: int = 0
    slow_us: int = 0
    consecutive_failures: int = 0
    open_us: int = 30_000_000
    growth_milli: int = 1000
    max_open_us: int = 300_000_000
    half_open_calls: int = 1
    close_after: int = 1
    permit_us: int = 5_000_000
    probe_us: int = 60_000_000
    source: str = ""

    @property
    def counts_rates(self) -> bool:
        """Whether it has to know of every call, not only of the failed ones."""
        return bool(self.failure_ppm or self.slow_ppm)


MAX_WINDOW_US = HOUR_US
MAX_OPEN_US = DAY_US
MAX_GROWTH_MILLI = 100_000
MAX_PROBES = 100
MAX_CALLS = 1_000_000


def out_of_bounds(breaker: Breaker) -> str | None:
    """Why the breaker cannot be counted, as a sentence for its author; None when it can.

    Within these bounds all is exact in doubles (Lua has no others) and fits the packed fields.
    """
    if breaker.window_us > MAX_WINDOW_US:
        return "window can be at most 1h"
    if max(breaker.open_us, breaker.max_open_us) > MAX_OPEN_US:
        return "open_for and max_open_for can be at most 24h"
    if breaker.growth_milli > MAX_GROWTH_MILLI:
        return f"open_backoff can be at most {MAX_GROWTH_MILLI // 1000}"
    if breaker.half_open_calls > MAX_PROBES:
        return f"half_open_calls can be at most {MAX_PROBES}"
    if max(breaker.minimum_calls, breaker.consecutive_failures, breaker.close_after) > MAX_CALLS:
        return f"minimum_calls, consecutive_failures and close_after can be at most {MAX_CALLS}"
    return None


@dataclass(frozen=True, slots=True)
class Pausing:
    """A place where an upstream can ask for quiet. Nothing that it asks for lasts longer than `max_us`.

    key  names of the key parts that have a pause each
    """

    name: str
    max_us: int
    key: tuple[str, ...] = ()


IN_KEY: Mapping[str, str | None] = MappingProxyType({})
"""In the place of values that the key says itself."""


class Guard(NamedTuple):
    """One guard asked about one call.

    key    the partition: an encoded, collision-free text, different from those of limits
    parts  the values of key parts as the caller says them; none where the key says them all, or nobody knows them
    """

    rule: Breaker | Pausing
    key: str
    parts: Mapping[str, str | None] = IN_KEY


class Standing(NamedTuple):
    """The answer of one guard. The default is what nearly every call hears: nothing is known against it.

    state       as it is now; a breaker that this call moved to half-open says half-open
    wait_us     until the call would be let through, as far as is known; 0 = this guard does not hold it back
    generation  goes back with the call's outcome: outcomes of another generation do not count
    probe       names the permit that this call holds: of a breaker's probe; or, counted down to 1, of a call that an
                upstream still lets through, where it said how many; 0 = the call needs none
    urgent      the outcome decides something: report it at once, also a good one
    moved       this call moved the breaker from open to half-open
    """

    state: State = State.CLOSED
    wait_us: int = 0
    generation: int = 0
    probe: int = 0
    urgent: bool = False
    moved: bool = False


CLEAR = Standing()


class Report(NamedTuple):
    """How calls that a breaker let through ended: the passed ones first, then the failed ones.

    slow       how many of both were slow. A probe that says nothing (all 0) only gives its permit back
    longer_us  the probe is not over, and given up so much later: from now on its permit is `probe + longer_us`
    """

    guard: Guard
    generation: int
    probe: int = 0
    passed: int = 0
    failed: int = 0
    slow: int = 0
    longer_us: int = 0


class Change(NamedTuple):
    """A breaker entered `state`. Whoever gets this value is the only one in the fleet to get it.

    calls, failed, slow  what it judged by: the window's counts, the failures in a row, or the probe
    wait_us              until the first probe; 0 unless it opened
    """

    state: State
    reason: Reason
    calls: int = 0
    failed: int = 0
    slow: int = 0
    wait_us: int = 0


def longest(standings: Iterable[Standing]) -> int:
    """Which guard holds the call back longest, as an index; -1 when none does. Of equals the first."""
    which, wait_us = -1, 0
    for index, standing in enumerate(standings):
        if standing.wait_us > wait_us:
            which, wait_us = index, standing.wait_us
    return which
