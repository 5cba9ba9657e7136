"""`gateway explain`: what would happen to a call, and why. Charges nothing, neither offline nor live."""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.asking.asks import asks
from gateway.cli.asking.client import AdminClient
from gateway.cli.command.failing import FAILED, OK, USAGE, fail
from gateway.cli.command.options import Config, EnvFile, Json, Policies

if TYPE_CHECKING:
    from gateway.core.access.authentication import Denied, Identity
    from gateway.core.policy import PolicySet, Route
    from gateway.core.preview.recorded import Assume, Recorded

MOST_BYTES = 1 << 20

Fields = Annotated[
    list[str] | None, typer.Option("-H", "--header", metavar="'NAME: VALUE'", help="A header field; may repeat.")
]
Keys = Annotated[
    list[str] | None,
    typer.Option("-k", "--key", metavar="PART=VALUE", help="The value of a key part that no header gives."),
]


@asks
def explain(
    client: AdminClient,
    call: Annotated[
        str | None,
        typer.Argument(metavar="'METHOD PATH'", help="The call, or - for access log lines on standard input."),
    ] = None,
    path: Annotated[
        str | None, typer.Argument(metavar="PATH", help="The path, where METHOD is given by itself.")
    ] = None,
    header: Fields = None,
    key: Keys = None,
    policies: Policies = None,
    config: Config = None,
    env_file: EnvFile = None,
    live: Annotated[bool, typer.Option("--live", help="Ask the running gateway: with counters and states.")] = False,
    client_ip: Annotated[str, typer.Option(metavar="ADDRESS", help="Where the call comes from.")] = "",
    as_json: Json = False,
) -> None:
    """Tell what would happen to a call, and why: route, key, every limit, breaker, retries, upstream.

    Without a call: lines of the access log from standard input. Exit code 1: it would be refused.
    """
    if call is None and sys.stdin.isatty():
        raise typer.BadParameter("give a call: gateway explain 'GET /path' -H 'X-Tenant-Id: acme'")
    if live and policies:
        raise typer.BadParameter("--live asks the running gateway about its own policies: leave --policies out")
    if client.reach.chosen and not live:
        raise typer.BadParameter("--admin, --ca and --insecure are for what is running: add --live")
    if call in (None, "-") and (path or header or client_ip):
        raise typer.BadParameter(
            "lines of a log tell what was sent, and where from: leave PATH, --header and --client-ip out"
        )
    call = f"{call} {path}" if path is not None else call  # `explain GET /hello`, without quotes
    keys = dict(_pair(text, "=", "--key") for text in key or ())
    fields = [_pair(text, ":", "--header") for text in header or ()]
    if live:
        documents = _live(client, call, fields, keys, client_ip)
    else:
        documents = _offline(call, fields, keys, client_ip, (config, env_file, policies))
    raise typer.Exit(_tell(_naming_unused(documents, keys), as_json))


def _pair(text: str, separator: str, option: str) -> tuple[str, str]:
    name, found, value = text.partition(separator)
    if not found or not name.strip():
        raise typer.BadParameter(f"{text!r}: expected NAME{separator}VALUE", param_hint=option)
    return name.strip(), value.strip()


