"""Commands about webhooks of a running gateway: what waits for whom, and sending it again."""

from typing import Annotated

import typer

from gateway.cli.asking.asks import asks
from gateway.cli.asking.client import AdminClient, path_to
from gateway.cli.command.options import Json
from gateway.cli.showing.facts import print_found
from gateway.cli.showing.table import table
from gateway.cli.showing.text import plain

webhooks = typer.Typer(help="Webhooks out and in: list, redrive, replay, test.", no_args_is_help=True)

Receiver = Annotated[str, typer.Argument(metavar="RECEIVER", help="A target, or SOURCE:SERVICE of the intake.")]
Receivers = Annotated[
    str, typer.Argument(metavar="RECEIVER", help="A target, or SOURCE:SERVICE of the intake; SOURCE:* for all of it.")
]
COLUMNS = ("receiver", "direction", "waiting", "retrying", "dead", "kept", "oldest_s", "resting_s")


@webhooks.command("list", short_help="Show what waits for each receiver.")
@asks
def list_webhooks(
    client: AdminClient,
    receiver: Annotated[str, typer.Argument(metavar="RECEIVER", help="Only this one, with its last tries.")] = "",
    as_json: Json = False,
) -> None:
    """Show what waits for each receiver, or the last tries and the dead letters of one."""
    if not receiver:
        found = client.get("/-/webhooks", "webhooks")
        rows = [["-" if one[name] is None else str(one[name]) for name in COLUMNS] for one in found["webhooks"]]
        lines = [*table(COLUMNS, rows, "the settings have no receivers of webhooks")]
        lines += [plain(f"{one['receiver']}: no queue: {one['error']}") for one in found["webhooks"] if "error" in one]
        print_found(found, as_json, lines)
        return
    found = client.get(path_to("webhooks", receiver), "tries", "dead_letters")
    tries = [
        [_when(one["at"]), one["id"], str(one["attempt"]), str(one["status"] or one["error"]), one["result"]]
        for one in found["tries"]
    ]
    dead = [[one["id"], one["tries"], one["why"]] for one in found["dead_letters"]]
    lines = [*table(COLUMNS, [[str(found[name]) for name in COLUMNS]]), ""]
    lines += [*table(("at", "id", "attempt", "answer", "result"), tries, "nothing was tried lately"), ""]
    print_found(found, as_json, [*lines, *table(("dead letter", "tries", "why"), dead, "no dead letters")])


def _when(at: float) -> str:
    from gateway.core.http.timestamps import rfc3339

    return rfc3339(round(at * 1e6))


@webhooks.command("redrive")
@asks
def redrive(
    client: AdminClient,
    receiver: Receivers,
    id_: Annotated[str, typer.Option("--id", metavar="ID", help="Only the dead letter with this id.")] = "",
    as_json: Json = False,
) -> None:
    """Send dead letters again, and at once what waits for another try: the receiver is back."""
    _again(client, receiver, "redrive", {"id": id_} if id_ else {}, as_json)


@webhooks.command("replay")
@asks
def replay(
    client: AdminClient,
    receiver: Receivers,
    id_: Annotated[str, typer.Option("--id", metavar="ID", help="Only the one with this id.")] = "",
    since: Annotated[str, typer.Option(metavar="WHEN", help="Delivered since 2h ago, or 2026-11-21T14:00:00Z.")] = "",
    until: Annotated[str, typer.Option(metavar="WHEN", help="And until then.")] = "",
    as_json: Json = False,
) -> None:
    """Send again what was delivered, where the settings say that it is kept."""
    order = {name: text for name, text in (("id", id_), ("since", since), ("until", until)) if text}
    _again(client, receiver, "replay", order, as_json)


def _again(client: AdminClient, receiver: str, order: str, body: dict[str, str], as_json: bool) -> None:
    found = client.post(path_to("webhooks", receiver, order), body, "moved", "left", "full")
    more = ["the queue is full: go on when these are delivered"] if found["full"] else []
    sooner = [] if body else ["what waits for another try is tried now"]
    print_found(found, as_json, [f"{found['moved']} sent again, {found['left']} left", *sooner, *more])


@webhooks.command("test")
@asks
def send_test(client: AdminClient, receiver: Receiver, as_json: Json = False) -> None:
    """Send a target the event `webhook.test`."""
    found = client.post(path_to("webhooks", receiver, "test"), {}, "id")
    print_found(found, as_json, [f"queued as {found['id']}; `gateway webhooks list {receiver}` shows when it arrives"])
