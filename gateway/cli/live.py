"""Views that refresh until Ctrl-C: a page on a terminal, blocks of text or lines of JSON elsewhere."""

import json
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.table import plain

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

Document = dict[str, Any]
Watch = Annotated[bool, typer.Option("--watch", "-w", help="Refresh until Ctrl-C.")]
Every = Annotated[float, typer.Option(min=0.1, max=3600, metavar="SECONDS", help="How often, with --watch.")]

_BARS = "▁▂▃▄▅▆▇█"
LEAST = 10
"""A column that needs no more has what it needs; the longer ones are cut."""
GOOD, BAD, DIM = "green", "bold red", "dim"


class NoAnswer(Exception):
    """There was none this time. The text says why."""


def no_answer(_code: int, *lines: str) -> Any:
    """In the place of `failing.fail`, for who asks again."""
    raise NoAnswer(lines[0])


def watch(
    ask: Callable[[], Document],
    lines: Callable[[Document], Iterable[str]],
    page: Callable[[Document], "RenderableType"],
    every_s: float,
    *,
    as_json: bool,
) -> None:
    """Show what `ask` finds: as a `page` on a terminal, as `lines` elsewhere. NoAnswer is told, and asked again."""
    over = _until_ctrl_c()
    if sys.stdout.isatty() and not as_json:
        _on_screen(ask, page, every_s, over)
    else:
        typer.echo(_text(ask, lines, as_json=as_json))
        while not over.wait(every_s):
            typer.echo(_text(ask, lines, as_json=as_json))
    raise typer.Exit


def _until_ctrl_c() -> threading.Event:
    """Set by Ctrl-C: what it usually raises is lost where it strikes in a finalizer. A second one raises it."""
    over = threading.Event()

    def end(_signal: int, _frame: object) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        over.set()

    signal.signal(signal.SIGINT, end)
    return over


def _text(ask: Callable[[], Document], lines: Callable[[Document], Iterable[str]], *, as_json: bool) -> str:
    try:
        found = ask()
    except NoAnswer as error:
        return json.dumps({"error": str(error)}) if as_json else f"{error}\n"
    return json.dumps(found) if as_json else "\n".join(lines(found)) + "\n"


def _on_screen(
    ask: Callable[[], Document], page: Callable[[Document], "RenderableType"], every_s: float, over: threading.Event
) -> None:
    from rich.console import Group
    from rich.live import Live
    from rich.text import Text

    last: RenderableType = Text("")
    with Live(screen=True, auto_refresh=False) as screen:
        while not over.is_set():
            try:
                last = page(ask())
                shown = last
            except NoAnswer as error:
                shown = Group(Text(f"{time.strftime('%H:%M:%S')} {plain(str(error))}", BAD), last)
            screen.update(shown, refresh=True)
            over.wait(every_s)


def store_text(store: Document) -> tuple[str, str]:
    """What is said of it, and how it looks."""
    if store["up"] and "error" not in store:
        return f"{store['kind']}, {store['round_trip_ms']} ms", GOOD
    reason = ", ".join(dict.fromkeys(str(store[name]) for name in ("reason", "detail", "error") if store.get(name)))
    return plain(f"{store['kind']} down for {store.get('down_s', 0):.0f} s ({reason})"), BAD


def curve(values: Sequence[float]) -> str:
    """A bar for each, the largest full."""
    most = max(values, default=0.0) or 1.0
    return "".join(_BARS[min(len(_BARS) - 1, int(value / most * len(_BARS)))] for value in values)


def columns(titles: Sequence[str], rows: Sequence[Sequence[Any]]) -> "Table":
    """Numbers to the right."""
    from rich.table import Table
    from rich.text import Text

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
