"""Commands that look at, or change, what a running gateway counts: limits, breakers, drain."""

from collections.abc import Iterator
from typing import Annotated, Any
from urllib.parse import quote

import typer

from gateway.cli.asking import asks
from gateway.cli.client import AdminClient
from gateway.cli.facts import facts, keyed, print_found
from gateway.cli.options import Json
from gateway.cli.table import table

Document = dict[str, Any]
Limit = Annotated[str, typer.Argument(metavar="LIMIT", help="Name of the limit.")]
Key = Annotated[
    list[str] | None, typer.Argument(metavar="KEY", help="Values of its key parts in order; ~ = without one.")
]

limits = typer.Typer(help="What callers have left: show, reset, grant, granted.", no_args_is_help=True)
breaker = typer.Typer(help="Circuit breakers: show, open, close, auto.", no_args_is_help=True)


def path_to(*words: str) -> str:
    """The path of an operation of the admin API: these words below `/-/`, each as one segment."""
    return "/-/" + "/".join(quote(word, safe="") for word in words)


@limits.command("show")
@asks
def show_limit(
    client: AdminClient,
    limit: Annotated[str, typer.Argument(metavar="LIMIT", help="Name of the limit; all if left out.")] = "",
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Show the limits, one of them, or what one caller has left of it. Spends nothing."""
    if key:
        _one_counter(client, limit, key, as_json)
        return
    found = client.get("/-/limits", "limits")
    if limit:
        own = _named(found["limits"], limit)
        if own is None or not own["key"]:  # unknown: the gateway says so; without a key: it has one counter
            _one_counter(client, limit, [], as_json)
            return
        print_found(own, as_json, [*facts(own), "", f"one caller: gateway limits show {limit} {_parts(own)}"])
        return
    rows = [
        [one["name"], one["algorithm"], one["amount"], ", ".join(one["key"]) or "-", one["mode"], one["source"]]
        for one in found["limits"]
    ]
    titles = ("limit", "algorithm", "amount", "key", "mode", "source")
    print_found(found, as_json, table(titles, rows, "the policies have no limits"))


def _one_counter(client: AdminClient, limit: str, key: list[str], as_json: bool) -> None:
    found = client.get(path_to("limits", limit, *key))
    print_found(found, as_json, facts(keyed(found)))


def _named(documents: list[Document], name: str) -> Document | None:
    return next((one for one in documents if one["name"] == name), None)


def _parts(document: Document) -> str:
    """What to write for its key."""
    return " ".join(part.upper() for part in document["key"])


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
    number: Annotated[
        int, typer.Option("--limit", min=0, metavar="N", show_default=False, help="Units instead of the limit's own.")
    ] = 0,
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
    titles = ("limit", "caller", "granted", "instead of", "ends in s", "reason")
    print_found(found, as_json, table(titles, rows, "nobody has another number"))


def _force(client: AdminClient, state: str, name: str, key: list[str], ttl: str, as_json: bool) -> None:
    order = {"state": state} if state == "auto" else {"state": state, "ttl": ttl}
    found = client.post(path_to("breakers", name, *key), order, "after")
    print_found(found, as_json, _circuit(found["after"]))


def _circuit(document: Document) -> Iterator[str]:
    yield from facts(keyed(document))
    if document.get("state") == "open" and "next_probe_s" not in document:
        yield f"{'next call':<18} is let through as a probe"


Name = Annotated[str, typer.Argument(metavar="BREAKER", help="Name of the breaker.")]
Ttl = Annotated[str, typer.Option(metavar="DURATION", help="For how long: 30m, 2h, 7d.")]


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
    found = client.get("/-/breakers", "breakers", "not_closed")
    own = _named(found["breakers"], name) if name else None
    if name and (own is None or not own["key"]):
        _one_circuit(client, name, [], as_json)
        return
    if own is not None:
        not_closed = [one for one in found["not_closed"] if one["breaker"] == name]
        found = {**found, "breakers": [own], "not_closed": not_closed}
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
    return table(titles, rows, away if "error" in found else "every shared breaker is closed")


@breaker.command("open")
@asks
def open_breaker(client: AdminClient, name: Name, key: Key = None, ttl: Ttl = "10m", as_json: Json = False) -> None:
    """Let no call through for a while."""
    _force(client, "open", name, key or [], ttl, as_json)


@breaker.command("close")
@asks
def close_breaker(client: AdminClient, name: Name, key: Key = None, ttl: Ttl = "10m", as_json: Json = False) -> None:
    """Let every call through for a while, whatever happens to it."""
    _force(client, "closed", name, key or [], ttl, as_json)


@breaker.command("auto")
@asks
def free_breaker(client: AdminClient, name: Name, key: Key = None, as_json: Json = False) -> None:
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
