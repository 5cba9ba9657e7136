"""When an upstream gives reason to wake somebody: too many of its answers are failures, or refuse our credentials.

Judged over the last `over_us`, once in a while; told when it begins and when it is over, not while it lasts.
"""

from dataclasses import dataclass
from typing import NamedTuple


class Seen(NamedTuple):
    """Calls to one upstream so far: all, those that failed (5xx or no answer), and those answered with 401 or 403."""

    calls: int = 0
    failed: int = 0
    denied: int = 0

    def since(self, before: "Seen") -> "Seen":
        """What was counted after `before`."""
        return Seen(self.calls - before.calls, self.failed - before.failed, self.denied - before.denied)


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What is too much.

    error_rate     share of calls that failed; None = never
    auth_failures  answers with 401 or 403; None = never
    calls          fewer say nothing about a rate
    """

    error_rate: float | None = None
    auth_failures: int | None = None
    calls: int = 20
    over_us: int = 60_000_000

    @property
    def any(self) -> bool:
        """Whether there is anything to look for."""
        return self.error_rate is not None or self.auth_failures is not None


def failing(thresholds: Thresholds, seen: Seen, *, before: bool) -> bool:
    """Whether too many fail. Once begun it lasts until they are half as many, or nobody calls any more."""
    rate = thresholds.error_rate
    if rate is None or not seen.calls:
        return False
    if before:
        return seen.failed > seen.calls * rate / 2
    return seen.calls >= thresholds.calls and seen.failed >= seen.calls * rate and seen.failed > 0


def denied(thresholds: Thresholds, seen: Seen, *, before: bool) -> bool:
    """Whether credentials are refused too often. Once begun it lasts until none is."""
    most = thresholds.auth_failures
    if most is None:
        return False
    return seen.denied > 0 if before else seen.denied >= most
