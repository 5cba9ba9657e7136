"""Commands about answers that a running gateway keeps."""

import json
from typing import Annotated
from urllib.parse import urlencode

import typer

from gateway.cli.asking import asks
from gateway.cli.client import AdminClient
from gateway.cli.options import Json

cache = typer.Typer(help="Answers that are kept: purge.", no_args_is_help=True)


@cache.callback()
def _group() -> None:
    """Without this, a group of one command would be that command."""


@cache.command("purge")
@asks
def purge(
    client: AdminClient,
    route: Annotated[str | None, typer.Option(metavar="ROUTE", help="Only what this route keeps.")] = None,
    tenant: Annotated[str | None, typer.Option(metavar="TENANT", help="Only what its calls brought.")] = None,
    prefix: Annotated[str | None, typer.Option(metavar="PATH", help="Only what begins like this upstream.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All of it.")] = False,
    as_json: Json = False,
) -> None:
    """Forget answers, in every worker and in the store."""
    wanted = {"route": route, "tenant": tenant, "prefix": prefix}
    query = urlencode({name: value for name, value in wanted.items() if value is not None})
    if bool(query) == everything:
        raise typer.BadParameter("say which: --route, --tenant, --prefix; or --all")
    found = client.delete(f"/-/cache?{query}", "purged")
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    purged = found["purged"]
    typer.echo(f"{purged['workers']} copies in workers, {purged['store']} in the store")
    for one in found["missing"]:
        typer.echo(f"worker {one['worker']}: {one['reason']}", err=True)
    if found["missing"]:
        raise typer.Exit(1)
