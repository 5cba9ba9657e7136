"""`gateway drain`: callers are sent elsewhere before a gateway stops."""

from typing import Annotated

import typer

from gateway.cli.asking.asks import asks
from gateway.cli.asking.client import AdminClient, path_to
from gateway.cli.command.failing import FAILED, tell_missing
from gateway.cli.command.options import Json, Reason
from gateway.cli.showing.facts import print_found


@asks
def drain(
    client: AdminClient,
    end: Annotated[bool, typer.Option("--end", help="Be ready again.")] = False,
    reason: Reason = "",
    as_json: Json = False,
) -> None:
    """Fail readiness so that callers go elsewhere; calls that come all the same are served."""
    path = path_to("drain", reason=reason or None)
    found = client.delete(path, "missing") if end else client.post(path, {}, "missing")
    print_found(found, as_json, ["ready again" if end else "draining: send SIGTERM to stop"])
    tell_missing(found["missing"], FAILED)
