"""Views that refresh until Ctrl-C: a page on a terminal, blocks of text or lines of JSON elsewhere."""

import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from gateway.cli.asking.client import AdminClient
from gateway.cli.command.failing import UNREACHABLE, fail
from gateway.cli.showing.text import plain

if TYPE_CHECKING:
    from rich.console import RenderableType

Document = dict[str, Any]
Watch = Annotated[bool, typer.Option("--watch", "-w", help="Refresh until Ctrl-C.")]
EVERY_S = 2.0
Every = Annotated[
    float | None,
    typer.Option(min=0.1, max=3600, metavar="SECONDS", show_default=f"{EVERY_S:g}", help="How often, with --watch."),
]
Page = Callable[[Document], "RenderableType"]


class _NoAnswer(Exception):
    """There was none this time. The text says why."""


class _Refused(Exception):
    """The answer is no, and will be next time. What `fail` is told, when the page is gone that would hide it."""


def _no_answer(code: int, *lines: str) -> NoReturn:
    """In the place of `failing.fail`, for who asks again."""
    raise _NoAnswer(lines[0]) if code == UNREACHABLE else _Refused(code, *lines)


def watch(
    client: AdminClient,
    ask: Callable[[AdminClient], Document],
    lines: Callable[[Document], Iterable[str]],
    page: Callable[[], Page],
    every_s: float | None,
    *,
    as_json: bool,
) -> NoReturn:
    """Show what `ask` finds until Ctrl-C. No answer is told, and asked for again; a refusal (a wrong token) is the end.

    lines  what is shown of it elsewhere than on a terminal
    page   makes what draws it there; called only then, as it imports what is slow to import
    """
    again = AdminClient(client.reach, fail=_no_answer)
    find, over, every_s = partial(ask, again), CtrlC(), every_s or EVERY_S
    try:
        if not as_json and _can_draw():
            _on_screen(find, page(), every_s, over)
        else:
            typer.echo(_text(find, lines, as_json=as_json))
            while not over.wait(every_s):
                typer.echo(_text(find, lines, as_json=as_json))
    except _Refused as refused:
        fail(*refused.args)
    raise typer.Exit


def once(every_s: float | None) -> None:
    """Nothing is to be shown again: the command was called wrongly if it was said how often."""
    if every_s is not None:
        raise typer.BadParameter("--every says how often to show it again: add --watch")


def _can_draw() -> bool:
    """Whether this is a terminal on which a page can be drawn anew (not TERM=dumb)."""
    if not sys.stdout.isatty():
        return False
    from rich.console import Console

    return not Console().is_dumb_terminal


class CtrlC:
    """Whether Ctrl-C was pressed. The first one raises nothing: that is lost in a finalizer. The second one does.

    Without a lock, which `threading.Event` has: who waits may hold it when the signal strikes, and would never go on.
    """

    def __init__(self) -> None:
        self._pressed, self._press = os.pipe()
        signal.signal(signal.SIGINT, self._end)

    def wait(self, within_s: float) -> bool:
        """Until it is pressed, or this has passed; whether it was."""
        return bool(select.select((self._pressed,), (), (), within_s)[0])

    def _end(self, _signal: int, _frame: object) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.write(self._press, b"c")


def _text(find: Callable[[], Document], lines: Callable[[Document], Iterable[str]], *, as_json: bool) -> str:
    try:
        found = find()
    except _NoAnswer as error:
        return json.dumps({"error": str(error)}) if as_json else f"{error}\n"
    return json.dumps(found) if as_json else "\n".join(lines(found)) + "\n"


def _on_screen(find: Callable[[], Document], page: Page, every_s: float, over: CtrlC) -> None:
    from rich.console import Group
    from rich.live import Live
    from rich.text import Text

    from gateway.cli.watching.drawn import BAD

    last: RenderableType = Text("")
    with Live(screen=True, auto_refresh=False) as screen:
        while not over.wait(0):
            try:
                last = page(find())
                shown = last
            except _NoAnswer as error:
                shown = Group(Text(f"{time.strftime('%H:%M:%S')} {plain(str(error))}", BAD), last)
            screen.update(shown, refresh=True)
            over.wait(every_s)
