"""Which numbers the algorithms can count with: exact in doubles (Lua has no others) and in the packed fields."""

from gateway.core.limits import Algorithm, Limit
from gateway.core.units import DAY_US

MAX_UNITS = 2**32 - 1
MAX_WINDOW_US = 800 * DAY_US
MAX_ENTRIES = 1_000_000
MAX_SLOTS = 100_000
MAX_RATE = 2**48 - 1
"""Of a bucket's `rate` and its `per_us`: so many bytes they are given."""
EXACT_IN_DOUBLE = 2**53
TOO_ODD = "burst and rate are too large to count exactly: choose rounder numbers or a smaller `per`"


def out_of_bounds(limit: Limit) -> str | None:
    """Why the limit cannot be counted, as a sentence for its author; None when it can."""
    if not 1 <= limit.quota <= MAX_UNITS:
        return f"the limit must be between 1 and {MAX_UNITS}"
    if not 1 <= limit.window_us <= MAX_WINDOW_US:
        return "the time must be between 1 microsecond and 800 days"
    if limit.algorithm is Algorithm.ROLLING_WINDOW:
        return _rolling_out_of_bounds(limit)
    if limit.algorithm is Algorithm.TOKEN_BUCKET:
        return _bucket_out_of_bounds(limit)
    if limit.algorithm is Algorithm.CONCURRENCY and limit.quota > MAX_SLOTS:
        return f"a concurrency limit can have at most {MAX_SLOTS} slots"
    return None


def _rolling_out_of_bounds(limit: Limit) -> str | None:
    if not 1 <= limit.quantum_us <= limit.window_us:
        return "precision must be between 1 and the window in microseconds"
    if max_entries(limit) > MAX_ENTRIES:
        return f"more than {MAX_ENTRIES} calls a window need `precision: N` (at most {MAX_ENTRIES - 1})"
    return None


def _bucket_out_of_bounds(limit: Limit) -> str | None:
    if limit.rate < 1 or limit.per_us < 1:
        return "a token bucket needs a rate of at least 1"
    most = limit.rate + limit.per_us + limit.quota * limit.per_us
    if max(limit.rate, limit.per_us) > MAX_RATE or most >= EXACT_IN_DOUBLE:
        return TOO_ODD
    return None


def most_owed(limit: Limit) -> int:
    """Units that may be in use at most when calls turn out to cost more than was reserved: twice the limit."""
    return min(2 * limit.quota, MAX_UNITS)


def lowest_level(limit: Limit) -> int:
    """The same of a token bucket, as its level: a whole burst below empty, as far as that can be counted exactly."""
    full = limit.quota * limit.per_us
    return max(-full, full + limit.rate - EXACT_IN_DOUBLE)


def max_entries(limit: Limit) -> int:
    """How many entries the log of a rolling window can hold at most."""
    return min(limit.quota, -(-limit.window_us // limit.quantum_us) + 1)
