"""`gateway top --repeats`: counts reads that are repeated for a while, then tells which, and what they take."""

from collections.abc import Iterator
from contextlib import suppress
from time import sleep
from typing import Any

import typer

from gateway.cli.asking.client import AdminClient
from gateway.cli.showing.facts import print_found
from gateway.cli.showing.table import table

Document = dict[str, Any]


def tell_repeats(client: AdminClient, lasting: str, count: int, *, as_json: bool) -> None:
    """Ctrl-C ends the counting early for us, not for the gateway, and tells what there is."""
    begun = client.post("/-/repeats", {"ttl": lasting}, "for_s")
    typer.echo(f"counting for {begun['for_s']:g} s ...", err=True)
    with suppress(KeyboardInterrupt):
        sleep(begun["for_s"])
    found = client.get(f"/-/repeats?limit={count}", "repeats")
    print_found(found, as_json, repeat_lines(found))


def repeat_lines(found: Document) -> Iterator[str]:
    """The document of `GET /-/repeats` for people."""
    yield f"{found['repeated']} of {found['reads']} reads in {found['over_s']:g} s were asked before by the same caller"
    for one in found["missing"]:
        yield f"without worker {one['worker']}: {one['reason']}"
    if found["repeats"]:
        yield ""
        titles = ("route", "caller", "read", "times", "every", "saves", "of the limit")
        yield from table(titles, [_row(one) for one in found["repeats"]])


def _row(one: Document) -> list[Any]:
    who = "/".join(one[name] for name in ("tenant", "account", "connection") if name in one)
    path = one["path"] + ("?..." if one["query"] else "")
    share = next(map(_share, one["limits"]), "")
    return [one["route"], who or "anybody", path, one["count"], f"{one['every_s']:g} s", one["saves"], share]


def _share(limit: Document) -> str:
    """Nobody has seen the share of a window that is longer than was counted: what was taken stands before it."""
    share = f"{limit['share_ppm'] / 10_000:.1f} % of {limit['limit']}"
    return f"{limit['units']}; going on like this {share}" if limit.get("supposed") else share
