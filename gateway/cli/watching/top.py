"""`gateway top`: who is refused most, or calls most."""

import time
from collections.abc import Iterator
from enum import StrEnum
from functools import partial
from typing import Annotated, Any

import typer

from gateway.cli.asking.asks import asks
from gateway.cli.asking.client import AdminClient, path_to
from gateway.cli.command.options import Json
from gateway.cli.showing.facts import print_found
from gateway.cli.showing.table import table
from gateway.cli.watching import live
from gateway.cli.watching.members import caller_rows
from gateway.cli.watching.repeats import tell_repeats

Document = dict[str, Any]


class By(StrEnum):
    """What the heaviest callers are counted by."""

    REJECTED = "rejected"
    REQUESTS = "requests"
    SHADOW_REJECTED = "shadow_rejected"


@asks
def top(
    client: AdminClient,
    by: Annotated[By | None, typer.Option(show_default=By.REJECTED, help="What is counted.")] = None,
    count: Annotated[int, typer.Option("-n", "--number", min=1, max=200, metavar="N", help="How many.")] = 20,
    repeats: Annotated[bool, typer.Option("--repeats", help="Reads that callers repeat, counted from now on.")] = False,
    lasting: Annotated[
        str | None, typer.Option("--for", metavar="TIME", help="How long repeats are counted; else 1m.")
    ] = None,
    watch: live.Watch = False,
    every: live.Every = None,
    as_json: Json = False,
) -> None:
    """Show who is refused most, calls most, or would be refused by limits in shadow; or which reads are repeated."""
    again = [name for name, given in (("--watch", watch), ("--every", every is not None)) if given]
    if again and repeats:
        raise typer.BadParameter(f"repeats are counted once: leave {' and '.join(again)} out")
    if not watch:
        live.once(every)
    if repeats:
        if by is not None:
            raise typer.BadParameter("repeats are reads: leave --by out")
        tell_repeats(client, lasting or "1m", count, as_json=as_json)
        return
    if lasting is not None:
        raise typer.BadParameter("only repeats are counted for a while: add --repeats")

    counted = by or By.REJECTED

    def ask(client: AdminClient) -> Document:
        found: Document = client.get(path_to("top", by=counted.value, limit=str(count)), "callers", "by", "over_s")
        return found

    if watch:
        live.watch(client, ask, top_lines, partial(_page, counted), every, as_json=as_json)
    found = ask(client)
    print_found(found, as_json, top_lines(found))


def top_lines(found: Document) -> Iterator[str]:
    """The document of `GET /-/top` for people."""
    done = {"requests": "called", "rejected": "was refused", "shadow_rejected": "would have been refused"}
    none = f"nobody {done.get(found['by'], 'came')} in the last {found['over_s']:.0f} s"
    return table(("limit", "caller", "count", "per second"), caller_rows(found["callers"]), none)


def _page(by: By) -> live.Page:
    from rich.console import Group
    from rich.text import Text

    from gateway.cli.watching.drawn import DIM, columns

    titles = ("limit", f"caller, by {by.value.replace('_', ' ')}", "count", "per second")

    def page(found: Document) -> Group:
        when = Text(f"{time.strftime('%H:%M:%S')}   the last {found['over_s']:.0f} s", DIM)
        rows = caller_rows(found["callers"])
        return Group(when, Text(), columns(titles, rows) if rows else Text("nobody", DIM))

    return page
