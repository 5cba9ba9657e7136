"""`gateway breaker`: how circuit breakers stand, and holding one open or closed."""

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from gateway.cli.asking.asks import asks
from gateway.cli.asking.client import AdminClient, path_to
from gateway.cli.command.failing import FAILED, tell_missing
from gateway.cli.command.options import Json, Key, Reason
from gateway.cli.showing.facts import facts, keyed, named, print_found
from gateway.cli.showing.table import table

Document = dict[str, Any]
Name = Annotated[str, typer.Argument(metavar="BREAKER", help="Name of the breaker.")]
Ttl = Annotated[str, typer.Option(metavar="DURATION", help="For how long: 30m, 2h, 7d.")]

breaker = typer.Typer(help="Circuit breakers: show, open, close, auto.", no_args_is_help=True)


@breaker.command("show")
@asks
def show_breaker(
    client: AdminClient,
    name: Annotated[str, typer.Argument(metavar="BREAKER", help="Name of the breaker; all if left out.")] = "",
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Show the breakers and which are not closed, those of one name, or how one caller's stands."""
    if key:
        _one_circuit(client, name, key, as_json)
        return
    found = client.get(path_to("breakers", breaker=name or None), "breakers", "not_closed")
    if name:  # older gateways tell of all
        found["not_closed"] = [one for one in found["not_closed"] if one["breaker"] == name]
    own = named(found["breakers"], name) if name else None
    if own is not None and not own["key"]:
        _one_circuit(client, name, [], as_json)
        return
    print_found(found, as_json, [*(_defined(found) if own is None else facts(own)), "", *_not_closed(found)])


def _one_circuit(client: AdminClient, name: str, key: list[str], as_json: bool) -> None:
    found = client.get(path_to("breakers", name, *key))
    print_found(found, as_json, _circuit(found))


def _defined(found: Document) -> Iterator[str]:
    rows = [[one["name"], ", ".join(one["key"]) or "-", one["scope"], one["source"]] for one in found["breakers"]]
    return table(("breaker", "key", "scope", "source"), rows, "the policies have no breakers")


def _not_closed(found: Document) -> Iterator[str]:
    """Of those that the fleet shares."""
    members = ("breaker", "key", "state", "reason", "next_probe_s")
    rows = [[str(one.get(member, "-")) for member in members] for one in found["not_closed"]]
    away = f"the store does not answer ({found.get('error')})"
    titles = ("not closed", "caller", "state", "reason", "probe in s")
    yield from table(titles, rows, away if "error" in found else "every shared breaker is closed")
    if found.get("more"):
        yield "and others; of one breaker or caller: gateway breaker show BREAKER KEY"


@breaker.command("open")
@asks
def open_breaker(
    client: AdminClient, name: Name, key: Key = None, ttl: Ttl = "10m", reason: Reason = "", as_json: Json = False
) -> None:
    """Let no call through for a while."""
    _force(client, "open", name, key, as_json, ttl=ttl, reason=reason)


@breaker.command("close")
@asks
def close_breaker(
    client: AdminClient, name: Name, key: Key = None, ttl: Ttl = "10m", reason: Reason = "", as_json: Json = False
) -> None:
    """Let every call through for a while, whatever happens to it."""
    _force(client, "closed", name, key, as_json, ttl=ttl, reason=reason)


@breaker.command("auto")
@asks
def free_breaker(client: AdminClient, name: Name, key: Key = None, reason: Reason = "", as_json: Json = False) -> None:
    """Give it back: it opens and closes by itself again."""
    _force(client, "auto", name, key, as_json, reason=reason)


def _force(client: AdminClient, state: str, name: str, key: list[str] | None, as_json: bool, **more: str) -> None:
    """`more`: further members of the order; what is empty is left out."""
    order = {"state": state, **{name: value for name, value in more.items() if value}}
    found = client.post(path_to("breakers", name, *key or ()), order, "after")
    print_found(found, as_json, _circuit(found["after"]))
    tell_missing(_untold(found["after"]), FAILED)


def _untold(after: Document) -> list[Document]:
    """Workers that have not done as they were told, where each has a breaker of its own."""
    workers = after.get("workers", ())
    return [{"worker": one["worker"], "reason": one["missing"]} for one in workers if "missing" in one]


def _circuit(document: Document) -> Iterator[str]:
    yield from facts(keyed(document))
    if document.get("state") == "open" and "next_probe_s" not in document:
        yield f"{'next call':<18} is let through as a probe"
