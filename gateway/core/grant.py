"""A grant: what an operator gives one caller of a limit for a while, instead of the limit's own number.

It is kept where the caller's counter is, so the trip that decides a call finds it, on every gateway from the next call
on, and nobody else's calls cost anything. What was counted goes on counting under the other number, and under the
limit's own when the grant has ended.
"""

from collections.abc import Sequence
from dataclasses import replace
from math import gcd
from typing import NamedTuple

from gateway.core.algorithms.bounds import EXACT_IN_DOUBLE, TOO_ODD, out_of_bounds
from gateway.core.ask import Ask
from gateway.core.limits import Algorithm, Charge, Limit
from gateway.core.units import DAY_US

MAX_GRANT_US = 30 * DAY_US
MAX_REASON_CHARS = 200


class Grant(NamedTuple):
    """quota: units, as `Limit.quota`. reason: for people."""

    quota: int
    until_us: int
    reason: str = ""


def why_not(limit: Limit, quota: int) -> str | None:
    """Why so many units cannot be granted of this limit, as a sentence for the operator; None when they can."""
    return out_of_bounds(granted(limit, quota)) if limit.rate * quota < EXACT_IN_DOUBLE else TOO_ODD


def counted(limit: Limit, quota: int) -> int:
    """The number that holds under a grant of `quota`: the limit's own where a bucket has been given numbers since with
    which that cannot be counted; 0 = there is no grant."""
    odd = limit.algorithm is Algorithm.TOKEN_BUCKET and quota > 0 and why_not(limit, quota) is not None
    return limit.quota if odd else quota


def granted(limit: Limit, quota: int) -> Limit:
    """The limit with another number of units. A token bucket's rate changes in the same proportion.

    The answer may be out of bounds: see `why_not`.
    """
    if limit.algorithm is not Algorithm.TOKEN_BUCKET:
        return replace(limit, quota=quota, overrides=())
    rate, per_us = limit.rate * quota, limit.per_us * limit.quota
    common = gcd(rate, per_us)
    times, odd = divmod(limit.said[1], per_us // common)
    return replace(
        limit,
        quota=quota,
        rate=rate // common,
        per_us=per_us // common,
        times=1 if odd else times,
        overrides=(),
    )


def under(ask: Ask, quotas: Sequence[int]) -> Ask:
    """The same question with the numbers that grants give; 0 = the limit's own. The same object for the same numbers.

    A cost is what it would be without the grant, or all there is if that is less.
    """
    numbers = tuple(quotas)
    if ask.granted is None or ask.granted[0] != numbers:
        charges = [_charge(charge, quota) for charge, quota in zip(ask.charges, numbers, strict=True)]
        ask.granted = (
            numbers,
            Ask(charges, ask.guards, breaker=ask.breaker, line=ask.line, skipped=ask.skipped, measures=ask.measures),
        )
    return ask.granted[1]


def _charge(charge: Charge, quota: int) -> Charge:
    limit, key, cost = charge
    return Charge(granted(limit, quota), key, min(cost, limit.quota, quota)) if quota else charge


def left_without(limit: Limit, quota: int, remaining: int) -> int:
    """What would be left of the limit itself where so much is left under a grant of `quota`; 0 = there is none."""
    if not quota:
        return remaining
    if limit.algorithm is Algorithm.TOKEN_BUCKET:
        return min(limit.quota, remaining)
    return max(0, limit.quota - (quota - remaining))
