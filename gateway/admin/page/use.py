"""Who uses what: upstreams, limits, and the callers that call or are refused most."""

from collections.abc import Mapping, Sequence
from typing import Any

from gateway.admin.operations.describe import limit_document
from gateway.admin.page.markup import Html, element
from gateway.admin.page.paths import path_of
from gateway.admin.page.tables import link, mark, panel, quiet, table
from gateway.admin.page.words import NOTHING, lasting, milliseconds, number, share, whose
from gateway.core.limits import Limit

Document = dict[str, Any]
SHOWN = 20
CALLERS_SHOWN = 10
USE_HEADS = ("limit", "allows", "asked / s", "refused / s", "refused", "in shadow / s")


UPSTREAM_HEADS = ("upstream", "calls / s", "failed", "why", "median", "p99")


def upstreams(found: Sequence[Document]) -> Html:
    """How those did that were asked lately, the one that failed most first."""
    rows = [upstream_row(one) for one in found[:SHOWN]]
    text = table("Of the last ten seconds", UPSTREAM_HEADS, rows, numbers=(1, 4, 5), none="None was asked.")
    more = quiet(f"{len(found) - SHOWN} more were asked.") if len(found) > SHOWN else None
    return panel("upstreams", "Upstreams", text, more, wide=True)


def upstream_row(one: Document) -> tuple[object, ...]:
    """How one upstream did; what failed is a 5xx or no answer. Refused credentials are no failures, and need a look."""
    failed, denied, latency = one["failed"], one["denied"], one["latency"]
    why = [f"{reason.replace('_', ' ')} {count:,}" for reason, count in one["why"].items()]
    if denied:
        why.append(f"401 or 403 {denied:,}")
    known = latency["count"]
    return (
        one["upstream"],
        number(one["calls_per_s"]),
        mark("bad", share(failed / one["calls"])) if failed else mark("warn" if denied else "good", "none"),
        ", ".join(why) or NOTHING,
        milliseconds(latency["p50_ms"]) if known else NOTHING,
        milliseconds(latency["p99_ms"]) if known else NOTHING,
    )


def limits(facts: Document, rules: Mapping[str, Limit]) -> Html:
    """Those that were asked lately, the one that refused most first."""
    used = facts["limits"]
    rows = [use_row(one, rules.get(one["limit"]), facts["over_s"]) for one in used[:SHOWN]]
    text = table("Of the last ten seconds", USE_HEADS, rows, numbers=range(2, 6), none="No calls lately.")
    more = f"All {len(rules)} limits" + (f"; {len(used) - SHOWN} more were asked" if len(used) > SHOWN else "")
    return panel("limits", "Limits by use", text, element("p", link("/limits", more)), wide=True)


def use_row(one: Document, rule: Limit | None, over_s: float) -> tuple[object, ...]:
    """How one limit was used."""
    asked, refused = one["asked"], one.get("limited", 0)
    per_s = 1 / over_s if over_s else 0.0
    return (
        one["limit"],
        amount(rule) if rule else "",
        number(asked * per_s),
        number(refused * per_s),
        _bar(refused / asked if asked else 0.0),
        number(one.get("shadow_limited", 0) * per_s),
    )


def _bar(part: float) -> Html:
    full = element("rect", width=round(part * 100, 1), height=8, class_="full")
    empty = element("rect", width=100, height=8, class_="empty")
    drawn = element("svg", empty, full, viewBox="0 0 100 8", class_="bar", aria_hidden="true")
    return element("span", drawn, share(part), class_="share")


def amount(limit: Limit) -> str:
    """What a limit allows: `500 per 10 min`."""
    document = limit_document(limit)
    kind = document["algorithm"]
    text = f"{limit.quota:,}"
    if kind == "concurrency":
        text += " at a time"
    elif kind == "token_bucket":
        text += f", {document['rate']:,} back per {lasting(document['per_s'])}"
    else:
        text += f" per {document.get('window') or lasting(document['window_s'])}"
    return text + ("" if document["mode"] == "enforce" else f" ({document['mode']})")


def callers(rejected: Sequence[Document], requests: Sequence[Document], over_s: float) -> Html:
    """Those that are refused most, and those that call most."""
    over = f"last {lasting(over_s)}"
    refused = _callers(f"Refused most, {over}", "refused", rejected)
    calling = _callers(f"Calls most, {over}", "calls", requests)
    return panel(
        "callers", "Heavy callers", element("div", refused, calling, class_="two-up" if rejected else None), wide=True
    )


def _callers(caption: str, what: str, found: Sequence[Document]) -> Html:
    rows = [
        (
            link(path_of("callers", one["partition"]), whose(one["key"])),
            one["limit"],
            number(one["count"]),
            number(one["per_s"]),
        )
        for one in found[:CALLERS_SHOWN]
    ]
    heads = ("caller", "limit", what, f"{what} / s")
    return element("div", table(caption, heads, rows, numbers=(2, 3), none=f"{caption}: nobody."))
