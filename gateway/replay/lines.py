"""Logs in pieces, cut between lines: of plain files by where they stand in them, of gzip and standard input as text."""

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

    def fetched(self) -> "Piece":
        """The piece itself: its lines are here already."""
        return self


class Span(NamedTuple):
    """The lines of a plain file that begin at `start` or behind it, and before `read`. Read by whoever needs them."""

    path: Path
    start: int
    read: int

    def fetched(self) -> Piece:
        """The piece with the lines of this span, read from the file. Raises OSError."""
        with self.path.open("rb") as file:
            if self.start:
                file.seek(self.start - 1)
                skipped = file.readline(self.read - self.start + 1)
                if not skipped.endswith(b"\n"):
                    return Piece(b"", 0, self.read)  # all of it is inside a line that began earlier
            text = file.read(max(0, self.read - file.tell()))
            if not text or text.endswith(b"\n"):
                return Piece(text, 0, self.read)
            rest = file.readline(MOST_LINE_BYTES)
            if rest.endswith(b"\n") or len(rest) < MOST_LINE_BYTES:
                return Piece(text + rest, 0, self.read)
            return Piece(text[: text.rfind(b"\n") + 1], 1, self.read)


def pieces(path: Path) -> Iterator[Piece | Span]:
    """The log at this path (`-`: standard input). Raises OSError; Damaged after all that could be read."""
    stdin = str(path) == "-"
    raw: Any = BufferedReader(sys.stdin.buffer) if stdin else path.open("rb")
    with raw:
        if not stdin and path.is_file() and raw.peek(2)[:2] != _GZIP:
            size = path.stat().st_size
            yield from (Span(path, start, min(size, start + PIECE_BYTES)) for start in range(0, size, PIECE_BYTES))
            return
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
