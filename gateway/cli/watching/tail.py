"""`gateway tail`: calls and events as they happen."""

import json
import os
import signal
import time
from collections.abc import Iterator
from typing import Annotated, Any, NoReturn

import typer

from gateway.cli.asking.asks import asks
from gateway.cli.asking.client import AdminClient, path_to
from gateway.cli.command.failing import UNREACHABLE, fail
from gateway.cli.command.options import Json
from gateway.cli.showing.text import plain
from gateway.observe.log.events import ACCESS

_ENVELOPE = frozenset(
    ("timestamp", "level", "message", "event_name", "schema", "service_name", "service_version", "instance")
)
"""Members of every line, which say nothing about this one."""
TRIES, GAP_S = 20, 0.5
"""How often, and after what time each, another stream is asked for when one has ended."""
LASTED_S = 1.0
"""A stream that ends sooner is not one that a worker ended because it was replaced."""


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
    path = path_to("stream", **{name: value or None for name, value in asked.items()})
    signal.signal(signal.SIGINT, _leave)
    for line in _lines(client, path):
        typer.echo(json.dumps(line) if as_json else line_text(line))


class _Ended(Exception):
    """There is no stream, or none any more. What `fail` would be told."""


def _ended(*told: Any) -> NoReturn:
    """In the place of `failing.fail`, for who asks again."""
    raise _Ended(*told)


def _lines(client: AdminClient, path: str) -> Iterator[Any]:
    """A stream is one worker's and ends with it; the gateway may go on, or come again soon. Ends the command if not."""
    asking, tries, began_s = AdminClient(client.reach, fail=_ended), 0, float("inf")

    def begun() -> None:
        nonlocal began_s
        began_s = time.monotonic()

    while True:
        try:
            yield from asking.events(path, begun)
        except _Ended as ended:
            code, *lines = ended.args
            if time.monotonic() - began_s > LASTED_S:
                tries, began_s = TRIES, float("inf")
                typer.echo(f"gateway: {lines[0]}; asking for another", err=True)
            if not tries or code != UNREACHABLE:
                fail(code, *lines)
            tries -= 1
            time.sleep(GAP_S)


def _leave(_signal: int, _frame: object) -> None:
    """At once, as nothing is left to do: what Ctrl-C raises may be lost, where it strikes in a finalizer."""
    os._exit(0)


def line_text(line: dict[str, Any]) -> str:
    """A line of the log for people."""
    at = str(line.get("timestamp", ""))[11:23]
    if line.get("event_name") != ACCESS:
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
