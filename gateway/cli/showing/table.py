"""Columns for people."""

from collections.abc import Iterator, Sequence
from typing import Any

from gateway.cli.showing.text import plain


def table(titles: Sequence[str], rows: Sequence[Sequence[Any]], none: str = "") -> Iterator[str]:
    """Titles and rows, each column as wide as what stands in it; numbers to the right. No rows: `none`, if it says
    something."""
    if none and not rows:
        yield none
        return
    cells = [[plain(f"{cell:,}" if isinstance(cell, int | float) else str(cell)) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(titles, *cells, strict=True)]
    numeric = [all(isinstance(row[at], int | float) for row in rows) and bool(rows) for at in range(len(titles))]
    for line in ([*titles], *cells):
        fitted = [
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(line, widths, numeric, strict=True)
        ]
        yield "  ".join(fitted).rstrip()
