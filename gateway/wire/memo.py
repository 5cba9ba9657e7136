"""Bounded memories of what was worked out before, for things that are asked for again and again."""

from collections.abc import Callable, Hashable, Iterator
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class Memo(Generic[Key, Value]):
    """Remembers values that together weigh at most `capacity`, those in use longest.

    Two generations: what is asked for again is taken from the old one to the young one. Room is made in the old one,
    what came last goes first, for who keeps coming came early; with nothing left, the young one becomes the old one. So
    nobody is given up while there is room for all, a crowd of keys that come once hardly pushes out those that keep
    coming, nothing is kept in order, and thousands are never given up in one go.

    weigh  what a value weighs, at least 1, in any unit that grows with its memory. It may change: `grow`
    drop   told of each value that is given up: it should let go of what refers to it, or only the collector, which
           seldom runs, gives its memory back
    young  looked into by callers themselves (`memo.young.get(key) or memo.recall(key)`): that is all the way there is
           for what is asked for all the time
    """

    __slots__ = ("_capacity", "_drop", "_old", "_weigh", "_weight", "young")

    def __init__(
        self,
        capacity: int,
        weigh: Callable[[Value], int] = lambda _: 1,
        drop: Callable[[Value], object] = lambda _: None,
    ) -> None:
        self._capacity = capacity
        self._drop = drop
        self._weigh = weigh
        self._weight = 0
        self._old: dict[Key, Value] = {}
        self.young: dict[Key, Value] = {}

    def __len__(self) -> int:
        return len(self.young) + len(self._old)

    def values(self) -> Iterator[Value]:
        """All that is remembered, in no order. Not for use while something is being remembered."""
        yield from self.young.values()
        yield from self._old.values()

    def recall(self, key: Key) -> Value | None:
        """The value of a key that is not among the young ones."""
        value = self._old.pop(key, None)
        if value is not None:
            self.young[key] = value
        return value

    def remember(self, key: Key, value: Value) -> None:
        """Remember a value, in place of what was remembered of this key."""
        replaced = self.young.pop(key, None) or self._old.pop(key, None)
        if replaced is not None:
            self._give_up(replaced)
        self.grow(self._weigh(value))
        self.young[key] = value

    def forget(self) -> None:
        """Forget everything."""
        for generation in (self.young, self._old):
            for value in generation.values():
                self._drop(value)
        self._old, self.young, self._weight = {}, {}, 0

    def grow(self, weight: int) -> None:
        """Something weighs more by so much: what is about to be remembered, or what is and already says so itself."""
        self._weight += weight
        while self._weight > self._capacity and (self._old or self.young):
            if not self._old:
                self._old, self.young = self.young, {}
            self._give_up(self._old.popitem()[1])

    def _give_up(self, value: Value) -> None:
        self._weight -= self._weigh(value)
        self._drop(value)


class Doorkeeper:
    """Tells apart what comes again from what comes once and is not worth remembering: TinyLFU's doorkeeper (Einziger,
    Friedman, Manes 2017), with one hash and a mark of a byte in each cell.

    What it knows may be forgotten, and of many thousand strangers one may be taken for somebody it knows: both cost a
    little and harm nobody. Without the marks it was one of thirty, and what came once filled the memory after all.
    """

    __slots__ = ("_left", "_seen")

    _CELLS = 1 << 20
    _LAST = _CELLS - 1
    _MOST = _CELLS >> 4

    def __init__(self) -> None:
        self._seen = bytearray(self._CELLS)
        self._left = self._MOST

    def knows(self, thing: Hashable) -> bool:
        """Whether this came before, lately."""
        digest = hash(thing)
        at, mark = digest & self._LAST, digest >> 20 & 0xFF or 1
        known = self._seen[at]
        if known == mark:
            return True
        if not known:
            if not self._left:
                self._seen = bytearray(self._CELLS)
                self._left = self._MOST
            self._left -= 1
        self._seen[at] = mark
        return False
