"""Commands about the cache of a running gateway."""

from typing import Annotated, Any

import typer

from gateway.cli.asking.asks import asks
from gateway.cli.asking.client import AdminClient, path_to
from gateway.cli.command.failing import FAILED, tell_missing
from gateway.cli.command.options import Json
from gateway.cli.showing.facts import print_found
from gateway.cli.showing.table import table

cache = typer.Typer(help="The cache: show, purge.", no_args_is_help=True)


@cache.command("show")
@asks
def show(client: AdminClient, as_json: Json = False) -> None:
    """How many answers of each route are kept, and of how much use they were. Workers that do not answer are named."""
    found = client.get("/-/cache", "routes")
    titles = ("route", "workers", "workers bytes", "store", "store bytes", "hits", "misses", "hit ratio")
    print_found(found, as_json, table(titles, [_row(one) for one in found["routes"]], "no route has a cache"))
    tell_missing(found["missing"])


def _row(one: dict[str, Any]) -> list[Any]:
    here, shared, ratio = one["workers"], one["store"] or {"entries": "-", "bytes": "-"}, one["hit_ratio"]
    sizes = [here["entries"], here["bytes"], shared["entries"], shared["bytes"]]
    return [one["route"], *sizes, one["hits"], one["misses"], "-" if ratio is None else f"{ratio:.1%}"]


@cache.command("purge")
@asks
def purge(
    client: AdminClient,
    route: Annotated[str | None, typer.Option(metavar="ROUTE", help="Only answers that this route keeps.")] = None,
    tenant: Annotated[str | None, typer.Option(metavar="TENANT", help="Only answers to this tenant's calls.")] = None,
    prefix: Annotated[
        str | None, typer.Option(metavar="PATH", help="Only answers whose upstream path begins like this.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All of it.")] = False,
    as_json: Json = False,
) -> None:
    """Forget answers, in every worker and in the store."""
    wanted = {"route": route, "tenant": tenant, "prefix": prefix}
    if everything == any(value is not None for value in wanted.values()):
        raise typer.BadParameter("say which: --route, --tenant, --prefix; or --all")
    found = client.delete(path_to("cache", **wanted), "purged")
    purged = found["purged"]
    noun = "copy" if purged["workers"] == 1 else "copies"
    print_found(found, as_json, [f"{purged['workers']} {noun} in workers, {purged['store']} in the store"])
    tell_missing(found["missing"], FAILED)
