"""`gateway reload`: tell a running gateway to read its files again, and show what came of it."""

import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from gateway.cli.asking.asks import asks
from gateway.cli.asking.client import AdminClient, with_hint
from gateway.cli.command.failing import FAILED
from gateway.cli.command.options import Json
from gateway.cli.showing.findings import placed

WAIT_S = 70.0
MOST_BYTES = 4 * 1024 * 1024


@asks
def reload(
    client: AdminClient,
    workers: Annotated[bool, typer.Option("--workers", help="Then replace every worker with a new one.")] = False,
    as_json: Json = False,
) -> None:
    """Read policies and settings again. Exit code 0: in force, or nothing to do; 1: rejected; 3: no answer."""
    path = "/-/reload?workers" if workers else "/-/reload"
    status, body = AdminClient(client.reach, WAIT_S).whatever("POST", path, MOST_BYTES)
    try:
        document = dict(json.loads(body))
    except ValueError:
        client.stranger()
    for line in (json.dumps(document, indent=2),) if as_json else lines(document):
        typer.echo(line, err=status != 200 and not as_json)
    if status != 200:
        raise typer.Exit(FAILED)


def lines(document: Mapping[str, Any]) -> Iterator[str]:
    """The answer for people."""
    if "result" not in document:  # a problem document
        yield f"gateway: {with_hint(document.get('detail', 'the gateway does not know this request'), document)}"
        return
    detail = f" ({document['detail']})" if document.get("detail") else ""
    yield f"{document['result']}: policy {document['version']} is in force{detail}"
    for error in document.get("errors", ()):
        yield placed(error)
    for one in document.get("diff", ()):
        effect = f", {one['effect']}" if one.get("effect") else ""
        yield f"  {' '.join(filter(None, (one['what'], one['section'], one['name'])))}{effect}"
    for name, keys in document.get("settings", {}).items():
        yield f"  {name.replace('_', ' ')}: {', '.join(keys)}"
    if "replaced_workers" in document:
        count = document["replaced_workers"]
        yield f"  {count} {'worker is' if count == 1 else 'workers are'} being replaced"
