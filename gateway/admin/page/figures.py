"""What stands at the top of the overview: the numbers of now, and what somebody has to know first."""

from collections.abc import Iterator
from typing import Any

from gateway.admin.page.markup import Html, element
from gateway.admin.page.words import NOTHING, lasting, milliseconds, number, share
from gateway.observe.log.events import IN_FORCE, errors_of

Document = dict[str, Any]


def figures(facts: Document) -> Html:
    """Calls, refusals, failures, latency: of the last ten seconds."""
    failed = sum(count for name, count in facts["by_status"].items() if name == "5xx")
    refused = facts["refused_share"]
    shown = [
        _figure("calls / s", number(facts["calls_per_s"])),
        _figure("refused", share(refused), "warn" if refused >= 0.2 else None),
        _figure("5xx", share(failed / facts["calls"] if facts["calls"] else 0.0), "bad" if failed else None),
        _figure("in flight", number(facts["in_flight"])),
        *(_latency(name, facts["latency"][name]) for name in ("gateway", "store", "upstream")),
    ]
    return element("section", element("h2", "Now", class_="away"), element("dl", *shown), id="figures", data_live=True)


def _figure(name: str, value: str, kind: str | None = None, more: str | None = None) -> Html:
    detail = element("dd", more, class_="more") if more else None
    return element("div", element("dt", name), element("dd", value, class_=kind), detail)


def _latency(name: str, stage: Document) -> Html:
    if not stage["count"]:
        return _figure(name, NOTHING, more="no calls")
    return _figure(name, milliseconds(stage["p50_ms"]), more=f"p99 {milliseconds(stage['p99_ms'])}")


def notices(facts: Document) -> Html:
    """What somebody has to know before everything else."""
    found = list(_notices(facts))
    return element("div", *found, id="notices", data_live=True, role="status")


def _notices(facts: Document) -> Iterator[Html]:
    store = facts["store"]
    if not store.get("up", True):
        why = store.get("detail") or store.get("reason") or "it does not answer"
        since = lasting(float(store.get("down_s", 0)))
        yield _notice(
            "bad", f"The store has been down for {since}: {why}. Each limit does what its on_store_error says."
        )
    newest = facts["reloads"][0] if facts["reloads"] else None
    if newest is not None and newest["event_name"] not in IN_FORCE:
        yield _notice("bad", *_why_not(newest))
    tokens = [
        f"{one['credentials']} ({one['reason']})" for one in facts["credentials"]["failing"] if not one["serving"]
    ]
    if tokens:
        yield _notice("bad", f"Calls are refused for want of a token: {', '.join(tokens)}.")
    if facts["switches"].get("draining"):
        yield _notice("warn", "Draining: readiness fails, calls that come are served.")
    for one in facts["missing"]:
        yield _notice("bad", f"Worker {one['worker']} does not answer: {one['reason']}.")


def _why_not(reload: Document) -> Iterator[object]:
    first, *others = errors_of(reload)
    yield "The last reload was rejected: " if reload["event_name"] == "policy.rejected" else "The last reload failed: "
    yield from (element("code", first), f" and {len(others)} more" if others else "", ". ")
    yield from ("The policies from before stay in force (", element("a", "reloads", href="#reloads"), ").")


def _notice(kind: str, *text: object) -> Html:
    return element("p", *text, class_=f"notice {kind}")
