"""Dictionaries as bytes: one line, at most 16 KiB, valid for every reader, whatever a caller has put into it."""

from collections.abc import Mapping
from typing import Any

import orjson

from gateway.observe.schema import Renaming
from gateway.observe.text import encodable, quiet

LINE_BYTES = 16 * 1024
SHORTER_CHARS = (4_096, 512, 64)
"""How far all texts of a line are cut that is too long, or that no encoder takes: tried in this order."""
LISTED = 16
"""Entries kept of arrays in the shortest form."""
_NEWLINE = orjson.OPT_APPEND_NEWLINE

Line = dict[str, Any]


def encode(line: Line, rename: Renaming | None = None) -> bytes:
    """The line as JSON with its newline. Never raises."""
    try:
        data = orjson.dumps(rename(line) if rename else line, option=_NEWLINE)
    except TypeError:  # lone surrogates, integers of more than 64 bits
        return _encode_safely(line, rename)
    if not data.isascii():
        data = quiet(data)
    return data if len(data) <= LINE_BYTES else _encode_safely(line, rename)


class NativeHead:
    """The beginning of every native line, encoded once per level: what is constant is not encoded again each time."""

    def __init__(self, constant: Mapping[str, str | int]) -> None:
        self._constant = dict(constant)
        self._heads: dict[str, bytes] = {}

    def encode(self, now: str, level: str, line: Line) -> bytes:
        """`line` behind timestamp, level and the constant part, as `encode` would. Never raises."""
        head = self._heads.get(level) or self._make(level)
        try:
            data = orjson.dumps(line, option=_NEWLINE)
        except TypeError:
            return self._slowly(now, level, line)
        data = b'{"timestamp":"%b",%b,%b' % (now.encode(), head, data[1:])
        return data if data.isascii() and len(data) <= LINE_BYTES else self._slowly(now, level, line)

    def _make(self, level: str) -> bytes:
        head = self._heads[level] = encode({"level": level, **self._constant})[1:-2]
        return head

    def _slowly(self, now: str, level: str, line: Line) -> bytes:
        return encode({"timestamp": now, "level": level, **self._constant, **line})


def _encode_safely(line: Line, rename: Renaming | None) -> bytes:
    data = b""
    for max_chars in SHORTER_CHARS:
        shorter = _shorter(line, max_chars)
        data = quiet(orjson.dumps(rename(shorter) if rename else shorter, option=_NEWLINE))
        if len(data) <= LINE_BYTES:
            break
    return data


def _shorter(line: Line, max_chars: int) -> Line:
    """The line with its texts cut, and with its arrays cut in the shortest form; says so if anything was."""
    listed = LISTED if max_chars == SHORTER_CHARS[-1] else None
    shorter = {}
    cut = False
    for key, value in line.items():
        if isinstance(value, list):
            cut = cut or (listed is not None and len(value) > listed)
            value = value[:listed]  # noqa: PLW2901
        cut = cut or (isinstance(value, str) and len(value) > max_chars)
        shorter[key] = encodable(value, max_chars)
    return shorter | {"truncated": True} if cut else shorter
