"""What pages on a terminal are drawn with: tables that share the room there is, bars for a curve."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from gateway.cli.showing.text import plain

GOOD, BAD, DIM = "green", "bold red", "dim"
LEAST = 10
"""A column that needs no more has what it needs; the longer ones are cut."""
WIDE = 160
"""Columns of a terminal that has room for two tables beside each other."""
_BARS = "▁▂▃▄▅▆▇█"


class Section(NamedTuple):
    """A table: its titles, and all its rows; `more`: there are others, nobody has said how many."""

    titles: Sequence[str]
    rows: Sequence[Sequence[Any]]
    more: bool = False

    def lines(self, most: int) -> int:
        """With at most so many rows, what was left out and a blank line included."""
        return 2 + min(most, len(self.rows)) + bool(self.left_out(most))

    def left_out(self, most: int) -> str:
        """What is said of the other rows; "" = there are none."""
        count = max(0, len(self.rows) - most)
        if self.more:
            return f"and more than {count:,} others" if count else "and others"
        return f"and {count:,} more" if count else ""


class Fitted:
    """Lines, and below them tables of which each gets its share of a terminal: long ones are cut, and say so."""

    def __init__(self, head: Sequence[Text], sections: Sequence[Section]) -> None:
        self._head = head
        self._sections = sections

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from self._head
        taken = sum(len(line.wrap(console, options.max_width)) for line in self._head)
        room = max(3, (options.height or console.size.height) - taken)
        if options.max_width < WIDE:
            yield from _shown(self._sections, room)
            return
        beside = Table.grid(expand=True, padding=(0, 4, 0, 0))
        beside.add_column(ratio=1)
        beside.add_column(ratio=1)
        beside.add_row(*(Group(*_shown(half, room)) for half in halves(self._sections)))
        yield beside


def halves(sections: Sequence[Section]) -> tuple[Sequence[Section], Sequence[Section]]:
    """Left and right, in order, about as long as each other."""
    whole = sum(one.lines(len(one.rows)) for one in sections)
    left = 0
    for at, one in enumerate(sections):
        left += one.lines(len(one.rows))
        if left * 2 >= whole:
            return sections[: at + 1], sections[at + 1 :]
    return sections, ()


def fitting(sections: Sequence[Section], room: int) -> int:
    """The most rows that each may have for all of them to fit, at least one."""
    most = max((len(one.rows) for one in sections), default=1)
    while most > 1 and sum(one.lines(most) for one in sections) > room + 1:  # no blank line below the last
        most -= 1
    return most


def _shown(sections: Sequence[Section], room: int) -> Iterator[RenderableType]:
    most = fitting(sections, room)
    for section in sections:
        yield columns(section.titles, section.rows[:most])
        if left_out := section.left_out(most):
            yield Text(left_out, DIM)
        yield Text()


def curve(values: Sequence[float]) -> str:
    """A bar for each value; the largest is full."""
    most = max(values, default=0.0) or 1.0
    return "".join(_BARS[min(len(_BARS) - 1, int(value / most * len(_BARS)))] for value in values)


def columns(titles: Sequence[str], rows: Sequence[Sequence[Any]]) -> Table:
    """A table for a terminal; columns of numbers are aligned to the right."""
    shown = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for at, title in enumerate(titles):
        numeric = bool(rows) and all(isinstance(row[at], int | float) for row in rows)
        least = min(LEAST, max(len(text) for text in (title, *(str(row[at]) for row in rows))))
        shown.add_column(
            title, justify="right" if numeric else "left", overflow="ellipsis", no_wrap=True, min_width=least
        )
    for row in rows:
        cells = (f"{cell:,}" if isinstance(cell, int | float) else str(cell) for cell in row)
        shown.add_row(*(Text(plain(cell)) for cell in cells))
    return shown
