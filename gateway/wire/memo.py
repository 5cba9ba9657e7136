"""A bounded memory of what was worked out before, for things that are asked for again and again."""

from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class Memo(Generic[Key, Value]):
    """Remembers between `entries` and twice as many values, those in use first.

    Two generations: when the young one is full it becomes the old one, and what is asked for again is taken back from
    there. So a crowd of keys that come once cannot push out those that keep coming, and nothing is kept in order.

    young  looked into by callers themselves (`memo.young.get(key) or memo.recall(key)`): that is all the way there is
           for what is asked for all the time
    """

    __slots__ = ("_entries", "_old", "young")

    def __init__(self, entries: int) -> None:
        self._entries = entries
        self._old: dict[Key, Value] = {}
        self.young: dict[Key, Value] = {}

    def __len__(self) -> int:
        return len(self.young) + len(self._old)

    def recall(self, key: Key) -> Value | None:
        """The value of a key that is not among the young ones."""
        value = self._old.pop(key, None)
        if value is not None:
            self.remember(key, value)
        return value

    def remember(self, key: Key, value: Value) -> None:
        """Keep a value that took work."""
        if len(self.young) >= self._entries:
            self._old = self.young
            self.young = {}
        self.young[key] = value
