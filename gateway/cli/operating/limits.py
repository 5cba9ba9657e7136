"""`gateway limits`: what callers have left; forget what one has used; give one another number for a while."""

from typing import Annotated, Any

import typer

from gateway.cli.asking.asks import asks
from gateway.cli.asking.client import AdminClient, path_to
from gateway.cli.command.options import Json, Key, Reason
from gateway.cli.showing.facts import facts, keyed, named, print_found
from gateway.cli.showing.table import table

Document = dict[str, Any]
Limit = Annotated[str, typer.Argument(metavar="LIMIT", help="Name of the limit.")]
USUAL_TTL = "1h"

limits = typer.Typer(help="What callers have left: show, reset, grant, granted.", no_args_is_help=True)


@limits.command("show")
@asks
def show_limit(
    client: AdminClient,
    limit: Annotated[str, typer.Argument(metavar="LIMIT", help="Name of the limit; all if left out.")] = "",
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Show the limits, one of them, or what one caller has left of it. Spends nothing."""
    if key:
        _one_counter(client, limit, key, as_json)
        return
    found = client.get("/-/limits", "limits")
    if limit:
        own = named(found["limits"], limit)
        if own is None or not own["key"]:  # unknown: the gateway says so; without a key: it has one counter
            _one_counter(client, limit, [], as_json)
            return
        print_found(own, as_json, [*facts(own), "", f"one caller: gateway limits show {limit} {_parts(own)}"])
        return
    rows = [
        [one["name"], one["algorithm"], one["amount"], ", ".join(one["key"]) or "-", one["mode"], one["source"]]
        for one in found["limits"]
    ]
    titles = ("limit", "algorithm", "amount", "key", "mode", "source")
    print_found(found, as_json, table(titles, rows, "the policies have no limits"))


def _one_counter(client: AdminClient, limit: str, key: list[str], as_json: bool) -> None:
    found = client.get(path_to("limits", limit, *key))
    print_found(found, as_json, facts(keyed(found)))


def _parts(document: Document) -> str:
    """What to write for its key."""
    return " ".join(part.upper() for part in document["key"])


@limits.command("reset")
@asks
def reset_limit(
    client: AdminClient,
    limit: Limit,
    key: Key = None,
    reason: Reason = "",
    as_json: Json = False,
) -> None:
    """Forget what one caller has used."""
    found = client.delete(path_to("limits", limit, *key or (), reason=reason or None), "reset")
    print_found(found, as_json, ["reset" if found["reset"] else "there was nothing to reset"])


@limits.command("grant")
@asks
def grant(
    client: AdminClient,
    limit: Limit,
    key: Key = None,
    number: Annotated[
        int | None, typer.Option("--limit", min=1, metavar="N", help="Units instead of the limit's own: at least 1.")
    ] = None,
    ttl: Annotated[
        str | None, typer.Option(metavar="DURATION", show_default=USUAL_TTL, help="For how long: 30m, 2h, 7d.")
    ] = None,
    reason: Reason = "",
    end: Annotated[bool, typer.Option("--end", help="Take it back.")] = False,
    as_json: Json = False,
) -> None:
    """Give one caller another number for a while, on every gateway."""
    if end == (number is not None):
        raise typer.BadParameter("give either --limit N or --end")
    if end and ttl is not None:
        raise typer.BadParameter("--end takes it back now: leave --ttl out")
    if number and not reason:
        raise typer.BadParameter("say why: --reason TEXT")
    words = ("limits", limit, *(key or ()), "override")
    if end:
        found = client.delete(path_to(*words, reason=reason or None), "after")
    else:
        found = client.put(path_to(*words), {"limit": number, "ttl": ttl or USUAL_TTL, "reason": reason}, "after")
    print_found(found, as_json, ["the limit's own number again" if end else f"{number} for {ttl or USUAL_TTL}"])


@limits.command("granted")
@asks
def granted(client: AdminClient, as_json: Json = False) -> None:
    """Show who has another number for the time being, and why."""
    found = client.get("/-/overrides", "overrides")
    members = ("name", "key", "limit", "instead_of", "ends_in_s", "reason")
    rows = [[one.get(member) or "-" for member in members] for one in found["overrides"]]
    titles = ("limit", "caller", "granted", "instead of", "ends in s", "reason")
    more = [f"and {found['more']:,} more"] if found.get("more") else []
    print_found(found, as_json, [*table(titles, rows, "nobody has another number"), *more])
