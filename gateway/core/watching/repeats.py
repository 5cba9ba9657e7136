"""Identical reads: who asks the same thing again and again, and what that takes of which limit.

A repeat is a read whose method, target and caller are those of one before it. It is taken for one that an answer kept
for as long, or a message from the other side, would have made needless.
"""

from hashlib import blake2b
from typing import Any, NamedTuple

from gateway.core.ask import Ask
from gateway.core.keys import readable
from gateway.core.limits import Algorithm, Limit

MOST_CHARS = 200
"""Of a target or a caller's name that are kept as they are; a longer one is told apart by a digest of all of it."""
PPM = 1_000_000


class Read(NamedTuple):
    """What makes two reads the same."""

    route: str
    auth_key: str
    tenant: str
    account: str
    connection: str
    target: str

    @property
    def path(self) -> str:
        """For people, as far as it is kept: nobody knows what a query holds."""
        return self.target[:MOST_CHARS].partition("?")[0]

    @property
    def digest(self) -> str:
        """The same for the same read in every process."""
        return blake2b("\0".join(self).encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()


def kept(text: str) -> str:
    """What stands for a text that a caller chose: at most `MOST_CHARS` and a digest."""
    if len(text) <= MOST_CHARS:
        return text
    whole = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()
    return f"{text[:MOST_CHARS]} {whole}"


def shares(ask: Ask, repeats: int, over_us: int) -> list[dict[str, Any]]:
    """What so many repeats in `over_us` take of each limit they are charged to, the largest share first.

    share_ppm   millionths of all that the limit admits in the long run, if they go on like that; never more than all
    supposed    whether that is more than was seen: the limit's window is longer than `over_us`
    Slots are not used up.
    """
    found = [
        {
            "limit": limit.name,
            "key": readable(key),
            "units": repeats * cost,
            "share_ppm": _share_ppm(limit, repeats * cost, over_us),
            "supposed": limit.window_us > over_us,
        }
        for limit, key, cost in ask.charges
        if limit.algorithm is not Algorithm.CONCURRENCY
    ]
    return sorted(found, key=lambda one: -one["share_ppm"])


def _share_ppm(limit: Limit, units: int, over_us: int) -> int:
    """What was admitted at once, out of what had been saved up, would be more than all if it went on: it cannot."""
    admits, in_us = (limit.rate, limit.per_us) if limit.rate else (limit.quota, limit.window_us)
    return min(PPM, units * in_us * PPM // (max(over_us, 1) * admits))
