"""What one worker keeps of one route's answers: a bounded number of bytes; the least recently used go first."""

from collections import OrderedDict
from collections.abc import Callable, Iterator

from gateway.core.cache.key import Shelf
from gateway.core.cache.rules import Stored

MAX_VARIANTS = 32
"""Answers on one shelf. A caller who varies a field at will only ever displaces its own."""
SHELF_BYTES = 512
MAX_FORGOTTEN = 4096


class Shelved:
    """The answers to one request: what they depend on, and by `core.cache.key.variant` themselves."""

    __slots__ = ("answers", "vary")

    def __init__(self, vary: tuple[bytes, ...]) -> None:
        self.vary = vary
        self.answers: OrderedDict[bytes, Stored] = OrderedDict()


class Memory:
    """Answers by shelf and variant: so many, and `size_bytes` is about what they take."""

    def __init__(self, most_bytes: int) -> None:
        self.size_bytes = 0
        self._count = 0
        self._most_bytes = most_bytes
        self._shelves: OrderedDict[Shelf, Shelved] = OrderedDict()
        self._by_target: dict[str, set[Shelf]] = {}
        self._forgotten: OrderedDict[str, int] = OrderedDict()  # target: when
        self._forgotten_before_us = -1

    def __len__(self) -> int:
        return self._count

    def vary(self, shelf: Shelf) -> tuple[bytes, ...]:
        """What the answers on the shelf depend on, as far as is known."""
        shelved = self._shelves.get(shelf)
        return shelved.vary if shelved is not None else ()

    def get(self, shelf: Shelf, variant: bytes) -> Stored | None:
        """The answer kept for this variant, marked as used now; None without one."""
        shelved = self._shelves.get(shelf)
        if shelved is None or variant not in shelved.answers:
            return None
        self._shelves.move_to_end(shelf)
        shelved.answers.move_to_end(variant)
        return shelved.answers[variant]

    def put(self, shelf: Shelf, vary: tuple[bytes, ...], variant: bytes, stored: Stored, asked_us: int) -> bool:
        """Keep an answer, if there is room for it and nobody has said since `asked_us` that it is wrong."""
        forgotten_us = self._forgotten.get(stored.target, self._forgotten_before_us)
        if stored.size_bytes + SHELF_BYTES > self._most_bytes or asked_us <= forgotten_us:
            return False
        shelved = self._shelves.get(shelf)
        if shelved is None or shelved.vary != vary:
            self.drop(shelf)
            shelved = self._shelves[shelf] = Shelved(vary)
            self._by_target.setdefault(shelf.target, set()).add(shelf)
            self.size_bytes += SHELF_BYTES
        before = shelved.answers.pop(variant, None)
        self.size_bytes += stored.size_bytes - (before.size_bytes if before is not None else 0)
        self._count += before is None
        shelved.answers[variant] = stored
        self._shelves.move_to_end(shelf)
        self._make_room(shelved)
        return True

    def drop(self, shelf: Shelf, variant: bytes | None = None) -> None:
        """Forget one answer of a shelf, or all. Unknown ones are fine."""
        shelved = self._shelves.get(shelf)
        if shelved is None:
            return
        for one in [*shelved.answers] if variant is None else [variant]:
            gone = shelved.answers.pop(one, None)
            self.size_bytes -= gone.size_bytes if gone is not None else 0
            self._count -= gone is not None
        if not shelved.answers:
            del self._shelves[shelf]
            self.size_bytes -= SHELF_BYTES
            others = self._by_target[shelf.target]
            others.discard(shelf)
            if not others:
                del self._by_target[shelf.target]

    def forget(self, target: str, now_us: int) -> None:
        """§4.4: whatever is kept for this target is wrong, and so is what was asked for before now."""
        for shelf in [*self._by_target.get(target, ())]:
            self.drop(shelf)
        self._forgotten[target] = now_us
        self._forgotten.move_to_end(target)
        if len(self._forgotten) > MAX_FORGOTTEN:
            _, at_us = self._forgotten.popitem(last=False)
            self._forgotten_before_us = max(self._forgotten_before_us, at_us)

    def purge(self, wanted: Callable[[Stored], bool], now_us: int) -> int:
        """Forget what an operator wants gone, and whatever was asked for before now. How many answers there were."""
        gone = [(shelf, variant) for shelf, variant, stored in self._all() if wanted(stored)]
        for shelf, variant in gone:
            self.drop(shelf, variant)
        self._forgotten_before_us = now_us
        self._forgotten.clear()
        return len(gone)

    def _all(self) -> Iterator[tuple[Shelf, bytes, Stored]]:
        for shelf, shelved in self._shelves.items():
            for variant, stored in shelved.answers.items():
                yield shelf, variant, stored

    def _make_room(self, grown: Shelved) -> None:
        if len(grown.answers) > MAX_VARIANTS:
            self.size_bytes -= grown.answers.popitem(last=False)[1].size_bytes
            self._count -= 1
        while self.size_bytes > self._most_bytes:
            oldest = next(iter(self._shelves))
            self.drop(oldest, next(iter(self._shelves[oldest].answers)))
