"""What the body of an answer says: the value at a place in its JSON, compressed or not.

Bodies are written by others: whatever they are, nothing here raises, and nothing becomes larger than was asked for.
"""

import json
import zlib
from math import ceil
from typing import Any

Pointer = tuple[str, ...]
"""The reference tokens of a JSON pointer (RFC 6901 §3), unescaped."""

MOST_DIGITS = 15
_AS_IT_IS = 0
_CODINGS = {"": _AS_IT_IS, "identity": _AS_IT_IS, "gzip": 31, "x-gzip": 31, "deflate": 15}
"""By content coding (RFC 9110 §8.4.1) what zlib calls its format."""


def understood(coding: str, *, in_pieces: bool = False) -> bool:
    """Whether bodies in this content coding can be decoded; in pieces only what is not compressed."""
    form = _CODINGS.get(coding.strip().lower())
    return form == _AS_IT_IS if in_pieces else form is not None


def decoded(body: bytes | bytearray, coding: str, most_bytes: int) -> bytes | bytearray | None:
    """What was compressed; None when it is larger than `most_bytes`, broken, or in a coding that is not understood."""
    form = _CODINGS.get(coding.strip().lower())
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
