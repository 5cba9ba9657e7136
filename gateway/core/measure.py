"""What a call cost, as its answer tells: a field of its head, a number in its JSON, or the size of its body."""

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from gateway.core.document import MOST_DIGITS, Pointer, Unpacking, amount_at, decoded, loaded, understands
from gateway.core.event_stream import Amounts
from gateway.core.http.content_types import is_event_stream

KEPT_BYTES = 64 * 1024
"""No JSON document that is larger is looked at."""

Sums = tuple[tuple[Pointer, ...], ...]
"""Numbers that are added up, each from the first of some places where there is one."""


class Source(StrEnum):
    """Where the number is."""

    HEADER = "response_header"
    JSON = "response_json"
    BYTES = "response_bytes"


@dataclass(frozen=True, slots=True)
class Measure:
    """How to find out what a call cost.

    name     header: the field's name in lower case
    sums     JSON: where the numbers are
    most     a larger number counts as this one; 0 = no such bound
    """

    source: Source
    name: str = ""
    sums: Sums = ()
    most: int = 0

    def bounded(self, units: int) -> int:
        """`units`, but no more than `most`."""
        return min(units, self.most) if self.most else units


def field_number(value: str | None) -> int | None:
    """The whole number that a field says; None when it says none."""
    text = (value or "").strip(" \t")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS else None


class _Stream:
    """The amounts that events say, in whatever coding they come."""

    __slots__ = ("amounts", "unpacking")

    def __init__(self, pointers: Collection[Pointer], coding: str) -> None:
        self.amounts = Amounts(pointers)
        self.unpacking = Unpacking(coding)

    def feed(self, data: bytes) -> None:
        for piece in self.unpacking.feed(data):
            self.amounts.feed(piece)


class Heard:
    """What is heard of a body on its way: all of a document, or the amounts that the events of a stream say.

    pointers   where these are; no others can be asked for later
    document   what has come of it, at most KEPT_BYTES; of a stream nothing
    """

    __slots__ = ("_parsed", "_size", "_stream", "coding", "content_type", "document")

    def __init__(self, content_type: str, coding: str = "", pointers: Collection[Pointer] = ()) -> None:
        self.content_type, self.coding = content_type, coding
        self.document = bytearray()
        self._stream = _Stream(pointers, coding) if is_event_stream(content_type) else None
        self._parsed: tuple[Any] | None = None
        self._size = 0

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the body."""
        if self._stream is not None:
            self._stream.feed(data)
            return
        self._size += len(data)
        if self._size <= KEPT_BYTES:
            self.document += data

    @property
    def readable(self) -> bool:
        """Whether it is in a content coding that is understood, and of a stream, whether it was."""
        return understands(self.coding) if self._stream is None else not self._stream.unpacking.broken

    @property
    def too_large(self) -> bool:
        """Whether the document was too large to be kept, or a stream became too much when it was unpacked."""
        return self._size > KEPT_BYTES if self._stream is None else self._stream.unpacking.too_large

    def total(self, sums: Sums, *, cut: bool = False) -> int | None:
        """The sum, rounded up; None when one of its amounts is not there. To be asked when no more comes.

        cut  the body is not complete: of what is there it is at least the sum
        """
        each = [next((one for one in map(self._amount, places) if one is not None), None) for places in sums]
        known = [amount for amount in each if amount is not None]
        total = sum(known)
        return total if known and (cut or len(known) == len(each)) and total < 10**MOST_DIGITS else None

    def _amount(self, pointer: Pointer) -> int | None:
        if self._stream is not None:
            return self._stream.amounts.last(pointer)
        if self._parsed is None:
            text = decoded(self.document, self.coding, KEPT_BYTES)
            self._parsed = (loaded(text) if text is not None else None,)
        return amount_at(self._parsed[0], pointer)
