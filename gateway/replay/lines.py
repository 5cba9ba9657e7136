"""Logs in pieces: plain or gzip, files or standard input, cut between lines."""

import gzip
import sys
import zlib
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import Any, NamedTuple

PIECE_BYTES = 4 * 1024 * 1024
MOST_LINE_BYTES = 1024 * 1024
"""No line of ours is longer than 16 KiB; what is longer than this is no line of anybody."""
_GZIP = b"\x1f\x8b"


class Damaged(Exception):
    """The log ends before its end. The text says why."""


class Piece(NamedTuple):
    """Some whole lines. cut: how many lines were too long and are not in it. read: bytes of the file so far."""

    text: bytes
    cut: int
    read: int


def pieces(path: Path) -> Iterator[Piece]:
    """The log at this path (`-`: standard input). Raises OSError; Damaged after all that could be read."""
    raw: Any = BufferedReader(sys.stdin.buffer) if str(path) == "-" else path.open("rb")
    with raw:
        source: Any = gzip.GzipFile(fileobj=raw) if raw.peek(2)[:2] == _GZIP else raw
        rest, skipping, cut = b"", False, 0
        for block in _blocks(source, path):
            whole, newline, after = (rest + block).rpartition(b"\n")
            if skipping and newline:
                whole, skipping = whole.partition(b"\n")[2], False
            rest = after
            if len(rest) > MOST_LINE_BYTES:
                cut += not skipping
                rest, skipping = b"", True
            yield Piece(b"" if skipping and not newline else whole, cut, _position(raw))
            cut = 0
        if rest and not skipping:
            yield Piece(rest, 0, _position(raw))


def _blocks(source: Any, path: Path) -> Iterator[bytes]:
    while True:
        try:
            block = source.read(PIECE_BYTES)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise Damaged(f"{path}: the gzip data is damaged: {error}") from None
        if not block:
            return
        yield block


def _position(raw: Any) -> int:
    position: int = raw.tell() if raw.seekable() else 0
    return position
