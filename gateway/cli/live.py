"""Views that draw themselves anew until Ctrl-C: a page on a terminal, blocks of text or lines of JSON elsewhere."""

import json
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.table import plain, whose

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

Document = dict[str, Any]
Watch = Annotated[bool, typer.Option("--watch", "-w", help="Refresh until Ctrl-C.")]
Every = Annotated[float, typer.Option(min=0.1, max=3600, metavar="SECONDS", help="How often, with --watch.")]

KEPT = 60
_BARS = "▁▂▃▄▅▆▇█"
_GOOD, _BAD, _DIM = "green", "bold red", "dim"


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
                shown = Group(Text(f"{time.strftime('%H:%M:%S')} {plain(str(error))}", _BAD), last)
            screen.update(shown, refresh=True)
            over.wait(every_s)


class StatusPage:
    """The document of `GET /-/status` as a page, with what it said before as curves."""

    def __init__(self) -> None:
        self._calls: deque[float] = deque(maxlen=KEPT)
        self._refused: deque[float] = deque(maxlen=KEPT)
        self._p99_ms: deque[float] = deque(maxlen=KEPT)

    def __call__(self, found: Document) -> "RenderableType":
        from rich.console import Group
        from rich.text import Text

        self._calls.append(found["calls_per_s"])
        self._refused.append(found["refused_share"])
        total = found["latency"].get("total", {})
        self._p99_ms.append(total.get("p99_ms", 0.0))
        parts: list[RenderableType] = [
            self._head(found),
            Text(),
            _curve("calls", f"{found['calls_per_s']:,.1f} a second", self._calls),
            _curve("refused", f"{found['refused_share']:.1%}", self._refused, _BAD),
            _curve("p99", f"{self._p99_ms[-1]:,.1f} ms", self._p99_ms, "cyan"),
            Text(f"{'store':<9}").append(*store_text(found["store"])),
            Text(),
        ]
        for one in _tables(found):
            if one.row_count:
                parts += [one, Text()]
        return Group(*parts)

    def _head(self, found: Document) -> "RenderableType":
        from rich.text import Text

        text = Text()
        text.append(f"{plain(found['name'])} {found['version']}", "bold")
        text.append(f"   {time.strftime('%H:%M:%S')}   {len(found['workers'])} workers", _DIM)
        if found["missing"]:
            text.append(f", {len(found['missing'])} do not answer", _BAD)
        text.append(f"   policy {found['policy_version']}", _DIM)
        text.append(f"   {found['in_flight']} in flight", _DIM)
        if found["switches"]["draining"]:
            text.append("   draining", _BAD)
        return text


def store_text(store: Document) -> tuple[str, str]:
    """What is said of it, and how it looks."""
    if store["up"] and "error" not in store:
        return f"{store['kind']}, {store['round_trip_ms']} ms", _GOOD
    reason = " ".join(dict.fromkeys(str(store[name]) for name in ("reason", "detail", "error") if store.get(name)))
    return plain(f"{store['kind']} down for {store.get('down_s', 0):.0f} s: {reason}"), _BAD


def _curve(name: str, value: str, values: Sequence[float], style: str = _GOOD) -> "RenderableType":
    from rich.text import Text

    text = Text(f"{name:<9}{value:>18}  ")
    return text.append(curve(values), style)


def curve(values: Sequence[float]) -> str:
    """A bar for each, the largest full."""
    most = max(values, default=0.0) or 1.0
    return "".join(_BARS[min(len(_BARS) - 1, int(value / most * len(_BARS)))] for value in values)


def _tables(found: Document) -> Iterable["Table"]:
    stages = [[name, stage["p50_ms"], stage["p99_ms"]] for name, stage in found["latency"].items() if stage["count"]]
    yield columns(("latency", "half under, ms", "99 % under, ms"), stages)
    limits = [
        [one["limit"], one["asked"], one.get("limited", 0), one.get("shadow_limited", 0), _share(one)]
        for one in found["limits"]
    ]
    yield columns(("limit", "asked", "limited", "in shadow", "refused"), limits)
    callers = [[one["limit"], whose(one["key"]), one["count"], one["per_s"]] for one in found["top_rejected"]]
    yield columns(("refused most", "caller", "count", "per second"), callers)
    connections = [[one["connection"], one["state"], one["since"]] for one in found["connections"]["not_online"]]
    yield columns(("connection", "state", "since"), connections)
    breakers = [[one["breaker"], whose(one["key"]), one.get("state", "")] for one in found["breakers"]["not_closed"]]
    yield columns(("breaker", "of", "state"), breakers)
    reloads = [[one["event_name"], one["timestamp"], one.get("version", "")] for one in found["reloads"][:3]]
    yield columns(("reload", "at", "version"), reloads)


def _share(one: Document) -> str:
    asked = one["asked"] or 1
    return f"{one.get('limited', 0) / asked:.0%}"


def columns(titles: Sequence[str], rows: Sequence[Sequence[Any]]) -> "Table":
    """Numbers to the right."""
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for at, title in enumerate(titles):
        numeric = bool(rows) and all(isinstance(row[at], int | float) for row in rows)
        shown.add_column(title, justify="right" if numeric else "left", overflow="ellipsis", no_wrap=True)
    for row in rows:
        cells = (f"{cell:,}" if isinstance(cell, int | float) else str(cell) for cell in row)
        shown.add_row(*(Text(plain(cell)) for cell in cells))
    return shown
