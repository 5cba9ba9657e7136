"""Streams of events (WHATWG HTML §9.2.6): the amounts that their JSON says, heard as they go by."""

import re
from collections.abc import Collection
from itertools import islice

from gateway.core.document import Pointer, amount_at, loaded

EVENT_BYTES = 64 * 1024
"""No event that is larger is looked at."""
MOST_EVENTS = 100
"""So many events of one piece are parsed, the last ones: a stream that is made to keep us busy must not hold us up."""

_never_escaped = re.compile("(?=.*[A-Za-z_])[0-9A-Za-z_-]+").fullmatch


class Amounts:
    """The amounts at these places, each as the last event has it that has one there.

    Only events in which the name of such a place stands are parsed. Kept are the amounts, and the event that is not
    over.
    """

    __slots__ = ("_after_cr", "_lost", "_marks", "_rest", "_said")

    def __init__(self, pointers: Collection[Pointer]) -> None:
        self._said: dict[Pointer, int | None] = dict.fromkeys(pointers)
        self._marks = frozenset(map(_mark, pointers))
        self._rest = bytearray()
        self._after_cr = self._lost = False

    def feed(self, data: bytes) -> None:
        """Take the next piece of the stream, at whatever place it was cut."""
        if self._after_cr and data.startswith(b"\n"):
            data = data[1:]
        if data:
            self._after_cr = data.endswith(b"\r")
        begun = len(self._rest)
        self._rest += data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        end = self._rest.rfind(b"\n\n", max(0, begun - 1))
        if end >= 0:
            self._hear(bytes(self._rest[:end]))
            del self._rest[: end + 2]
        if len(self._rest) > EVENT_BYTES:
            del self._rest[:-1]
            self._lost = True

    def last(self, pointer: Pointer) -> int | None:
        """The amount; None if there was none. An event that nothing ended counts, if it is complete."""
        if self._rest:
            self._hear(bytes(self._rest))
            self._rest.clear()
        return self._said[pointer]

    def _hear(self, text: bytes) -> None:
        """Events, an empty line between them. Of one that was too large only the end is there."""
        if self._lost:
            text, self._lost = text.partition(b"\n\n")[2], False
        if not self._may_say(text):
            return
        missing = set(self._said)
        for event in islice(filter(self._may_say, reversed(text.split(b"\n\n"))), MOST_EVENTS):
            document = loaded(_data(event)) if len(event) <= EVENT_BYTES else None
            for pointer in tuple(missing):
                amount = amount_at(document, pointer)
                if amount is not None:
                    self._said[pointer] = amount
                    missing.remove(pointer)
            if not missing:
                break

    def _may_say(self, text: bytes) -> bool:
        return any(mark in text for mark in self._marks)


def _data(event: bytes) -> bytes:
    return b"\n".join(line[5:] for line in event.split(b"\n") if line.startswith(b"data:"))


def _mark(pointer: Pointer) -> bytes:
    """What stands in every event that has something there: the last name on the way that no JSON escapes."""
    return next((f'"{token}"'.encode() for token in reversed(pointer) if _never_escaped(token)), b"")
