"""Breakers: the list, the page of one, and holding it by hand: asked first, done by POST, on record."""

from typing import Any
from urllib.parse import quote, unquote

from aiohttp import web

from gateway.admin.endpoint import segments
from gateway.admin.operations.breaker_orders import obey, standing
from gateway.admin.operations.breakers import Target, breaker_documents, find, read_force
from gateway.admin.operations.keys import in_words
from gateway.admin.operations.status import troubled
from gateway.admin.page import layout, overview, trouble
from gateway.admin.page.caller import REFRESH_S, TYPING_S, refreshed, search
from gateway.admin.page.login import read_form
from gateway.admin.page.markup import Html, element, joined
from gateway.admin.page.paths import known_as, naming, partition_of, path_of, said, typed, values_of
from gateway.admin.page.tables import facts, panel, table
from gateway.admin.page.words import NOTHING, lasting, share
from gateway.admin.problems import AdminProblem
from gateway.admin.tokens import check_may_change
from gateway.admin.view import AdminView
from gateway.core.grant import MAX_REASON_CHARS
from gateway.core.guards import Guard
from gateway.core.keys import readable

BEHIND = "/breakers/"
WORDS = {
    "open": ("Hold it open", "No calls pass, whatever the breaker would decide."),
    "closed": ("Hold it closed", "All calls pass, whatever the breaker would decide."),
    "auto": ("Give it back", "The breaker decides for itself again."),
}

Document = dict[str, Any]


async def every(view: AdminView, _request: web.Request) -> web.StreamResponse:
    """Every breaker of the loaded set; those not closed first."""
    rules = breaker_documents(view.policies)
    rows = [
        (
            rule["name"],
            ", ".join(rule["key"]) or "everybody together",
            rule["scope"],
            _trips(rule),
            lasting(rule["open_for_s"]),
            ", ".join(rule["routes"]) or NOTHING,
            rule["source"],
        )
        for rule in rules
    ]
    heads = ("breaker", "counts by", "scope", "opens when", "for", "routes", "defined at")
    listed = table("Of the loaded policies", heads, rows, none="There are none.")
    not_closed = trouble.breakers(await troubled(view), alone=True)
    found = (not_closed, panel("all-breakers", "All breakers", listed, wide=True))
    return layout.page(view, "Breakers", refreshed(*found, feed=_search(view)), path="/breakers", refresh_s=TYPING_S)


def _trips(rule: Document) -> str:
    found = []
    if "consecutive_failures" in rule:
        found.append(f"{rule['consecutive_failures']} fail in a row")
    if "failure_rate" in rule:
        found.append(f"{share(rule['failure_rate'])} fail")
    if "slow_rate" in rule:
        found.append(f"{share(rule['slow_rate'])} take over {lasting(rule['slow_s'])}")
    return " or ".join(found)


def _search(view: AdminView) -> Html | None:
    if not view.policies.breakers:
        return None
    keys = {name: breaker.key for name, breaker in view.policies.breakers.items()}
    return search("Look up a breaker", "Breaker", keys, action="/breaker")


async def look_up(view: AdminView, request: web.Request) -> web.StreamResponse:
    """On to the page of the breaker that the form names."""
    name, key = request.query.get("breaker", ""), request.query.get("key", "")
    breaker = view.policies.breakers.get(name)
    words = typed(key, len(breaker.key)) if breaker is not None else []
    target = find(view.policies, [quote(name, safe=""), *words])
    return layout.to(naming("breakers", target.guard.key, target.parts))


def _target(view: AdminView, request: web.Request) -> Target:
    """The circuit that a request below `/breakers/` names. Raises AdminProblem."""
    words = segments(request, BEHIND)
    name = unquote(words[0])
    breaker = view.policies.breakers.get(name)
    if breaker is None:
        raise AdminProblem(404, "NO_SUCH_BREAKER", f"There is no breaker {name!r} any more.")
    key = partition_of(f"breaker:{name}", breaker.key, words[1:])
    known = dict.fromkeys(breaker.key, said(request))
    return Target(values_of(breaker.key, words[1:], known), Guard(breaker, key))


async def one(view: AdminView, request: web.Request) -> web.StreamResponse:
    """How it stands; with `?hold=open` the question whether to hold it so."""
    target, hold = _target(view, request), request.query.get("hold", "")
    document = await standing(view, target)
    path, known, names = path_of("breakers", target.guard.key), said(request), in_words(target.parts)
    about = {"breaker": target.guard.rule.name, "caller": readable(target.guard.key)}
    parts = [_standing(document, trouble.force_buttons(path, known)), _workers(document)]
    if hold in WORDS:
        check_may_change(request)
        parts.insert(0, _question(path + known_as(known), hold, f"{target.guard.rule.name} of {names}"))
    body = joined((*parts, trouble.events(await overview.recent(view, about), title="Events about it")))
    title = f"Breaker {target.guard.rule.name}: {names}"
    if hold in WORDS:  # while somebody reads a question, it stays
        return layout.page(view, title, element("div", body, class_="grid"))
    return layout.page(view, title, refreshed(body), refresh_s=REFRESH_S)


def _standing(document: Document, buttons: Html) -> Html:
    if "state" not in document:
        return panel("standing", "Held by each worker for itself", buttons)
    next_s = document.get("next_probe_s")
    pairs = (
        ("state", trouble.state(document["state"])),
        ("why", trouble.reason(document) or "nothing has happened"),
        (
            "counted",
            f"{document['calls']} calls, {document['failed']} failed, {document['slow']} slow"
            if "calls" in document
            else None,
        ),
        ("next probe", f"in {lasting(next_s)}" if next_s else None),
    )
    return panel("standing", "State", facts(pairs), buttons)


def _workers(document: Document) -> Html | None:
    if "workers" not in document:
        return None
    rows = [
        (one["worker"], one.get("state", one.get("missing", "")), trouble.reason(one) or NOTHING)
        for one in document["workers"]
    ]
    return panel("workers", "Workers", table("Each has its own", ("worker", "state", "why"), rows))


def _question(path: str, hold: str, what: str) -> Html:
    """The form that does it."""
    title, meaning = WORDS[hold]
    spans = ("1m", "10m", "1h", "8h")
    options = (element("option", one, value=one, selected=one == "10m") for one in spans)
    duration = element("label", "For how long", for_="ttl"), element("select", *options, name="ttl", id="ttl")
    why = (
        element("label", "Why, for the record", for_="reason"),
        element("input", name="reason", id="reason", maxlength=MAX_REASON_CHARS, autocomplete="off"),
    )
    form = element(
        "form",
        element("p", element("b", what), ". ", meaning, " On all gateways that share the store; it is on record."),
        element("span", *duration, class_="asked") if hold != "auto" else None,
        element("span", *why, class_="asked"),
        element("input", type="hidden", name="state", value=hold),
        element("button", f"Yes, {title[0].lower()}{title[1:]}", class_="act"),
        element("a", "No", href=path, class_="button", data_cancel=True),
        method="post",
        action=path,
    )
    return element("section", element("h2", f"{title}?"), form, id="question", class_="panel wide ask")


async def hold(view: AdminView, request: web.Request) -> web.StreamResponse:
    """The form of a breaker's page: hold the breaker, or give it back; then show the page again."""
    target = _target(view, request)
    sent = read_form(request)
    order = {"state": sent.get("state", "")}
    if order["state"] != "auto":
        order["ttl"] = sent.get("ttl", "")
    if reason := sent.get("reason", "").strip():
        order["reason"] = reason
    await obey(view, request, target, read_force(order))
    return layout.to(naming("breakers", target.guard.key, target.parts))
