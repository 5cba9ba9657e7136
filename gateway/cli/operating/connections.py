"""`gateway connections`: how they are doing, and whether one works."""

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from gateway.cli.asking.asks import asks
from gateway.cli.asking.client import AdminClient, path_to
from gateway.cli.command.options import Json
from gateway.cli.showing.facts import print_found
from gateway.cli.showing.table import table
from gateway.cli.showing.text import plain

Document = dict[str, Any]
TEST_S = 60.0
MARKS = {True: "ok", False: "FAILED", None: "?"}


@asks
def connections(
    client: AdminClient,
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="ID", help="One connection; `test ID` tests it; all if left out."),
    ] = None,
    state: Annotated[str, typer.Option(metavar="STATES", help="Only these: offline,degraded or !online.")] = "",
    tenant: Annotated[str | None, typer.Option(metavar="TENANT", help="Whose connection is meant.")] = None,
    upstream: Annotated[str, typer.Option(metavar="NAME", help="Test it at this upstream only.")] = "",
    as_json: Json = False,
) -> None:
    """Show how connections are doing, those in trouble first; or test one: exit code 1 unless it is seen to work."""
    if state and words:
        raise typer.BadParameter("--state chooses among all connections: leave the ID out")
    if upstream and (words or [])[:-1] != ["test"]:
        raise typer.BadParameter("--upstream says where to test one: connections test ID")
    match words or []:
        case []:
            if tenant is not None:
                raise typer.BadParameter("--tenant says whose connection is meant: give its ID, too")
            _list(client, state, as_json)
        case [connection]:
            print_found(client.get(path_to("connections", connection, tenant=tenant), "state"), as_json)
        case ["test", connection]:
            path = path_to("connections", connection, "test", tenant=tenant, upstream=upstream or None)
            _test(client, path, as_json)
        case _:
            raise typer.BadParameter("give one connection, or: test ID")


def _list(client: AdminClient, state: str, as_json: bool) -> None:
    found = client.get(path_to("connections", state=state or None), "connections")
    rows = [
        [one["connection"], one["tenant"] or "-", one["state"], one["since"], _failure(one)]
        for one in found["connections"]
    ]
    none = "no connection is in such a state" if state else "no call has named a connection lately"
    lines = [*table(("connection", "tenant", "state", "since", "last failure"), rows, none)]
    print_found(
        found, as_json, lines + (["and more: see --json, or ask for some --state"] if found.get("next") else [])
    )


def _test(client: AdminClient, path: str, as_json: bool) -> None:
    found = AdminClient(client.reach, TEST_S).post(path, {}, "ok", "upstreams")
    print_found(found, as_json, _steps(found))
    if not found["ok"]:
        raise typer.Exit(1)


def _steps(found: Document) -> Iterator[str]:
    for one in found["upstreams"]:
        shown = f", credentials {one['credentials']}" if one["credentials"] else ""
        yield plain(f"{one['upstream']}: {one['request']}{shown}")
        rows = [[MARKS[step["ok"]], step["step"], f"{step['took_ms']} ms", step["detail"]] for step in one["steps"]]
        yield from (f"  {line}" for line in table(("", "step", "took", ""), rows))


def _failure(one: Document) -> str:
    failure = one.get("last_failure")
    return f"{failure['class']} {failure.get('status') or ''} {failure['at']}" if failure else "-"
