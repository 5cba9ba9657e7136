"""`gateway tail`: calls and events as they happen."""

import json
import os
import signal
from typing import Annotated, Any
from urllib.parse import urlencode

import typer

from gateway.cli.asking.asks import asks
from gateway.cli.asking.client import AdminClient
from gateway.cli.command.options import Json
from gateway.cli.showing.text import plain

_ENVELOPE = frozenset(
    ("timestamp", "level", "message", "event_name", "schema", "service_name", "service_version", "instance")
)
"""Members of every line, which say nothing about this one."""


@asks
def tail(
    client: AdminClient,
    limited: Annotated[
        bool, typer.Option("--limited", help="Only calls that were, or in shadow would be, refused.")
    ] = False,
    tenant: Annotated[str, typer.Option(metavar="TENANT", help="Only this tenant's.")] = "",
    connection: Annotated[str, typer.Option(metavar="CONNECTION", help="Only about this connection.")] = "",
    event: Annotated[str, typer.Option(metavar="NAMES", help="Only these events: http.access, breaker.*")] = "",
    as_json: Json = False,
) -> None:
    """Show calls and events as they happen, until Ctrl-C."""
    asked = {"limited": "1" if limited else "", "tenant": tenant, "connection": connection, "event": event}
    query = urlencode({name: value for name, value in asked.items() if value}, errors="surrogateescape")
    signal.signal(signal.SIGINT, _leave)
    for line in client.events("/-/stream" + (f"?{query}" if query else "")):
        typer.echo(json.dumps(line) if as_json else line_text(line))


def _leave(_signal: int, _frame: object) -> None:
    """At once, as nothing is left to do: what Ctrl-C raises may be lost, where it strikes in a finalizer."""
    os._exit(0)


def line_text(line: dict[str, Any]) -> str:
    """A line of the log for people."""
    at = str(line.get("timestamp", ""))[11:23]
    if line.get("event_name") != "http.access":
        rest = {name: value for name, value in line.items() if name not in _ENVELOPE}
        return plain(
            f"{at} {line.get('event_name', '')} " + " ".join(f"{name}={_text(value)}" for name, value in rest.items())
        )
    who = " ".join(str(line[name]) for name in ("tenant", "account", "connection") if name in line)
    why = f" by {line['limit_fired']}" if "limit_fired" in line else f" {line.get('problem_code', '')}".rstrip()
    return plain(
        f"{at} {line.get('status', '')} {line.get('method', '-')} {line.get('path', '-')} {who or '-'} "
        f"{line.get('decision', '')}{why} {line.get('duration_ms', 0)} ms"
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
