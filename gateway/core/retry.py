"""Whether a failed attempt is followed by another, and when: a policy as a value, and the plan that follows from it.

`plan` looks only at what its arguments say. What else may speak against another attempt (the body is gone, the budget
is empty, a limit or breaker refuses) is for the caller to ask; `Stop` has a word for each, so that logs name it.
"""

from dataclasses import dataclass, field
from enum import StrEnum

CHANCE_BITS = 32
"""Chances are integers below 2**CHANCE_BITS: so much of a range is taken."""
MILLION = 1_000_000
ASKED_JITTER_PPM = 100_000
LEAST_PART = 10
IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
"""RFC 9110 §9.2.2: repeating the request has no further effect."""


class Repeat(StrEnum):
    """Whether requests with other than the listed methods are sent again."""

    NEVER = "never"
    WITH_IDEMPOTENCY_KEY = "with_idempotency_key"
    ALWAYS = "always"


class Stop(StrEnum):
    """Why there is no further attempt after one that would be worth it."""

    ATTEMPTS = "attempts"  # that was the last
    UPSTREAM_WAIT = "upstream_wait"  # the upstream asks for more than `max_wait_us`
    DEADLINE = "deadline"  # the wait would end behind `total_us`
    BUDGET = "budget"  # too large a share of the calls is retries already
    METHOD = "method"  # not safe to repeat
    BODY = "body"  # the request's body was not kept whole
    ANSWER = "answer"  # what the upstream sent is too large to be kept meanwhile
    LIMIT = "limit"  # a limit that is charged per attempt refuses
    PLACE = "place"  # there was none for it at the upstream: its sockets, or its pace
    BREAKER = "breaker"  # the breaker is open, or the connection paused


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait before each further attempt.

    schedule_us  explicit waits; the last one repeats. Empty = exponential with jitter: anything up to `base_us`,
                 doubled with each attempt, at most `max_us`, and a tenth of that at least: never at once
    jitter_ppm   how much longer, at most, a wait of the schedule becomes, in millionths; one that the upstream asks for
                 becomes up to `ASKED_JITTER_PPM` longer at least, so that not all who were asked come back at once
    """

    schedule_us: tuple[int, ...] = ()
    jitter_ppm: int = 100_000
    base_us: int = 250_000
    max_us: int = 10_000_000

    def wait_us(self, failed: int, chance: int) -> int:
        """The wait after `failed` attempts, at least 1."""
        if self.schedule_us:
            return _stretched(self.schedule_us[min(failed, len(self.schedule_us)) - 1], self.jitter_ppm, chance)
        most_us = min(self.max_us, self.base_us << min(failed - 1, CHANCE_BITS))
        least_us = most_us // LEAST_PART
        return least_us + ((most_us - least_us) * chance >> CHANCE_BITS)

    def asked_us(self, wait_us: int, chance: int) -> int:
        """How long to wait when the upstream asks for `wait_us`."""
        return _stretched(wait_us, max(self.jitter_ppm, ASKED_JITTER_PPM), chance)


def _stretched(wait_us: int, jitter_ppm: int, chance: int) -> int:
    """A wait with jitter: never shorter, so that nobody comes before the time."""
    return wait_us + (wait_us * jitter_ppm * chance // MILLION >> CHANCE_BITS)


@dataclass(frozen=True, slots=True)
class Share:
    """A retry budget: retries are at most `percent` of the calls, or `min_concurrent` at a time where that is more."""

    percent: int = 20
    min_concurrent: int = 3


@dataclass(frozen=True, slots=True)
class Retry:
    """What is tried again, when, and how often.

    attempts        in all, the first one included
    statuses        answers that are followed by another attempt
    errors          errors of the transport (`core.classes.KINDS`) that are
    methods         requests that may be repeated; `others` says when the rest may
    honor           families of fields whose wait is kept to (`core.http.signals.Honor`)
    max_wait_us     the upstream asks for more: its answer is passed on at once
    max_body_bytes  larger request bodies are not kept, and then not sent again
    per_try_us      an attempt has failed when it has no answer by then; 0 = the upstream's timeouts alone
    total_us        counted from the first attempt: no wait ends later, no attempt is waited for longer; 0 = no bound
    share           the budget, one for each upstream and worker; None = no bound
    told            level at which it is logged that every attempt failed; "" = it is not
    """

    name: str
    attempts: int
    backoff: Backoff = field(default_factory=Backoff)
    statuses: frozenset[int] = frozenset({429, 500, 502, 503, 504})
    errors: frozenset[str] = frozenset()
    methods: frozenset[str] = IDEMPOTENT
    others: Repeat = Repeat.WITH_IDEMPOTENCY_KEY
    honor: frozenset[str] = frozenset()
    max_wait_us: int = 30_000_000
    max_body_bytes: int = 1024 * 1024
    per_try_us: int = 0
    total_us: int = 0
    share: Share | None = field(default_factory=Share)
    told: str = "error"
    source: str = field(default="", compare=False)

    def repeats(self, method: str, has_idempotency_key: bool) -> bool:
        """Whether a request may be sent more than once."""
        if method in self.methods or self.others is Repeat.ALWAYS:
            return True
        return has_idempotency_key and self.others is Repeat.WITH_IDEMPOTENCY_KEY

    def answer_within_us(self, bound_us: int, elapsed_us: int) -> int:
        """How long an attempt that begins now may wait for its answer: `bound_us` or less, at least 1."""
        bounds = [bound_us]
        if self.per_try_us:
            bounds.append(self.per_try_us)
        if self.total_us:
            bounds.append(self.total_us - elapsed_us)
        return max(1, min(bounds))


UNAUTHORIZED = 401
RENEWED = Retry("", 2, statuses=frozenset(), share=None, told="")
"""Without a policy: which requests are sent again with another token when an upstream has refused the first (401)."""


def plan(retry: Retry, failed: int, asked_us: int, elapsed_us: int, chance: int) -> int | Stop:
    """Microseconds to wait before the next attempt, or why there is none.

    failed      attempts so far, all failed; >= 1
    asked_us    how long the upstream asks to be left alone; 0 = it does not
    elapsed_us  since the first attempt began
    chance      a random number, 0 <= chance < 2**CHANCE_BITS
    """
    if failed >= retry.attempts:
        return Stop.ATTEMPTS
    if asked_us > retry.max_wait_us:
        return Stop.UPSTREAM_WAIT
    wait_us = max(retry.backoff.wait_us(failed, chance), retry.backoff.asked_us(asked_us, chance))
    if retry.total_us and elapsed_us + wait_us >= retry.total_us:
        return Stop.DEADLINE
    return wait_us


class Budget:
    """Credit for retries to one upstream: each call brings in `percent`, each retry costs 100.

    Under an outage that lasts, the upstream sees at most `1 + percent / 100` times the calls, however often each would
    be retried. `min_concurrent` retries may always be under way, so that few calls get all of theirs; they are charged
    like all others, so busy upstreams do not see them on top.
    """

    SAVED_CALLS = 50
    """Whose share may be saved up while all is well (or owed), so that old successes do not pay for a new storm."""

    __slots__ = ("_calls", "_credit", "_saved", "_share", "under_way")

    def __init__(self, share: Share) -> None:
        self._share = share
        self._calls = 0
        self._credit = 0
        self._saved = max(100, self.SAVED_CALLS * share.percent)
        self.under_way = 0

    def take(self, calls: int) -> bool:
        """Ask for one retry; True must be followed by `end`. `calls` is how many first attempts there were, ever."""
        self._credit = min(self._saved, self._credit + (calls - self._calls) * self._share.percent)
        self._calls = calls
        if self._credit < 100 and self.under_way >= self._share.min_concurrent:
            return False
        self._credit = max(-self._saved, self._credit - 100)
        self.under_way += 1
        return True

    def end(self) -> None:
        """A retry is over: answered, failed or cancelled."""
        self.under_way -= 1
