"""Limits and their callers: the list of limits, and the page of one counter."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from aiohttp import web

from gateway.admin.endpoint import segments
from gateway.admin.operations.counters import Target, find, peek
from gateway.admin.operations.keys import in_words
from gateway.admin.page import layout, overview, trouble, use
from gateway.admin.page.charts import chart
from gateway.admin.page.markup import Html, element, joined
from gateway.admin.page.paths import counter, naming, said, typed
from gateway.admin.page.tables import facts, link, panel, quiet, table
from gateway.admin.page.words import lasting, moment_of, number
from gateway.admin.problems import unavailable
from gateway.admin.view import ANSWER_S, AdminView
from gateway.core.limits import Limit
from gateway.store import StoreDown

BEHIND = "/callers/"
REFRESH_S = 5
TYPING_S = 60
"""Of pages with a form: without scripts, loading them again loses what somebody is typing."""
HOW_TO_TYPE = (
    "Values in the order of the key's parts, separated by /, like acme/conn_42. A / inside one of several is %2F, "
    "a % is %25; ~ stands for a part that the call does not have."
)

Document = dict[str, Any]


async def limits(view: AdminView, _request: web.Request) -> web.StreamResponse:
    """Every limit of the loaded set, with how it was used lately."""
    lately = await overview.lately(view)
    used = {one["limit"]: one for one in lately["limits"]}
    nothing: Document = {"asked": 0}
    rows = [
        (
            *use.use_row({"limit": name, **used.get(name, nothing)}, limit, lately["over_s"]),
            ", ".join(limit.key) or "everybody together",
            limit.source,
        )
        for name, limit in view.policies.limits.items()
    ]
    heads = (*use.USE_HEADS, "counts by", "defined at")
    listed = table("Use in the last ten seconds", heads, rows, numbers=range(2, 6), none="There are none.")
    found = [panel("all-limits", "All limits", listed, wide=True), _search(view)]
    return layout.page(view, "Limits", refreshed(*found), path="/limits", refresh_s=TYPING_S)


def _search(view: AdminView) -> Html:
    """By the values that a caller sends, which may be longer than what stands in a path."""
    keys = {name: limit.key for name, limit in view.policies.limits.items()}
    return search("Look up a caller", "Limit", keys, action="/callers")


def search(title: str, what: str, keys: Mapping[str, Sequence[str]], *, action: str) -> Html:
    """A form that asks for a limit or a breaker (`what`), and for the values of its key."""
    name = what.lower()
    options = [element("option", f"{one} ({'/'.join(key) or 'everybody'})", value=one) for one, key in keys.items()]
    form = element(
        "form",
        *(element("label", what, for_=name), element("select", *options, name=name, id=name)),
        *(element("label", "Key", for_="key"), element("input", name="key", id="key", autocomplete="off")),
        element("button", "Show"),
        element("p", HOW_TO_TYPE, class_="quiet", id="how"),
        action=action,
    )
    return element("section", element("h2", title), form, class_="panel")


async def look_up(view: AdminView, request: web.Request) -> web.StreamResponse:
    """On to the page of the caller that the form names."""
    name, key = request.query.get("limit", ""), request.query.get("key", "")
    limit = view.policies.limits.get(name)
    words = typed(key, len(limit.key)) if limit is not None else []
    target = find(view.policies, [quote(name, safe=""), *words])
    return layout.to(naming("callers", target.charges[0].key, target.parts))


async def caller(view: AdminView, request: web.Request) -> web.StreamResponse:
    """One counter: what is left, the last minutes, events about its tenant, calls as they happen."""
    target = counter(view.policies, segments(request, BEHIND), said(request))
    limit, about = target.charges[0].limit, _named(target)
    events = overview.recent(view, about) if about else _nothing()
    state, minutes, told = await asyncio.gather(_state(view, target), _minutes(view, target.charges[0].key), events)
    found = (state, _rule(limit), _past(minutes), trouble.events(told, title="Events about it"))
    feed = overview.feed(**about) if about else None
    title = f"{limit.name}: {in_words(target.parts)}"
    return layout.page(view, title, refreshed(*found, feed=feed), refresh_s=REFRESH_S)


def _named(target: Target) -> dict[str, str]:
    """What logs and events call it by; a value of which only the hash is known is none."""
    known = {name: target.parts.get(name) for name in ("tenant", "connection")}
    return {name: value for name, value in known.items() if value and not value.startswith("#")}


async def _nothing() -> list[Document]:
    return []


def refreshed(*parts: Html, feed: Html | None = None) -> Html:
    """A page that its scripts load again now and then."""
    return element("div", joined(parts), feed, class_="grid", data_refresh=2)


async def _state(view: AdminView, target: Target) -> Html:
    try:
        state = await peek(view.store, target)
    except StoreDown as down:
        return panel("counter", "Counter", quiet(unavailable(down).detail))
    used, most = state["used"], state["limit"]
    near = {"low": 0.8 * most, "high": 0.999 * most, "optimum": 0}
    meter = element("meter", f"{used} of {most}", value=used, max=most, **near, aria_label="used")
    override, shadow = state.get("override"), state.get("shadow")
    pairs = (
        ("used", joined((f"{state['used']:,} of {state['limit']:,} ", meter))),
        ("left", f"{state['remaining']:,}"),
        ("everything is back in", lasting(state["reset_s"])),
        ("one more in", lasting(state["retry_after_s"]) if state["retry_after_s"] else "now"),
        ("override", _override(override) if override else None),
        ("its shadow", f"{shadow['used']:,} of {shadow['limit']:,} used" if shadow else None),
        ("counted in", state["store"]),
    )
    return panel("counter", "Counter", facts(pairs))


def _override(override: Document) -> str:
    until = lasting(override["ends_in_s"])
    return f"{override['limit']:,} instead of {override['instead_of']:,} for {until}: {override['reason']}"


def _rule(limit: Limit) -> Html:
    pairs = (
        ("allows", use.amount(limit)),
        ("algorithm", limit.algorithm.value.replace("_", " ")),
        ("counts by", ", ".join(limit.key) or "everybody together"),
        ("when the store is down", limit.on_store_error.value),
        ("defined at", limit.source),
    )
    return panel("rule", "Limit", facts(pairs), element("p", link("/limits", "All limits")))


async def _minutes(view: AdminView, partition: str) -> list[list[int]]:
    """[minute, calls, refused, refused in shadow] of all workers, the oldest first."""
    answers = await view.siblings.ask_all("minutes", {"partition": partition}, timeout_s=ANSWER_S)
    sums: dict[int, Counter[int]] = {}
    for one in answers:
        for minute, *counts in () if one.missing else one.payload["minutes"]:
            sums.setdefault(minute, Counter()).update(dict(enumerate(counts)))
    return [[minute, *(sums[minute][at] for at in range(3))] for minute in sorted(sums)]


def _past(minutes: list[list[int]]) -> Html:
    columns = [(minute * 60, calls - refused, refused) for minute, calls, refused, _ in minutes]
    drawn = chart("Calls by minute", "a minute", ("passed", "refused"), columns, bars=True)
    rows = [(moment_of(one[0] * 60), *map(number, one[1:])) for one in reversed(minutes)]
    text = table("By minute, UTC", ("minute", "calls", "refused", "in shadow"), rows, numbers=(1, 2, 3))
    note = quiet("Of each minute the 200 heaviest callers are remembered; the others count as 0.")
    return panel("past", "The last quarter of an hour", drawn, text, note, wide=True)
