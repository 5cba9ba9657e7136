"""What a call cost, as its answer tells: a field of its head, a number in its JSON, or the size of its body."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from math import ceil
from typing import Any

KEPT_BYTES = 64 * 1024
"""So much of a body is looked at: of a JSON document all of it, of an event stream what came last."""
MOST_EVENTS = 100
"""So many events of a stream are looked at, the last first: a stream of nothing but empty ones must not hold us up."""
_MOST_DIGITS = 15


class Source(StrEnum):
    """Where the number is."""

    HEADER = "response_header"
    JSON = "response_json"
    BYTES = "response_bytes"


@dataclass(frozen=True, slots=True)
class Measure:
    """How to find out what a call cost.

    name     header: the field's name in lower case
    pointer  JSON: the reference tokens of a JSON pointer (RFC 6901 §3), unescaped
    most     a larger number counts as this one; 0 = no such bound
    """

    source: Source
    name: str = ""
    pointer: tuple[str, ...] = ()
    most: int = 0

    def bounded(self, units: int) -> int:
        """`units`, but no more than `most`."""
        return min(units, self.most) if self.most else units


def field_number(value: str | None) -> int | None:
    """The whole number that a field says; None when it says none."""
    text = (value or "").strip(" \t")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS else None


class Tail:
    """What is kept of a body on its way: all of a document, or the last events of a stream. At most KEPT_BYTES."""

    __slots__ = ("_data", "_events", "_size")

    def __init__(self, content_type: str) -> None:
        self._events = content_type.partition(";")[0].strip().lower() == "text/event-stream"
        self._data = bytearray()
        self._size = 0

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the body."""
        self._size += len(data)
        if self._events:
            self._data += data[-KEPT_BYTES:]
            del self._data[:-KEPT_BYTES]
        elif self._size <= KEPT_BYTES:
            self._data += data

    @property
    def too_large(self) -> bool:
        """Whether the document was too large to be kept."""
        return self._size > KEPT_BYTES and not self._events

    def number(self, pointer: tuple[str, ...]) -> int | None:
        """The number that stands there, rounded up; in a stream the last one that did. None when there is none."""
        texts = islice(_last_events(self._data), MOST_EVENTS) if self._events else iter((self._data,))
        return next((number for text in texts if (number := _number_at(text, pointer)) is not None), None)


def _last_events(data: bytearray) -> Iterator[bytes]:
    """The data of the events of a stream, the last first. An event ends with an empty line (WHATWG HTML §9.2.6)."""
    lines = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    found: list[bytes] = []
    for line in reversed(lines):
        if line.startswith(b"data:"):
            found.append(bytes(line[5:]))
        elif not line and found:
            yield b"\n".join(reversed(found))
            found = []
    if found:
        yield b"\n".join(reversed(found))


def _number_at(text: bytes | bytearray, pointer: tuple[str, ...]) -> int | None:
    try:
        value: Any = json.loads(text)
    except (ValueError, RecursionError):
        return None
    for token in pointer:
        if isinstance(value, dict):
            value = value.get(token)
        elif isinstance(value, list):
            value = value[int(token)] if token.isascii() and token.isdigit() and int(token) < len(value) else None
        else:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return ceil(value) if 0 <= value < 10**_MOST_DIGITS else None  # which NaN and infinities are not
