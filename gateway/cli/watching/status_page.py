"""`gateway status --watch` on a terminal: what is wrong first, and as much of the rest as there is room for."""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from gateway.cli.showing.text import counted, plain, whose
from gateway.cli.watching.drawn import BAD, DIM, GOOD, Fitted, Section, curve
from gateway.cli.watching.members import (
    UPSTREAM_TITLES,
    breaker_text,
    caller_rows,
    failure_text,
    ms,
    store_text,
    upstream_rows,
)
from gateway.observe.log.events import IN_FORCE, errors_of

Document = dict[str, Any]
KEPT = 60


class StatusPage:
    """The document of `GET /-/status` as a page, with what it said before as curves."""

    def __init__(self) -> None:
        self._calls: deque[float] = deque(maxlen=KEPT)
        self._refused: deque[float] = deque(maxlen=KEPT)
        self._p99_ms: deque[float] = deque(maxlen=KEPT)

    def __call__(self, found: Document) -> RenderableType:
        self._calls.append(found["calls_per_s"])
        self._refused.append(found["refused_share"])
        self._p99_ms.append(found["latency"].get("total", {}).get("p99_ms", 0.0))
        head = [
            _head(found),
            Text(),
            _curve("calls", f"{found['calls_per_s']:,.1f} a second", self._calls),
            _curve("refused", f"{found['refused_share']:.1%}", self._refused, BAD),
            _curve("p99", f"{self._p99_ms[-1]:,.1f} ms", self._p99_ms, "cyan"),
            Text(f"{'p50/p99':<9}{latency_text(found['latency'])}"),
            _store(found["store"]),
            *(Text(plain(text), BAD) for text in _alarms(found)),
            Text(),
        ]
        return Fitted(head, [one for one in (*_troubles(found), *_use(found)) if one.rows])


def _head(found: Document) -> Text:
    text = Text()
    text.append(f"{plain(found['name'])} {found['version']}", "bold")
    text.append(f"   {time.strftime('%H:%M:%S')}   {counted(len(found['workers']), 'worker')}", DIM)
    if found["missing"]:
        text.append(f", {len(found['missing'])} do not answer", BAD)
    text.append(f"   policy {found['policy_version']}", DIM)
    text.append(f"   {found['in_flight']} in flight", DIM)
    if found["switches"]["draining"]:
        text.append("   draining", BAD)
    return text


def _curve(name: str, value: str, values: Sequence[float], style: str = GOOD) -> Text:
    text = Text(f"{name:<9}{value:>18}  ", no_wrap=True)
    return text.append(curve(values), style)


def _store(store: Document) -> Text:
    text, well = store_text(store)
    return Text(f"{'store':<9}").append(text, GOOD if well else BAD)


def latency_text(latency: Document) -> str:
    """What half and 99 % of the calls were under, for each part of the way that was gone."""
    parts = (f"{name} {ms(one['p50_ms'])}/{ms(one['p99_ms'])}" for name, one in latency.items() if one["count"])
    text = " · ".join(parts)
    return f"{text} ms" if text else "no calls lately"


def _alarms(found: Document) -> Iterator[str]:
    """What concerns all calls, or many."""
    for one in found["missing"]:
        yield f"{'worker':<9}{one['worker']} does not answer: {one['reason']}"
    reload = next(iter(found["reloads"]), None)
    if reload is not None and reload["event_name"] not in IN_FORCE:
        first, *others = errors_of(reload)
        more = f" (and {len(others)} more)" if others else ""
        result = reload["event_name"].partition(".")[2]
        yield f"{'reload':<9}{result} at {reload['timestamp'][11:19]}: {first}{more}"
    for one in found.get("credentials", {}).get("failing", []):
        yield f"{'token':<9}{one['credentials']}: {one['reason']}" + ("" if one["serving"] else ", calls are refused")


def _troubles(found: Document) -> Iterator[Section]:
    breakers = [[one["breaker"], whose(one["key"]), *breaker_text(one)] for one in found["breakers"]["not_closed"]]
    yield Section(("breaker", "of", "state", "why"), breakers, found["breakers"].get("more", False))
    connections = [
        [one["connection"], one["state"], one["since"][11:19], one.get("tenant") or "-", failure_text(one)]
        for one in found["connections"]["not_online"]
    ]
    titles = ("connection", "state", "since", "tenant", "why")
    yield Section(titles, connections, found["connections"].get("more", False))
    queues = [one for one in found.get("webhooks", []) if one["dead"] or one["failures_in_a_row"]]
    rows = [[one["receiver"], one["waiting"], one["dead"], one["failures_in_a_row"]] for one in queues]
    yield Section(("webhooks not delivered", "waiting", "dead", "failures in a row"), rows)


def _use(found: Document) -> Iterator[Section]:
    limits = [
        [one["limit"], one["asked"], one.get("limited", 0), one.get("shadow_limited", 0), _share(one)]
        for one in found["limits"]
    ]
    yield Section(("upstream, of 10 s", *UPSTREAM_TITLES[1:]), upstream_rows(found))
    yield Section(("limit, of 10 s", "asked", "limited", "in shadow", "refused"), limits)
    yield Section(("refused most", "caller", "count", "per second"), caller_rows(found["top_rejected"]))
    caches = [
        [one["route"], f"{one['hit_ratio'] or 0:.0%}", one["hits"], one["misses"]] for one in found.get("cache", [])
    ]
    yield Section(("cache of", "from it", "hits", "misses"), caches)
    reloads = [[one["event_name"], one["timestamp"], one.get("version", "")] for one in found["reloads"][:3]]
    yield Section(("reload", "at", "version"), reloads)


def _share(one: Document) -> str:
    asked = one["asked"] or 1
    return f"{one.get('limited', 0) / asked:.0%}"
