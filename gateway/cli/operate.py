"""Commands that look at, or change, what a running gateway counts: limits, breakers, drain."""

import json
from collections.abc import Iterator
from typing import Annotated, Any
from urllib.parse import quote

import typer

from gateway.cli.asking import asks
from gateway.cli.client import AdminClient
from gateway.cli.options import Json
from gateway.cli.table import plain, table

Document = dict[str, Any]
Limit = Annotated[str, typer.Argument(metavar="LIMIT", help="Name of the limit.")]
Key = Annotated[
    list[str] | None, typer.Argument(metavar="KEY...", help="Values of its key parts in order; ~ = without one.")
]

limits = typer.Typer(help="What callers have left: show, reset, grant, granted.", no_args_is_help=True)
breaker = typer.Typer(help="Circuit breakers: show, open, close, auto.", no_args_is_help=True)


def path_to(*words: str) -> str:
    """Of the admin API: these words below `/-/`."""
    return "/-/" + "/".join(quote(word, safe="") for word in words)


@limits.command("show")
@asks
def show_limit(
    client: AdminClient,
    limit: Annotated[str, typer.Argument(metavar="[LIMIT]", help="Name of the limit; all if left out.")] = "",
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Show the limits, or what one caller has left. Spends nothing."""
    if limit:
        print_found(client.get(path_to("limits", limit, *key or ())), as_json)
        return
    found = client.get("/-/limits", "limits")
    rows = [
        [one["name"], one["algorithm"], one["amount"], ", ".join(one["key"]) or "-", one["mode"], one["source"]]
        for one in found["limits"]
    ]
    print_found(found, as_json, table(("limit", "algorithm", "amount", "key", "mode", "source"), rows))


@limits.command("reset")
@asks
def reset_limit(
    client: AdminClient,
    limit: Limit,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Forget what one caller has used."""
    found = client.delete(path_to("limits", limit, *key or ()), "reset")
    print_found(found, as_json, ["reset" if found["reset"] else "there was nothing to reset"])


@limits.command("grant")
@asks
def grant(
    client: AdminClient,
    limit: Limit,
    key: Key = None,
    number: Annotated[int, typer.Option("--limit", min=0, metavar="N", help="Units instead of the limit's own.")] = 0,
    ttl: Annotated[str, typer.Option(metavar="DURATION", help="For how long: 30m, 2h, 7d.")] = "1h",
    reason: Annotated[str, typer.Option(metavar="TEXT", help="For whoever looks.")] = "",
    end: Annotated[bool, typer.Option("--end", help="Take it back.")] = False,
    as_json: Json = False,
) -> None:
    """Give one caller another number for a while, on every gateway."""
    if end == bool(number):
        raise typer.BadParameter("give either --limit N or --end")
    if number and not reason:
        raise typer.BadParameter("say why: --reason TEXT")
    order = {"limit": number, "ttl": ttl, "reason": reason}
    path = path_to("limits", limit, *key or (), "override")
    found = client.delete(path, "after") if end else client.put(path, order, "after")
    print_found(found, as_json, ["the limit's own number again" if end else f"{number} for {ttl}"])


@limits.command("granted")
@asks
def granted(client: AdminClient, as_json: Json = False) -> None:
    """Show who has another number for the time being, and why."""
    found = client.get("/-/overrides", "overrides")
    members = ("name", "key", "limit", "instead_of", "ends_in_s", "reason")
    rows = [[one.get(member) or "-" for member in members] for one in found["overrides"]]
    lines = table(("limit", "caller", "granted", "instead of", "ends in s", "reason"), rows)
    print_found(found, as_json, lines if rows else ["nobody has another number"])


def _force(client: AdminClient, state: str, name: str, key: list[str], ttl: str, as_json: bool) -> None:
    order = {"state": state} if state == "auto" else {"state": state, "ttl": ttl}
    found = client.post(path_to("breakers", name, *key), order, "after")
    print_found(found, as_json, _circuit(found["after"]))


def _circuit(document: Document) -> Iterator[str]:
    yield from _facts(document)
    if document.get("state") == "open" and "next_probe_s" not in document:
        yield f"{'next call':<18} is let through as a probe"


Name = Annotated[str, typer.Argument(metavar="BREAKER", help="Name of the breaker.")]
Ttl = Annotated[str, typer.Option(metavar="DURATION", help="For how long: 30m, 2h, 7d.")]


@breaker.command("show")
@asks
def show_breaker(
    client: AdminClient,
    name: Annotated[str, typer.Argument(metavar="[BREAKER]", help="Name of the breaker; all if left out.")] = "",
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Show the breakers, or how one caller's stands."""
    if name:
        found = client.get(path_to("breakers", name, *key or ()))
        print_found(found, as_json, _circuit(found))
        return
    found = client.get("/-/breakers", "breakers")
    rows = [[one["name"], ", ".join(one["key"]) or "-", one["scope"], one["source"]] for one in found["breakers"]]
    print_found(found, as_json, table(("breaker", "key", "scope", "source"), rows))


@breaker.command("open")
@asks
def open_breaker(
    client: AdminClient, name: Name, key: Key = None, ttl: Ttl = "10m", as_json: Json = False
) -> None:  # fmt: skip
    """Let no call through for a while."""
    _force(client, "open", name, key or [], ttl, as_json)


@breaker.command("close")
@asks
def close_breaker(
    client: AdminClient, name: Name, key: Key = None, ttl: Ttl = "10m", as_json: Json = False
) -> None:  # fmt: skip
    """Let every call through for a while, whatever happens to it."""
    _force(client, "closed", name, key or [], ttl, as_json)


@breaker.command("auto")
@asks
def free_breaker(
    client: AdminClient, name: Name, key: Key = None, as_json: Json = False
) -> None:  # fmt: skip
    """Give it back: it opens and closes by itself again."""
    _force(client, "auto", name, key or [], "", as_json)


@asks
def drain(
    client: AdminClient,
    end: Annotated[bool, typer.Option("--end", help="Be ready again.")] = False,
    as_json: Json = False,
) -> None:
    """Fail readiness so that callers go elsewhere; calls that come all the same are served."""
    found = client.delete("/-/drain", "after") if end else client.post("/-/drain", {}, "after")
    print_found(found, as_json, ["ready again" if end else "draining: send SIGTERM to stop"])


def print_found(found: Any, as_json: bool, lines: Any = None) -> None:
    """As JSON, as these lines, or a line a member."""
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    for line in _facts(found) if lines is None else lines:
        typer.echo(line)


def _facts(document: Document, margin: str = "") -> Iterator[str]:
    """One line a member."""
    for name, value in document.items():
        if isinstance(value, dict) and value:
            yield f"{margin}{plain(name)}"
            yield from _facts(value, margin + "  ")
        else:
            text = value if isinstance(value, str) else json.dumps(value)
            yield f"{margin}{plain(name):<{max(1, 18 - len(margin))}} {plain(text)}"