def _naming_unused(documents: Iterator[dict[str, Any]], keys: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Each, and once on stderr the given key parts that no route asked for: one of them may be misspelt."""
    unused, taken = set(keys), False
    for document in documents:
        taken |= "keys" in document
        unused -= {part["name"] for part in document.get("keys", ())}
        yield document
    for name in sorted(unused) if taken else ():
        typer.echo(f"gateway: --key {name}: what takes the call has no such key part", err=True)


def _one_call(call: str | None) -> tuple[str, str]:
    """Method and path."""
    words = (call or "").split()
    if len(words) == 1 and words[0].startswith(("/", "http")):
        words = ["GET", *words]
    if len(words) != 2:
        raise typer.BadParameter(f"{call!r}: expected a method and a path, such as 'GET /erp/items'")
    return words[0], words[1]


def _offline(
    call: str | None,
    fields: Sequence[tuple[str, str]],
    keys: Mapping[str, str],
    client_ip: str,
    where: tuple[Path | None, Path | None, Path | None],
) -> Iterator[dict[str, Any]]:
    from gateway.cli.files.loading import read_chosen

    settings, loaded = read_chosen(*where)
    if call is None or call == "-":
        yield from _of_lines(loaded, keys)
        return
    from gateway.core.preview.explain import explain as explain_call
    from gateway.core.problems import Refusal
    from gateway.core.routing.resolve import resolve
    from gateway.policy.explained import explained
    from gateway.policy.sent import sent
    from gateway.wire.asked import BadAsked, asked, asked_from

    try:
        request, client_ip = asked(*_one_call(call), fields), asked_from(client_ip)
    except BadAsked as bad:
        fail(USAGE, str(bad))
    resolved = resolve(loaded, request, request.http_host)
    identity = None if isinstance(resolved, Refusal) else _identity(resolved.route, request.headers)
    explanation = explain_call(
        loaded,
        request,
        request.http_host,
        client_ip=client_ip,
        identity=identity,
        known=keys,
        realm=settings.name,
    )
    head = sent(explanation, request, client_ip, loaded, settings)
    yield explained(request, request.http_host, explanation, loaded, sent=head)


def _identity(route: "Route", headers: Any) -> "Identity | Denied | None":
    """Who the API key says is calling. Tokens are not checked here: their keys may be far away."""
    from gateway.core.access.authentication import NO_CREDENTIALS, ApiKeys, Denied, credential, find_entry

    denied: Denied = NO_CREDENTIALS
    for scheme in route.authenticate:
        shown = credential(scheme.header, headers)
        if shown is None:
            continue
        if not isinstance(scheme, ApiKeys):
            return None
        found = find_entry(scheme, shown)
        if not isinstance(found, Denied):
            return found
        denied = max(denied, found)
    return denied if route.authenticate else None


def _of_lines(policies: "PolicySet", keys: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Explain calls by their lines in the access log."""
    from functools import partial

    from gateway.core.preview.explain import explain as explain_call
    from gateway.core.preview.recorded import assumed
    from gateway.policy.explained import explained

    for call in _lines(partial(assumed, policies)):
        explanation = explain_call(
            policies, call, call.http_host, client_ip=call.client_ip, known={**call.known, **keys}
        )
        yield explained(call, call.http_host, explanation, policies)


def _lines(assume: "Assume") -> "Iterator[Recorded]":
    """The calls of the lines on standard input; `assume` as for `core.preview.recorded.recorded`."""
    from gateway.core.preview.recorded import recorded
    from gateway.observe.log.native import native

    found, others, first = False, 0, 0
    for number, text in enumerate(iter(lambda: sys.stdin.buffer.readline(MOST_BYTES), b""), 1):
        try:
            line = json.loads(text)
        except (ValueError, RecursionError):
            line = None
        told = native(line) if isinstance(line, dict) else {}
        if "event_name" not in told:  # as of a worker that was killed while it wrote
            others, first = others + 1, first or number
            continue
        call = recorded(told, assume)
        if call is not None:  # else an event, or a socket on which no request came
            found = True
            yield call
    if others and found:
        typer.echo(f"gateway: not lines of the gateway's log, and passed over: {others}, first line {first}", err=True)
    elif others:
        fail(USAGE, f"line {first} is not a line of the gateway's log")
    elif not found:
        fail(USAGE, "expected a line of the access log on standard input")


def _live(
    client: AdminClient,
    call: str | None,
    fields: Sequence[tuple[str, str]],
    keys: Mapping[str, str],
    client_ip: str,
) -> Iterator[dict[str, Any]]:
    from gateway.core.preview.recorded import nothing_assumed

    orders: Iterable[dict[str, Any]]
    if call is None or call == "-":
        orders = (_order_again(line, keys) for line in _lines(nothing_assumed))
    else:
        method, path = _one_call(call)
        asked = {"method": method, "path": path, "headers": [list(pair) for pair in fields]}
        orders = [{**asked, "keys": dict(keys), "client_ip": client_ip}]
    for order in orders:
        yield client.post("/-/explain", order, "request", "policies")


def _order_again(line: "Recorded", keys: Mapping[str, str]) -> dict[str, Any]:
    known = {name: value for name, value in line.known.items() if value is not None}
    fields = [["Host", line.http_host]] if line.http_host else []
    asked = {"method": line.method, "path": line.target, "headers": fields}
    return {**asked, "keys": {**known, **keys}, "client_ip": line.client_ip}


def _tell(documents: Iterator[dict[str, Any]], as_json: bool) -> int:
    from gateway.cli.policies.explanation import lines

    refused = False
    for number, document in enumerate(documents):
        refused |= "refused" in document or not document.get("decision", {}).get("admitted", True)
        refused |= bool(document.get("store", {}).get("refusing"))
        if as_json:
            typer.echo(json.dumps(document))
            continue
        if number:
            typer.echo("")
        for line in lines(document):
            typer.echo(line)
    return FAILED if refused else OK
