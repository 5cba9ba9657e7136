"""`gateway healthcheck`: one question to the admin listener, for container health checks (no curl in slim images)."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

import typer

from gateway.cli.asking.asks import asks
from gateway.cli.asking.client import AdminClient, with_hint
from gateway.cli.command.failing import FAILED, OK, fail
from gateway.cli.showing.text import plain

READY, ALIVE = ("/readyz", "ready"), ("/livez", "alive")
"""Where to ask, and the status that is said with a 200."""
MOST_BYTES = 4_096


@asks
def healthcheck(
    client: AdminClient,
    live: Annotated[bool, typer.Option("--live", help="Ask whether it lives, not whether it is ready.")] = False,
    timeout: Annotated[
        float, typer.Option(min=0.1, max=3600, metavar="SECONDS", help="How long to wait for the answer.")
    ] = 3.0,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the answer as JSON, also when it is not ready.")
    ] = False,
) -> None:
    """Ask a running gateway whether it is ready. Exit code 0: yes; 1: no; 3: it does not answer."""
    # Of this host's own listener: a renewed or expired certificate is no reason to restart a container.
    reach = replace(client.reach, own=not client.reach.named)
    client, (path, good) = AdminClient(reach, timeout), ALIVE if live else READY
    status, body = client.whatever("GET", path, MOST_BYTES)
    if status == 200 and _said(body).get("status") != good:
        client.stranger()
    if status != 200 and not as_json:
        fail(FAILED, f"the gateway at {reach.listen} answers {status}: {reason(body)}")
    typer.echo(one_line(body))
    raise typer.Exit(OK if status == 200 else FAILED)


def reason(body: str) -> str:
    """Why not, in a sentence: the `detail` of a problem (RFC 9457), and what helps; else all that was said."""
    said = _said(body)
    detail = said.get("detail")
    return plain(with_hint(detail, said)) if isinstance(detail, str) else one_line(body)


def _said(body: str) -> Mapping[str, Any]:
    """The document of the answer; empty when it is none."""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def one_line(body: str) -> str:
    """Of an answer: what records health checks keeps lines."""
    try:
        return json.dumps(json.loads(body))
    except (ValueError, RecursionError):
        return plain(" ".join(body.split()))
