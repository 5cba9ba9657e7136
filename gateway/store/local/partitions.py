"""What a process remembers of partitions: a dictionary that holds no more than it may.

Times are microseconds of whatever clock the caller has; nothing here reads one.
"""

import heapq
from collections.abc import Iterator

from gateway.core.algorithms import State
from gateway.core.decision import Kept

SPARE_ENDINGS = 1_000


class Partition:
    """What is kept of one partition. From `ends_us` on it says nothing any more."""

    __slots__ = ("ends_us", "state")

    def __init__(self) -> None:
        self.state: State | Kept | None = None
        self.ends_us = 0


class Partitions:
    """By key, at most `most` of them.

    Those that say nothing any more go first; if that is not enough, the one that would be forgotten soonest anyway
    goes, so that the least is given away.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._partitions: dict[str, Partition] = {}
        self._endings: list[tuple[int, int, str, Partition]] = []  # heap; its times may be too early, never too late
        self._serial = 0

    def __len__(self) -> int:
        return len(self._partitions)

    def __iter__(self) -> Iterator[str]:
        return iter(self._partitions)

    def get(self, key: str) -> Partition | None:
        """What is kept of this one, and until when; None = nothing."""
        return self._partitions.get(key)

    def states(self) -> list[tuple[str, State | Kept | None]]:
        """All that is kept, whether it still says something or not."""
        return [(key, partition.state) for key, partition in self._partitions.items()]

    def state(self, key: str) -> State | Kept | None:
        """The state alone; None = nothing is kept."""
        partition = self._partitions.get(key)
        return partition.state if partition is not None else None

    def keep(self, key: str, state: State | Kept | None, now_us: int, for_us: int) -> None:
        """Remember a state that says something for so long; what says nothing at all is not begun with."""
        partition = self._partitions.get(key)
        if partition is None:
            if for_us == 0:
                return
            self._make_room(now_us)
            partition = self._partitions[key] = Partition()
            self._serial += 1
            heapq.heappush(self._endings, (now_us + for_us, self._serial, key, partition))
        partition.state = state
        partition.ends_us = now_us + for_us

    def forget(self, key: str) -> bool:
        """Forget one partition; whether there was anything to forget."""
        return self._partitions.pop(key, None) is not None

    def tidy(self) -> None:
        """Let go of what stands for forgotten partitions, when it has become much."""
        if len(self._endings) > 2 * len(self._partitions) + SPARE_ENDINGS:
            self._endings = [entry for entry in self._endings if self._partitions.get(entry[2]) is entry[3]]
            heapq.heapify(self._endings)

    def _make_room(self, now_us: int) -> None:
        """Two at most of those that have ended for each that comes, and one that has not if there is no room."""
        for _ in range(2):
            if not self._drop_ended(now_us):
                break
        while len(self._partitions) >= self._most:
            self._drop_first()

    def _drop_ended(self, now_us: int) -> bool:
        if not self._endings or self._endings[0][0] > now_us:
            return False
        self._drop_first()
        return True

    def _drop_first(self) -> None:
        """Drop the first of the heap; or, if it has been charged since, put it back with its new time."""
        ends_us, _, key, partition = self._endings[0]
        if self._partitions.get(key) is not partition:  # forgotten meanwhile
            heapq.heappop(self._endings)
        elif partition.ends_us > ends_us:
            self._serial += 1
            heapq.heapreplace(self._endings, (partition.ends_us, self._serial, key, partition))
        else:
            heapq.heappop(self._endings)
            del self._partitions[key]
