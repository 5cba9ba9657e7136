"""Views of a running gateway: how it is doing, who calls most, and calls as they happen."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlencode

import typer

from gateway.cli.asking import asks
from gateway.cli.client import AdminClient
from gateway.cli.live import DIM, Every, Watch, columns, no_answer, store_text
from gateway.cli.live import watch as show_again
from gateway.cli.options import Json
from gateway.cli.repeats import tell_repeats
from gateway.cli.status_page import UPSTREAM_TITLES, StatusPage, errors_of, failure_text, upstream_rows
from gateway.cli.table import plain, table, whose

if TYPE_CHECKING:
    from rich.console import RenderableType

Document = dict[str, Any]


NEEDS = ("name", "policy_version", "calls_per_s", "latency", "store", "breakers", "connections", "reloads", "limits")


@asks
def status(client: AdminClient, watch: Watch = False, every: Every = 2.0, as_json: Json = False) -> None:
    """Show how the gateway is doing: calls, refusals, latency, store, breakers, connections, reloads."""
    if watch:
        again = AdminClient(client.reach, fail=no_answer)
        show_again(lambda: again.get("/-/status", *NEEDS), status_lines, StatusPage(), every, as_json=as_json)
    found = client.get("/-/status", *NEEDS)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    for line in status_lines(found):
        typer.echo(line)


def status_lines(found: Document) -> Iterator[str]:
    """The document of `GET /-/status` for people."""
    workers = len(found["workers"])
    count = f"{workers} worker{'s' * (workers != 1)}"
    draining = ", draining" if found["switches"]["draining"] else ""
    yield _row("gateway", f"{found['name']} {found['version']}, {count}{_missing(found)}{draining}")
    yield _row("policy", f"{found['policy_version']} since {found['loaded_at']}")
    rate = found["calls_per_s"]
    each = f"{round(rate, 1 if rate >= 1 else 3):,} a second"
    refused = f"{found['refused_share']:.1%} refused{_by_whom(found)}"
    yield _row("calls", f"{each}, {refused}{_broken(found)}, {found['in_flight']} in flight")
    yield _row("latency", ", ".join(_stages(found["latency"])) or "no calls lately")
    yield _row("store", store_text(found["store"])[0] + _owing(found["store"]))
    for one in found["breakers"]["not_closed"]:
        state = one.get("state", "not closed").replace("_", "-")
        yield _row("breaker", f"{one['breaker']} of {whose(one['key'])} is {state}")
    for one in found["connections"]["not_online"]:
        owner = f" of {one['tenant']}" if one.get("tenant") else ""
        why = f"{one['connection']}{owner} is {one['state']} since {one['since']}: {failure_text(one)}"
        yield _row("connection", why.removesuffix(": -"))
    for one in found.get("credentials", {}).get("failing", []):
        none = "" if one["serving"] else ", calls that need it are refused"
        yield _row("token", f"{one['credentials']} is not renewed: {one['reason']}{none}")
    for one in found.get("webhooks", []):
        if one["dead"] or one["failures_in_a_row"]:
            yield _row("webhooks", f"{one['receiver']}: {one['waiting']:,} wait, {one['dead']:,} are dead letters")
    for one in found["reloads"][:3]:
        yield _row("reload", f"{one['timestamp']} {one['event_name']} {one.get('version', '')}")
        yield from (_row("", text) for text in errors_of(one))
    if found.get("upstreams"):
        yield ""
        yield from table(UPSTREAM_TITLES, upstream_rows(found))
    if found["limits"]:
        yield ""
        rows = [
            [one["limit"], one["asked"], one.get("limited", 0), one.get("shadow_limited", 0)] for one in found["limits"]
        ]
        yield from table(("limit", "asked", "limited", "in shadow"), rows)
    if found["top_rejected"]:
        yield ""
        yield from table(("refused most", "caller", "count", "per second"), _rows(found["top_rejected"]))


def _stages(latency: Document) -> Iterator[str]:
    for name, stage in latency.items():
        if stage["count"]:
            yield f"{name} median {stage['p50_ms']} ms (p99 {stage['p99_ms']} ms)"


def _by_whom(found: Document) -> str:
    """How many calls limits, breakers and pauses refused, if they did."""
    sources = found.get("by_source", {})
    counts = [f"{name} {sources[name]:,}" for name in ("limit", "breaker", "pause") if sources.get(name)]
    return f" ({', '.join(counts)})" if counts else ""


def _broken(found: Document) -> str:
    """The share of answers with a 5xx, if there were any."""
    broken = found.get("by_status", {}).get("5xx", 0)
    return f", {broken / found['calls']:.1%} answered with 5xx" if broken else ""


def _missing(found: Document) -> str:
    missing = found["missing"]
    return f", {len(missing)} do not answer" if missing else ""


def _owing(store: Document) -> str:
    owing = store.get("owing")
    return f"; to be told when it is back: {owing:,} counters" if owing else ""


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _row(name: str, text: str) -> str:
    return f"{name:<12}{plain(text)}".rstrip()


class By(StrEnum):
    """What the heaviest callers are counted by."""

    REJECTED = "rejected"
    REQUESTS = "requests"
    SHADOW_REJECTED = "shadow_rejected"


@asks
def top(
    client: AdminClient,
    by: Annotated[By, typer.Option(help="What is counted.")] = By.REJECTED,
    count: Annotated[int, typer.Option("-n", "--number", min=1, max=200, metavar="N", help="How many.")] = 20,
    repeats: Annotated[bool, typer.Option("--repeats", help="Reads that callers repeat, counted from now on.")] = False,
    lasting: Annotated[str, typer.Option("--for", metavar="TIME", help="How long repeats are counted.")] = "1m",
    watch: Watch = False,
    every: Every = 2.0,
    as_json: Json = False,
) -> None:
    """Show who is refused most, calls most, or would be refused by limits in shadow; or which reads are repeated."""
    if repeats:
        if watch:
            raise typer.BadParameter("repeats are counted once: leave --watch out")
        tell_repeats(client, lasting, count, as_json=as_json)
        return
    query = urlencode({"by": by.value, "limit": count})
    if watch:
        again = AdminClient(client.reach, fail=no_answer)
        show_again(lambda: again.get(f"/-/top?{query}", "callers"), top_lines, _top_page(by), every, as_json=as_json)
    found = client.get(f"/-/top?{query}", "callers", "by", "over_s")
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    for line in top_lines(found):
        typer.echo(line)


def top_lines(found: Document) -> Iterator[str]:
    """The document of `GET /-/top` for people."""
    done = {"requests": "called", "rejected": "was refused", "shadow_rejected": "would have been refused"}
    none = f"nobody {done.get(found['by'], 'came')} in the last {found['over_s']:.0f} s"
    return table(("limit", "caller", "count", "per second"), _rows(found["callers"]), none)


def _top_page(by: By) -> Callable[[Document], "RenderableType"]:
    titles = ("limit", f"caller, by {by.value.replace('_', ' ')}", "count", "per second")

    def page(found: Document) -> "RenderableType":
        from rich.console import Group
        from rich.text import Text

        over = f"   the last {found['over_s']:.0f} s" if "over_s" in found else ""
        rows = _rows(found["callers"])
        listed = columns(titles, rows) if rows else Text("nobody", DIM)
        return Group(Text(f"{time.strftime('%H:%M:%S')}{over}", DIM), Text(), listed)

    return page


def _rows(callers: list[Document]) -> list[list[Any]]:
    return [[one["limit"], whose(one["key"]), one["count"], one["per_s"]] for one in callers]


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
    query = urlencode({name: value for name, value in asked.items() if value})
    signal.signal(signal.SIGINT, _leave)
    for line in client.events("/-/stream" + (f"?{query}" if query else "")):
        typer.echo(json.dumps(line) if as_json else line_text(line))


def _leave(_signal: int, _frame: object) -> None:
    """At once, as nothing is left to do: what Ctrl-C raises may be lost, where it strikes in a finalizer."""
    os._exit(0)


def line_text(line: Document) -> str:
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


_ENVELOPE = frozenset(
    ("timestamp", "level", "message", "event_name", "schema", "service_name", "service_version", "instance")
)
