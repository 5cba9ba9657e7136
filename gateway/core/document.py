"""What the body of an answer says: the value at a place in its JSON, compressed or not.

Bodies are written by others: whatever they are, nothing here raises, and nothing becomes larger than was asked for.
"""

import json
import zlib
from collections.abc import Iterator
from math import ceil
from typing import Any

Pointer = tuple[str, ...]
"""The reference tokens of a JSON pointer (RFC 6901 §3), unescaped."""

MOST_DIGITS = 15
_AS_IT_IS = 0
_CODINGS = {"": _AS_IT_IS, "identity": _AS_IT_IS, "gzip": 31, "x-gzip": 31, "deflate": 15}
"""By content coding (RFC 9110 §8.4.1) what zlib calls its format."""

PIECE_BYTES = 64 * 1024
TIMES, AT_FIRST_BYTES, AT_ONCE_BYTES = 64, 256 * 1024, 1024 * 1024
"""What is unpacked piece by piece becomes at most so many times as much as has come and a little, and so much by one
piece. The events of a language model, which are much alike, become up to some fifty times as much."""


def understands(coding: str) -> bool:
    """Whether a body in this content coding can be read."""
    return _form(coding) is not None


class Unpacking:
    """A body that is decoded while it comes, as long as it is no more than the bounds above allow.

    broken     it is not what its coding says, or in a coding that is not understood
    too_large  it would have become too much
    """

    __slots__ = ("_decoder", "_room", "broken", "too_large")

    def __init__(self, coding: str) -> None:
        form = _form(coding)
        self._decoder = zlib.decompressobj(form) if form else None
        self._room = AT_FIRST_BYTES
        self.broken, self.too_large = form is None, False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """What comes of the next bytes, at most PIECE_BYTES at a time where they are compressed. Nothing comes any more
        of what is broken, or too large, or behind the end."""
        decoder = self._decoder
        if decoder is None and not self.broken:
            yield data
        if decoder is None or self.broken or self.too_large:
            return
        self._room += TIMES * len(data)
        at_once, piece = AT_ONCE_BYTES, b""
        while (data or len(piece) == PIECE_BYTES) and not decoder.eof:
            try:
                piece = decoder.decompress(data, PIECE_BYTES)
            except zlib.error:
                self.broken = True
                return
            data = decoder.unconsumed_tail
            self._room, at_once = self._room - len(piece), at_once - len(piece)
            if min(self._room, at_once) < 0:
                self.too_large = True
                return
            yield piece


def _form(coding: str) -> int | None:
    return _CODINGS.get(coding.strip().lower())


def decoded(body: bytes | bytearray, coding: str, most_bytes: int) -> bytes | bytearray | None:
    """What was compressed; None when it is larger than `most_bytes`, broken, or in a coding that is not understood."""
    form = _form(coding)
    if form is None:
        return None
    if form == _AS_IT_IS:
        return body if len(body) <= most_bytes else None
    decoder = zlib.decompressobj(form)
    try:
        text = decoder.decompress(body, most_bytes + 1)
    except zlib.error:
        return None
    return text if decoder.eof and len(text) <= most_bytes else None


def loaded(text: bytes | bytearray) -> Any:
    """The JSON document; None when it is none, or nested too deeply. Of a name that stands twice the last value."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def at(document: Any, pointer: Pointer) -> Any:
    """The value that stands there; None when nothing does."""
    value = document
    for token in pointer:
        if isinstance(value, dict):
            value = value.get(token)
        elif isinstance(value, list):
            value = value[int(token)] if token.isascii() and token.isdigit() and int(token) < len(value) else None
        else:
            return None
    return value


def amount_at(document: Any, pointer: Pointer) -> int | None:
    """The number that stands there, rounded up; None when there is none, or one that is no amount."""
    value = at(document, pointer)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return ceil(value) if 0 <= value < 10**MOST_DIGITS else None  # which NaN and infinities are not
