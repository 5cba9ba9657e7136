"""What this worker's shares have spent while the store was away, and the store does not know of yet."""

from collections import OrderedDict

from gateway.core.limits import Charge, Limit

MOST_DEBTS = 100_000
"""Beyond it those are forgotten that were made first."""


class Debts:
    """Units owed to the store by partition, bounded in number."""

    def __init__(self, most: int = MOST_DEBTS) -> None:
        self._most = most
        self._units: OrderedDict[str, tuple[Limit, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._units)

    def add(self, limit: Limit, key: str, units: int) -> None:
        """So many units more (less: below 0) of one partition. `limit` is the whole one, not the share."""
        known = self._units.get(key)
        if known is not None:
            self._units[key] = (limit, max(0, known[1] + units))
            return
        if units <= 0:
            return
        if len(self._units) >= self._most:
            self._units.popitem(last=False)
        self._units[key] = (limit, units)

    def take(self, count: int) -> list[Charge]:
        """Some of those that were made first: the whole limit, the partition, its units. `add` puts them back."""
        first = (self._units.popitem(last=False) for _ in range(min(count, len(self._units))))
        return [Charge(limit, key, units) for key, (limit, units) in first]
