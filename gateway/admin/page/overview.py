"""The overview: everything at a glance, for the first answer and for keeping it up to date."""

import asyncio
from collections.abc import Mapping
from typing import Any

from gateway.admin.operations.status import added_up, overview
from gateway.admin.operations.top import heaviest
from gateway.admin.page import charts, figures, modules, trouble, use
from gateway.admin.page.markup import Html, element, joined
from gateway.admin.page.past import added
from gateway.admin.page.tables import quiet
from gateway.admin.view import ANSWER_S, AdminView

EVENTS_SHOWN = 20

Document = dict[str, Any]


async def gathered(view: AdminView) -> Document:
    """What all workers and the store know, for one moment."""
    facts, requests, points, events = await asyncio.gather(
        overview(view), heaviest(view, "requests", use.CALLERS_SHOWN), past(view), recent(view)
    )
    return {**facts, "top_requests": requests, "points": points, "events": events}


async def lately(view: AdminView) -> Document:
    """How limits were used in the last ten seconds, all workers added up."""
    answers = await view.siblings.ask_all("report", {}, timeout_s=ANSWER_S)
    return added_up([one.payload["lately"] for one in answers if not one.missing])


async def past(view: AdminView) -> list[Document]:
    """The points of the last quarter of an hour, all workers added up."""
    answers = await view.siblings.ask_all("history", {}, timeout_s=ANSWER_S)
    return added(point for one in answers if not one.missing for point in one.payload["points"])


async def recent(view: AdminView, *about: Mapping[str, str]) -> list[Document]:
    """The last events first; those whose fields have all the values of one of `about`, if there are any."""
    asked = {"about": about, "most": EVENTS_SHOWN}
    answers = await view.siblings.ask_all("events", asked, timeout_s=ANSWER_S)
    found = [line for one in answers if not one.missing for line in one.payload["events"]]
    return sorted(found, key=lambda line: str(line["timestamp"]), reverse=True)[:EVENTS_SHOWN]


def sections(view: AdminView, facts: Document) -> dict[str, Html]:
    """The parts of the page by their id, in order."""
    requests = facts["top_requests"]
    return {
        "notices": figures.notices(facts),
        "figures": figures.figures(facts),
        "past": charts.charts(facts["points"]),
        "connections": trouble.connections(facts["connections"]),
        "breakers": trouble.breakers(facts["breakers"]),
        "upstreams": use.upstreams(facts["upstreams"]),
        "limits": use.limits(facts, view.policies.limits),
        "callers": use.callers(facts["top_rejected"], requests["callers"], requests["over_s"]),
        "tokens": modules.tokens(facts["credentials"]),
        "caches": modules.caches(facts["cache"]),
        "webhooks": modules.webhooks(facts["webhooks"]),
        "store": trouble.store(facts["store"]),
        "workers": trouble.workers(facts["workers"]),
        "reloads": trouble.reloads(facts["reloads"]),
        "events": trouble.events(facts["events"]),
    }


def body(view: AdminView, facts: Document) -> Html:
    """All of it, with the place where the feed begins when there are scripts."""
    return element("div", joined(sections(view, facts).values()), feed(), class_="grid", data_stream="/live")


def feed(tenant: str | None = None, connection: str | None = None) -> Html:
    """Calls as they happen, those of a tenant or connection; the scripts fill it, and without them it says what can."""
    instead = (element("code", "gateway tail"), " shows them in a terminal.")
    without = element("noscript", quiet(joined(("Calls as they happen need JavaScript here; ", *instead))))
    title = element("h2", "Calls as they happen")
    return element(
        "section",
        *(title, without),
        id="feed",
        class_="panel wide",
        data_feed="/-/stream",
        data_tenant=tenant,
        data_connection=connection,
    )
