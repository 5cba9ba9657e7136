"""What a store that is away had told last of the partitions: this worker, and the others of its gateway.

Of a partition the newest answer counts, whoever got it.
"""

from collections.abc import Callable, Iterable
from itertools import repeat
from typing import NamedTuple

from gateway.core.ask import Ask
from gateway.core.grant import left_without
from gateway.core.limits import Algorithm, Charge, Limit

MOST_HEARD = 20_000
MOST_TOLD_CHARS = 200_000

Told = tuple[str, int, int, int]
"""Of one partition: (key, units left, until full_us, at_us), as in `Seen`."""


class Seen(NamedTuple):
    """What the store said of a partition last: units left, when all would be back, and when it said so."""

    limit: Limit
    remaining: int
    full_us: int
    at_us: int

    def left(self, now_us: int) -> int:
        """Units that are there now at least, as far as one knows. A bucket has gone on filling since."""
        limit = self.limit
        if limit.algorithm is not Algorithm.TOKEN_BUCKET:
            return self.remaining
        return max(0, min(limit.quota, self.remaining + limit.rate * (now_us - self.at_us) // limit.per_us))


class Known:
    """By partition. `clock` is the one that shares go by; all times are its."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._seen: dict[str, Seen] = {}
        self._heard: dict[str, tuple[int, int, int]] = {}
        self._ahead_us: int | None = None

    def remember(self, asks: Iterable[Ask], ahead_us: int) -> None:
        """The store went away: this is what it has told of the callers lately.

        ahead_us  what the store's clock shows more than ours
        """
        self._seen.clear()
        self._ahead_us = ahead_us
        now_us = self._clock()
        for ask in asks:
            self._note(ask, ahead_us, now_us)

    def note(self, ask: Ask) -> None:
        """Of a cluster, a part that goes later has told more since."""
        if self._ahead_us is not None:
            self._note(ask, self._ahead_us, self._clock())

    def _note(self, ask: Ask, ahead_us: int, now_us: int) -> None:
        decision, seen = ask.seen, self._seen
        if decision is None:
            return
        at_us = decision.now_us - ahead_us
        quotas = decision.quotas or repeat(0)
        for charge, verdict, quota in zip(ask.charges, decision.verdicts, quotas, strict=False):
            full_us = at_us + verdict.reset_us
            known = seen.get(charge.key)
            if full_us > now_us and (known is None or known.at_us < at_us):
                left = left_without(charge.limit, quota, verdict.remaining)
                seen[charge.key] = Seen(charge.limit, left, full_us, at_us)

    def tell(self, most: int) -> list[Told]:
        """What other workers may not know, in a message of some size."""
        told, chars = [], 0
        for _, key, _ in self.in_use_before(most):
            chars += len(key)
            if chars > MOST_TOLD_CHARS:
                break
            seen = self._seen[key]
            told.append((key, seen.remaining, seen.full_us, seen.at_us))
        return told

    def hear(self, told: Iterable[Told]) -> None:
        """What another worker was told last, by this one's clock."""
        for key, remaining, full_us, at_us in told:
            if len(self._heard) >= MOST_HEARD:
                self._heard.clear()
            if self._heard.get(key, (0, 0, 0))[2] < at_us:
                self._heard[key] = (remaining, full_us, at_us)

    def of(self, limit: Limit, key: str) -> Seen | None:
        """The newest that is known of this partition."""
        seen, heard = self._seen.get(key), self._heard.get(key)
        if heard is not None and (seen is None or seen.at_us < heard[2]):
            return Seen(limit, *heard)
        return seen

    def in_use_before(self, most: int) -> list[Charge]:
        """What was in use of some partitions when the store went, and is still: those with the least left first."""
        now_us = self._clock()
        found = []
        for key, seen in self._seen.items():
            used = seen.limit.quota - seen.left(now_us)
            if used > 0 and seen.full_us > now_us and seen.limit.algorithm is not Algorithm.CONCURRENCY:
                found.append((used / seen.limit.quota, Charge(seen.limit, key, used)))
        found.sort(key=lambda one: one[0], reverse=True)
        return [charge for _, charge in found[:most]]

    def forget(self) -> None:
        """The store is back, and knows everything."""
        self._seen, self._heard, self._ahead_us = {}, {}, None
