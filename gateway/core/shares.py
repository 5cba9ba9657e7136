"""Shares: what each of several workers may spend of a limit while nobody counts for all of them.

All shares of one partition add up to exactly what there was, whoever works them out: each worker has only to know how
many there are and which one it is. What does not divide goes to other workers for each partition, so that of many
partitions with less units than there are workers each worker has some to give.
"""

from binascii import crc32
from dataclasses import replace
from typing import NamedTuple

from gateway.core.algorithms import Bucket, Log, State, Tally, state_for
from gateway.core.headers import used_up_sentence
from gateway.core.limits import Algorithm, Limit


class Fleet(NamedTuple):
    """How many workers share the limits, and which of them this is: 0 <= rank < workers.

    gateways  how many such fleets there are that have not heard of each other: each has the same part of every limit,
              rounded down, because nobody knows which one this is
    """

    workers: int = 1
    rank: int = 0
    gateways: int = 1

    @property
    def all_workers(self) -> int:
        """The number of workers of all gateways together."""
        return self.workers * self.gateways


def place_of(key: str, fleet: Fleet) -> int:
    """This worker's place among those who share one partition."""
    return (fleet.rank + crc32(key.encode())) % fleet.workers


def part(units: int, workers: int, place: int) -> int:
    """One place's part of so many units: all places' parts add up to exactly that."""
    return (units + workers - 1 - place) // workers


def share(limit: Limit, fleet: Fleet, place: int) -> Limit:
    """One place's part of a limit. Its quota may be 0: then nothing is admitted there. Buckets refill alike slower.

    Callers are told of the whole limit: which part of it they meet is chance.
    """
    quota = part(limit.quota // fleet.gateways, fleet.workers, place)
    detail = limit.detail or f"{used_up_sentence(limit)[:-1]} as far as it can be given without the store."
    if limit.algorithm is Algorithm.TOKEN_BUCKET:
        return replace(limit, quota=quota, detail=detail, per_us=limit.per_us * fleet.all_workers)
    return replace(limit, quota=quota, detail=detail)


def begun_with(mine: Limit, units: int, reset_us: int, now_us: int) -> State | None:
    """What a worker's share remembers of a partition of which so many units were left for it; None = nothing.

    mine      the share of the limit
    reset_us  until everything is back that was in use. It is taken to come back no earlier, and all at once: so it is
              never counted too short
    """
    missing = mine.quota - units
    if missing <= 0 or reset_us <= 0:
        return None
    if mine.algorithm is Algorithm.TOKEN_BUCKET:
        return Bucket(units * mine.per_us, now_us, mine.per_us)
    if mine.algorithm is Algorithm.ROLLING_WINDOW:
        return Log().charged(mine, missing, now_us + reset_us - mine.window_us, "")
    if mine.algorithm is Algorithm.FIXED_WINDOW:
        return Tally(now_us, missing)
    return None


def owed(mine: Limit, spent: int, state: State | None, now_us: int) -> int:
    """How many of the units that a share has spent still count: what the store has to be told when it is back.

    state  what the share remembers of the partition; None = it says nothing any more
    """
    if state is None or mine.algorithm is Algorithm.CONCURRENCY:
        return 0
    remaining, _, _ = state_for(mine, state).present(mine, now_us)
    return max(0, min(spent, mine.quota - remaining))
