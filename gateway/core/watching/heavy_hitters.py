"""Who comes most often, in bounded memory: the "frequent" algorithm of Misra and Gries (1982), pruned in batches.

Of all that was counted, a key's count is at most `missed` too small and never too large; and `missed` is at most the
whole divided by how many are kept. Two summaries can be added, and the same holds (Agarwal et al., "Mergeable
summaries", 2012). So whoever makes up more than that share of the calls is surely among those kept.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Generic, TypeVar

Key = TypeVar("Key")


class HeavyHitters(Generic[Key]):
    """Counts by key. After each `prune` at most `most` keys are kept; call it now and then.

    missed  how much a count may be too small
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.counts: Counter[Key] = Counter()
        self.missed = 0

    def add(self, key: Key, count: int) -> None:
        """Count so many more occurrences of one thing."""
        self.counts[key] = self.counts.get(key, 0) + count

    def add_each(self, keys: Iterable[Key], count: int) -> None:
        """Count so many more occurrences of each of these."""
        counts = self.counts
        for key in keys:
            counts[key] = counts.get(key, 0) + count

    def merge(self, counts: Mapping[Key, int], missed: int) -> None:
        """Add what another worker has counted."""
        for key, count in counts.items():
            self.add(key, count)
        self.missed += missed

    def prune(self) -> None:
        """Keep the most frequent. The count of the first that goes is taken off all of them."""
        if len(self.counts) <= self._most:
            return
        least = sorted(self.counts.values(), reverse=True)[self._most]
        self.missed += least
        self.counts = Counter({key: count - least for key, count in self.counts.items() if count > least})

    def top(self, count: int) -> list[tuple[Key, int]]:
        """The most frequent, the first of them first."""
        return sorted(self.counts.items(), key=lambda item: -item[1])[:count]
