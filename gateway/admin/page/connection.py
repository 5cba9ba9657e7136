"""Connections: the list, and the page of one."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlencode

from aiohttp import web

from gateway.admin.endpoint import segments
from gateway.admin.operations import connections
from gateway.admin.page import layout, overview, trouble
from gateway.admin.page.caller import REFRESH_S, refreshed
from gateway.admin.page.charts import chart
from gateway.admin.page.markup import Html, element
from gateway.admin.page.paths import path_of
from gateway.admin.page.tables import facts, link, panel, quiet, table
from gateway.admin.page.words import NOTHING, lasting, moment, moment_of, number
from gateway.admin.view import AdminView
from gateway.core.connections.counts import BUCKET_US, Counts
from gateway.core.connections.state import ConnectionState, Status
from gateway.core.keys import partition, readable
from gateway.core.policy import PolicySet
from gateway.core.units import SECOND_US

BEHIND = "/connections/"
PAGE = "100"
MINUTE_S = BUCKET_US // SECOND_US

Document = dict[str, Any]


async def every(view: AdminView, request: web.Request) -> web.StreamResponse:
    """A page of the list, the worst state first."""
    query = {"limit": PAGE, **{name: request.query[name] for name in ("state", "cursor") if name in request.query}}
    found = await connections.page(view.statuses, query)
    rows = [trouble.connection_row(one) for one in found["connections"]]
    text = table("The worst first", trouble.CONNECTION_HEADS, rows, none="None.")
    more = {name: value for name, value in {**query, "cursor": found.get("next")}.items() if name != "limit" and value}
    next_page = element("p", link(f"/connections?{urlencode(more)}", "More")) if "next" in found else None
    listed = panel("all-connections", "Connections", _states(query.get("state")), text, next_page, wide=True)
    return layout.page(view, "Connections", refreshed(listed), path="/connections", refresh_s=REFRESH_S)


def _states(chosen: str | None) -> Html:
    """Which states to list."""
    shown = [("all", None), ("not online", "!online"), *((state.replace("_", " "), state) for state in ConnectionState)]
    links = [
        element(
            "a",
            name,
            href="/connections" + (f"?{urlencode({'state': state})}" if state else ""),
            aria_current="true" if state == chosen else None,
        )
        for name, state in shown
    ]
    return element("p", *links, class_="choices")


async def one(view: AdminView, request: web.Request) -> web.StreamResponse:
    """One connection: its state and why, counters, breakers, minutes, events, calls as they happen."""
    (segment, *more), tenant = segments(request, BEHIND), request.query.get("tenant")
    if more:
        raise web.HTTPNotFound
    name = unquote(segment, errors="surrogateescape")
    status = await connections.find(view.statuses, name, tenant)
    found = await connections.one(view.statuses, view.store, view.policies, name, tenant)
    about = {"connection": found["connection"]} | ({"tenant": found["tenant"]} if found["tenant"] else {})
    guards = _partitions(found, view.policies)
    of_breakers = [{"breaker": name, "caller": readable(key)} for name, key in guards.items()]
    parts = (
        _state(found),
        _counters(found),
        _breakers(found, guards),
        _past(status),
        _operations(found),
        trouble.events(await overview.recent(view, about, *of_breakers), title="Events about it"),
    )
    feed = overview.feed(found["tenant"], found["connection"])
    return layout.page(view, f"Connection {found['connection']}", refreshed(*parts, feed=feed), refresh_s=REFRESH_S)


def _state(found: Document) -> Html:
    last, paused_s = found["last_failure"], found["paused_s"]
    at = moment(last["at"]) if last else None
    said = element("span", at, " ", trouble.failure(found)) if last else "never"
    pairs = (
        ("state", trouble.state(found["state"])),
        ("since", moment(found["since"])),
        ("tenant", found["tenant"] or "none"),
        ("last failure", said),
        ("its request", element("code", last["request_id"]) if last and last["request_id"] else None),
        ("last success", moment(found["last_success_at"])),
        ("pause", f"the upstream asked for {lasting(paused_s)} more" if paused_s else None),
        *((f"{name} lets through", f"{left['remaining']:,} more") for name, left in found["upstreams"].items()),
    )
    return panel("state", "State", facts(pairs))


def _counters(found: Document) -> Html:
    rows = [
        (name, f"{left['limit']:,}", f"{left['remaining']:,}", lasting(left["reset_s"]))
        for name, left in found["limits"].items()
    ]
    heads = ("limit", "allows", "left", "all back in")
    text = table("That count by it", heads, rows, numbers=(1, 2, 3), none="None counts by connection.")
    return panel("counters", "Limits", text)


def _partitions(found: Document, policies: PolicySet) -> dict[str, str]:
    """Of its breakers, by their names."""
    parts = {"connection": found["connection"], "tenant": found["tenant"]}
    names = [breaker["name"] for breaker in found["breakers"]]
    return {name: partition(f"breaker:{name}", policies.breakers[name].key, parts) for name in names}


def _breakers(found: Document, guards: Mapping[str, str]) -> Html:
    paths = {name: path_of("breakers", key) for name, key in guards.items()}
    rows = [
        (
            link(paths[breaker["name"]], breaker["name"]),
            trouble.state(breaker["state"]),
            f"{breaker.get('failed', 0)} of {breaker['calls']} failed" if breaker.get("calls") else NOTHING,
            trouble.force_buttons(paths[breaker["name"]]),
        )
        for breaker in found["breakers"]
    ]
    text = table("That guard it", ("breaker", "state", "why", "hold it"), rows, none="None.")
    return panel("guards", "Breakers", text, wide=True)


def _past(status: Status) -> Html:
    """Attempts by minute, as the store counts them."""
    counted = [(bucket.number * MINUTE_S, _sum(bucket.rows)) for bucket in status.track.buckets]
    if not counted:
        return panel("past", "The last ten minutes", quiet("No attempts."), wide=True)
    drawn = chart(
        "Attempts by minute", "a minute", Counts._fields, [(at, *counts) for at, counts in counted], bars=True
    )
    rows = [(moment_of(at), *map(number, counts)) for at, counts in reversed(counted)]
    text = table("Attempts by minute, UTC", ("minute", *Counts._fields), rows, numbers=(1, 2, 3))
    return panel("past", "The last ten minutes", drawn, text, wide=True)


def _sum(rows: Mapping[Any, Counts]) -> Counts:
    total = Counts()
    for counts in rows.values():
        total = total.plus(counts)
    return total


def _operations(found: Document) -> Html:
    tables = [
        table(
            f"By {kind}",
            (kind, *Counts._fields),
            [(name, *(number(counts[how]) for how in Counts._fields)) for name, counts in groups.items()],
            numbers=(1, 2, 3),
        )
        for kind, groups in (("operation", found["operations"]), ("entity", found["entities"]))
        if groups
    ]
    return panel("operations", "What it was asked to do", *(tables or [quiet("Nothing lately.")]), wide=True)
