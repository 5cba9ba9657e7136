"""`gateway status`: how it is doing."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from gateway.cli.asking.asks import asks
from gateway.cli.asking.client import AdminClient
from gateway.cli.command.options import Json
from gateway.cli.showing.facts import print_found
from gateway.cli.showing.table import table
from gateway.cli.showing.text import counted, plain, whose
from gateway.cli.watching import live
from gateway.cli.watching.members import (
    UPSTREAM_TITLES,
    breaker_text,
    caller_rows,
    failure_text,
    store_text,
    upstream_rows,
)
from gateway.observe.log.events import errors_of

if TYPE_CHECKING:
    from gateway.cli.watching.status_page import StatusPage

Document = dict[str, Any]
MOST_LIMITS = 20
"""Those that refuse most, then those that are asked most. What is wrong stands above them, to be seen on one screen."""
NEEDS = ("name", "policy_version", "calls_per_s", "latency", "store", "breakers", "connections", "reloads", "limits")


@asks
def status(client: AdminClient, watch: live.Watch = False, every: live.Every = None, as_json: Json = False) -> None:
    """Show how the gateway is doing: calls, refusals, latency, store, breakers, connections, reloads."""
    if watch:
        live.watch(client, _ask, status_lines, _page, every, as_json=as_json)
    live.once(every)
    found = _ask(client)
    print_found(found, as_json, status_lines(found))


def _ask(client: AdminClient) -> Document:
    found: Document = client.get("/-/status", *NEEDS)
    return found


def _page() -> "StatusPage":
    from gateway.cli.watching.status_page import StatusPage

    return StatusPage()


def status_lines(found: Document) -> Iterator[str]:
    """The document of `GET /-/status` for people."""
    workers = counted(len(found["workers"]), "worker")
    draining = ", draining" if found["switches"]["draining"] else ""
    yield _row("gateway", f"{found['name']} {found['version']}, {workers}{_missing(found)}{draining}")
    yield _row("policy", f"{found['policy_version']} since {found['loaded_at']}")
    rate = found["calls_per_s"]
    each = f"{round(rate, 1 if rate >= 1 else 3):,} a second"
    refused = f"{found['refused_share']:.1%} refused{_by_whom(found)}"
    yield _row("calls", f"{each}, {refused}{_broken(found)}, {found['in_flight']} in flight")
    yield _row("latency", ", ".join(_stages(found["latency"])) or "no calls lately")
    yield _row("store", store_text(found["store"])[0] + _owing(found["store"]))
    yield from _troubles(found)
    for one in found["reloads"][:3]:
        yield _row("reload", f"{one['timestamp']} {one['event_name']} {one.get('version', '')}")
        yield from (_row("", text) for text in errors_of(one))
    yield from _tables(found)


def _troubles(found: Document) -> Iterator[str]:
    """Workers, breakers, connections, credentials and receivers of webhooks that are not well."""
    for one in found["missing"]:
        yield _row("worker", f"{one['worker']} does not answer: {one['reason']}")
    for one in found["breakers"]["not_closed"]:
        state, why = breaker_text(one)
        said = f"{one['breaker']} of {whose(one['key'])} is {state or 'not closed'}: {why}"
        yield _row("breaker", said.removesuffix(": "))
    if found["breakers"].get("more"):
        yield _row("", "and others: gateway breaker show BREAKER")
    for one in found["connections"]["not_online"]:
        owner = f" of {one['tenant']}" if one.get("tenant") else ""
        why = f"{one['connection']}{owner} is {one['state']} since {one['since']}: {failure_text(one)}"
        yield _row("connection", why.removesuffix(": -"))
    if found["connections"].get("more"):
        yield _row("", "and others: gateway connections --state '!online'")
    for one in found.get("credentials", {}).get("failing", []):
        none = "" if one["serving"] else ", calls that need it are refused"
        yield _row("token", f"{one['credentials']} is not renewed: {one['reason']}{none}")
    for one in found.get("webhooks", []):
        if one["dead"] or one["failures_in_a_row"]:
            yield _row("webhooks", f"{one['receiver']}: {one['waiting']:,} wait, {one['dead']:,} are dead letters")


def _tables(found: Document) -> Iterator[str]:
    """Upstreams, limits, and who is refused most: each behind a blank line, if there are any."""
    if found.get("upstreams"):
        yield ""
        yield from table(UPSTREAM_TITLES, upstream_rows(found))
    if found["limits"]:
        yield ""
        rows = [
            [one["limit"], one["asked"], one.get("limited", 0), one.get("shadow_limited", 0)]
            for one in found["limits"][:MOST_LIMITS]
        ]
        yield from table(("limit", "asked", "limited", "in shadow"), rows)
        if len(found["limits"]) > MOST_LIMITS:
            yield f"and {len(found['limits']) - MOST_LIMITS:,} more: --json has all"
    if found["top_rejected"]:
        yield ""
        yield from table(("refused most", "caller", "count", "per second"), caller_rows(found["top_rejected"]))


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
    return f"; to be told when it is back: {counted(owing, 'counter')}" if owing else ""


def _row(name: str, text: str) -> str:
    return f"{name:<12}{plain(text)}".rstrip()
