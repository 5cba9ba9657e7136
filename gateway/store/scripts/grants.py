"""Which partitions have a grant: a list beside them, as nobody can ask a store for all of its keys.

It is written after the grant itself and may name some that have ended: whoever reads it looks at each and strikes
those. A grant whose gateway died between the two is in force and not listed.
"""

from collections.abc import Sequence

from gateway.core.grant import MAX_GRANT_US
from gateway.store import Grants
from gateway.store.connection.link import Argument
from gateway.store.scripts.limits import unpack_grant

GRANTED = "overrides"
"""Its key: a sorted set, so that it comes in the order of names."""
LIVES_MS = MAX_GRANT_US // 1000 + 24 * 3600 * 1000


def noted(key: str, *, given: bool) -> list[tuple[str, *tuple[Argument, ...]]]:
    """Commands about the list, each without its key, for a partition that was given a grant, or had it taken back."""
    return [("ZADD", 0, key), ("PEXPIRE", LIVES_MS)] if given else [("ZREM", key)]


def in_force(keys: Sequence[str], packed: Sequence[bytes | None], now_us: int) -> tuple[Grants, list[str]]:
    """The grants of these partitions, and the partitions without any."""
    found = [(key, unpack_grant(one, now_us)) for key, one in zip(keys, packed, strict=True)]
    grants = tuple((key, grant) for key, grant in found if grant is not None)
    return grants, [key for key, grant in found if grant is None]
