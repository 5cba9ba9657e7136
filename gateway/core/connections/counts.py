"""How many attempts of a connection went how, by operation and entity, over the last ten minutes.

Bounded: BUCKETS parts of BUCKET_US each, and in each part at most MAX_ROWS pairs of operation and entity; what is more
is counted together under OTHER. Pure; times are microseconds of the store's clock.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

BUCKET_US = 60_000_000
BUCKETS = 10
WINDOW_US = BUCKETS * BUCKET_US
MAX_ROWS = 32
OTHER = ("(other)", "")

Pair = tuple[str, str]
"""(operation, entity); "" = the call had none."""


class Row(NamedTuple):
    """Attempts of one operation in one report. Ages in microseconds, of successes only.

    began_us  since the latest beginning of one
    ended_us  since the latest end of one
    """

    operation: str
    entity: str
    ok: int = 0
    rejected: int = 0
    failed: int = 0
    began_us: int = 0
    ended_us: int = 0


class Counts(NamedTuple):
    """ok: answered well. rejected: the request was at fault. failed: everything else."""

    ok: int = 0
    rejected: int = 0
    failed: int = 0

    def plus(self, other: "Counts | Row") -> "Counts":
        """The sums of both."""
        return Counts(self.ok + other.ok, self.rejected + other.rejected, self.failed + other.failed)


class Bucket(NamedTuple):
    """One part of the window. `number`: its time divided by BUCKET_US."""

    number: int
    rows: Mapping[Pair, Counts]


def counted(buckets: Sequence[Bucket], rows: Iterable[Row], now_us: int) -> tuple[Bucket, ...]:
    """The buckets, oldest first, with rows added to the present one and those beyond the window left out.

    When the clock stepped back, what lies ahead of it is the present.
    """
    kept = _within(buckets, now_us)
    added = [row for row in rows if row.ok or row.rejected or row.failed]
    if not added:
        return kept
    number = max(now_us // BUCKET_US, kept[-1].number if kept else 0)
    newest = dict(kept[-1].rows) if kept and kept[-1].number == number else {}
    older = kept[:-1] if newest else kept
    for row in added:
        pair = (row.operation, row.entity)
        if pair not in newest and len(newest) >= MAX_ROWS:
            pair = OTHER
        newest[pair] = newest.get(pair, Counts()).plus(row)
    return (*older, Bucket(number, newest))


def totals(buckets: Iterable[Bucket]) -> dict[Pair, Counts]:
    """The counts of all buckets together."""
    sums: dict[Pair, Counts] = {}
    for bucket in buckets:
        for pair, counts in bucket.rows.items():
            sums[pair] = sums.get(pair, Counts()).plus(counts)
    return sums


def _within(buckets: Sequence[Bucket], now_us: int) -> tuple[Bucket, ...]:
    oldest = now_us // BUCKET_US - BUCKETS
    return tuple(bucket for bucket in buckets if bucket.number > oldest)
