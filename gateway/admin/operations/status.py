"""How the gateway is doing, as one document: what its workers report, added up, and what the store knows."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from aiohttp import web

from gateway import __version__
from gateway.admin.endpoint import Endpoint, Schema
from gateway.admin.operations.cache import standing
from gateway.admin.operations.connections import summary
from gateway.admin.operations.guards import breaker_document
from gateway.admin.operations.top import heaviest
from gateway.admin.problems import answer
from gateway.admin.view import ANSWER_S, AdminView, Reloads
from gateway.core.connections.state import ConnectionState
from gateway.core.decision import Kept
from gateway.core.guards import Guard
from gateway.core.guards.breaker import Circuit
from gateway.core.keys import readable
from gateway.modules.hooks import as_document
from gateway.observe.reports.reloads import TOLD, fields_of
from gateway.store import StoreDown

SHOWN = 20
STAGES = {
    "total": "gateway_request_duration_seconds",
    "gateway": "gateway_request_overhead_seconds",
    "store": "gateway_store_operation_seconds",
    "upstream": "gateway_upstream_duration_seconds",
}
REFUSALS = ("limit", "breaker", "pause")
ADDED_UP = frozenset({"lately", "reloads", "credentials", "cache"})
TROUBLED = [state for state in ConnectionState if state is not ConnectionState.ONLINE]

Document = dict[str, Any]


async def status(view: AdminView, _request: web.Request) -> web.StreamResponse:
    """`GET /-/status`: the overview as JSON."""
    return answer(await overview(view))


async def overview(view: AdminView) -> Document:
    """What all workers say, added up, and what the store knows."""
    answers, store, connections, breakers, rejected = await asyncio.gather(
        view.siblings.ask_all("report", {}, timeout_s=ANSWER_S),
        _store(view),
        _connections(view),
        troubled(view),
        heaviest(view, "rejected", SHOWN),
    )
    reports = [one.payload for one in answers if not one.missing]
    return {
        "name": view.settings.name,
        "version": __version__,
        "policy_version": view.policies.version,
        "loaded_at": view.policies.loaded_at,
        "switches": view.switches.state(),
        **added_up([report["lately"] for report in reports]),
        "in_flight": sum(report["in_flight"] for report in reports),
        "open_sockets": sum(report["open_sockets"] for report in reports),
        "store": store,
        "connections": connections,
        "credentials": credentials([report["credentials"] for report in reports if "credentials" in report]),
        "cache": caches(view, [report["cache"] for report in reports if "cache" in report]),
        "webhooks": webhooks(view),
        "breakers": breakers,
        "top_rejected": rejected["callers"],
        "reloads": _reloads(view, reports),
        "workers": [_worker(report) for report in reports],
        "missing": [{"worker": one.worker, "reason": one.missing} for one in answers if one.missing],
    }


def _worker(report: Document) -> Document:
    lately = added_up([report["lately"]])
    return {
        **{name: value for name, value in report.items() if name not in ADDED_UP},
        **lately,
    }


def added_up(latelies: Sequence[Document]) -> Document:
    """Rates of calls, where time went, and how limits were used, over the last ten seconds."""
    over_s = max([lately["over_s"] for lately in latelies], default=0.0)
    sources: Counter[str] = Counter()
    classes: Counter[str] = Counter()
    decisions: dict[str, Counter[str]] = {}
    upstreams: dict[str, list[Document]] = {}
    for lately in latelies:
        for source, hundreds, count in lately["outcomes"]:
            sources[source] += count
            classes[f"{hundreds}xx"] += count
        for limit, decision, count in lately["decisions"]:
            decisions.setdefault(limit, Counter())[decision] += count
        for one in lately["upstreams"]:
            upstreams.setdefault(one["upstream"], []).append(one)
    calls, refused = sources.total(), sum(sources[one] for one in REFUSALS)
    return {
        "over_s": round(over_s, 3),
        "calls": calls,
        "calls_per_s": _per(calls, over_s),
        "refused_share": _per(refused, calls),
        "by_source": dict(sources),
        "by_status": dict(classes),
        "latency": {name: _stage([one["stages"].get(metric) for one in latelies]) for name, metric in STAGES.items()},
        "upstreams": _by_trouble(upstreams, over_s),
        "limits": _by_use(decisions),
    }


def credentials(parts: Sequence[Document]) -> Document:
    """Tokens for upstreams: each that fails once, whichever worker says it."""
    failing = {one["credentials"]: one for part in parts for one in part["failing"]}
    return {
        "count": max([part["count"] for part in parts], default=0),
        "with_token": max([part["with_token"] for part in parts], default=0),
        "renewals": sum(part["renewals"] for part in parts),
        "failing": [*failing.values()][:SHOWN],
    }


def caches(view: AdminView, parts: Sequence[Document]) -> list[Document]:
    """Routes that keep answers: how much in the workers, and how calls were answered since these began."""
    routes = [route for route in view.policies.routes if route.cache is not None][:SHOWN]
    return [{name: value for name, value in standing(route, parts).items() if name != "store"} for route in routes]


def webhooks(view: AdminView) -> list[Document]:
    """What waits for whom, as this worker last looked: some seconds ago. The fullest first."""
    queues = view.hooks.queues if view.hooks is not None else {}
    found = [as_document(name, queue, queue.seen) for name, queue in queues.items() if queue.seen is not None]
    return sorted(found, key=lambda one: (-one["dead"], -one["waiting"], one["receiver"]))[:SHOWN]


def _per(count: float, of: float) -> float:
    return round(count / of, 4) if of else 0.0


def _by_use(decisions: dict[str, Counter[str]]) -> list[Document]:
    """The one that refused most first, then the one that was asked most."""
    rows = [{"limit": limit, "asked": counts.total(), **counts} for limit, counts in decisions.items()]
    return sorted(rows, key=lambda row: (-int(row.get("limited", 0)), -int(row["asked"]), row["limit"]))


def _by_trouble(upstreams: dict[str, list[Document]], over_s: float) -> list[Document]:
    """How those did that were asked: the one that failed most first, then the one that was asked most."""
    rows = []
    for name, parts in upstreams.items():
        counts = {what: sum(part[what] for part in parts) for what in ("calls", "failed", "denied")}
        why = sum((Counter(part["why"]) for part in parts), Counter[str]())
        latency = _stage([part["waits"] for part in parts])
        per_s = {"calls_per_s": _per(counts["calls"], over_s)}
        rows.append({"upstream": name, **counts, **per_s, "why": dict(why.most_common()), "latency": latency})
    return sorted(rows, key=lambda row: (-row["failed"], -row["calls"], row["upstream"]))


def _stage(parts: Iterable[Document | None]) -> Document:
    """Mean and quantiles, as far as buckets tell them. No observations: only `count`."""
    known = [part for part in parts if part is not None]
    counts = [sum(column) for column in zip(*(part["counts"] for part in known), strict=True)]
    total = sum(counts)
    if not total:
        return {"count": 0}
    bounds_s = known[0]["bounds_s"]
    mean_ms = round(sum(part["sum_s"] for part in known) / total * 1e3, 3)
    return {"count": total, "mean_ms": mean_ms, **{f"p{q}_ms": _quantile(counts, bounds_s, q) for q in (50, 99)}}


def _quantile(counts: Sequence[int], bounds_s: Sequence[float], percent: int) -> float:
    """Between the bounds of its bucket, as if its observations were spread evenly; beyond the last: that one."""
    rank, below = sum(counts) * percent / 100, 0
    for position, bound_s in enumerate(bounds_s):
        if below + counts[position] >= rank and counts[position]:
            low_s = bounds_s[position - 1] if position else 0.0
            return round((low_s + (bound_s - low_s) * (rank - below) / counts[position]) * 1e3, 3)
        below += counts[position]
    return round(bounds_s[-1] * 1e3, 3)


def _reloads(view: AdminView, reports: Sequence[Document]) -> list[Document]:
    """Each once, though every worker tells of it; the last one first. The last one is known also when the worker that
    led it is not there any more, and what workers began with is no reload that could be later than that."""
    found = [one for report in reports for one in report["reloads"]]
    if (last := last_reload(view.reload)) is not None:
        found.append(last)
    newest = sorted(found, key=lambda one: ("reload_by" in one, str(one["timestamp"])))
    seen: dict[tuple[str, str], Document] = {}
    for one in reversed(newest):
        seen.setdefault((one["event_name"], str(one.get("version", one.get("errors")))), one)
    return [{"errors": [], "reason": "", **one} for one in seen.values()]


def last_reload(reloads: Reloads) -> Document | None:
    """What came of it, as the event that told of it."""
    if reloads.last is None:
        return None
    told = reloads.last.as_dict()
    return {"timestamp": told["at"], "event_name": TOLD[told["result"]][0], **fields_of(told)}


async def _store(view: AdminView) -> Document:
    document = dict(view.store_status())
    try:
        document["round_trip_ms"] = round(await view.store.ping() * 1e3, 3)
    except StoreDown as down:
        document["error"] = down.kind
    return document


async def _connections(view: AdminView) -> Document:
    try:
        page = await view.statuses.page(TROUBLED, "", SHOWN)
    except StoreDown as down:
        return {"error": down.kind, "not_online": []}
    return {"not_online": [summary(one) for one in page.statuses], "more": bool(page.after)}


async def troubled(view: AdminView, only: str = "") -> Document:
    """The breakers that are not closed, those of `scope: local` apart; `only` those of one name."""
    rules = view.policies.breakers
    try:
        every = [(key.split(":", 2)[1], key) for key in await view.store.troubled()]
        keys = [(name, key) for name, key in every if only in ("", name)]
        guards = [Guard(rules[name], key) for name, key in keys[:SHOWN] if name in rules]
        now_us, kept = await view.store.guards(guards) if guards else (0, ())
    except StoreDown as down:
        return {"error": down.kind, "not_closed": []}
    stand = {guard.key: _standing(guard, one, now_us) for guard, one in zip(guards, kept, strict=True)}
    shown = [
        {"breaker": name, "key": readable(key), "partition": key, **stand.get(key, {})} for name, key in keys[:SHOWN]
    ]
    return {"not_closed": shown, "more": len(keys) > SHOWN}


def _standing(guard: Guard, kept: Kept, now_us: int) -> Document:
    """Nothing is known of a breaker that the loaded set no longer has."""
    settled = kept.settled(guard.rule, now_us)
    standing = settled.standing(guard.rule, now_us)
    assert isinstance(settled, Circuit), "a breaker's guard keeps circuits"
    document = breaker_document(guard.rule.name, settled, standing, now_us)
    return {name: value for name, value in document.items() if name != "name"}


STATUS: Schema = {
    "type": "object",
    "required": [
        *("name", "version", "policy_version", "calls_per_s", "refused_share", "latency", "limits", "store"),
        *("upstreams", "connections", "breakers", "top_rejected", "reloads", "workers", "missing", "switches"),
    ],
    "properties": {
        "calls_per_s": {"type": "number", "minimum": 0},
        "refused_share": {"type": "number", "minimum": 0, "maximum": 1},
        "upstreams": {"type": "array", "items": {"type": "object", "required": ["upstream", "calls", "failed", "why"]}},
        "workers": {"type": "array", "items": {"type": "object", "required": ["worker", "pid", "uptime_s"]}},
    },
}
ENDPOINTS = (
    Endpoint(
        "GET",
        "/-/status",
        status,
        "How the gateway is doing: all workers added up, and each; the store, limits, upstreams, connections, reloads.",
        answers={200: STATUS},
    ),
)
