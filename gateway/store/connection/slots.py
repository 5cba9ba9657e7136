"""Keys of certain slots of a Redis Cluster."""

from binascii import crc_hqx
from collections.abc import Collection
from functools import cache
from itertools import count

from redis.crc import REDIS_CLUSTER_HASH_SLOTS as SLOTS

__all__ = ["SLOTS", "tag_at", "tag_within"]


def tag_within(slots: Collection[int]) -> str:
    """Text that, as a hash tag, makes keys of one of these slots. Not for none."""
    return next(text for text in map(str, count()) if crc_hqx(text.encode(), 0) % SLOTS in slots)


@cache
def tag_at(slot: int) -> str:
    """`tag_within` this one, which takes some milliseconds to find: once."""
    return tag_within((slot,))
