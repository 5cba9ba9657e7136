"""`gateway status --watch` on a terminal: what is wrong first, and as much of the rest as there is room for."""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from gateway.cli.live import BAD, DIM, GOOD, columns, curve, store_text
from gateway.cli.table import plain, whose
from gateway.observe.log.events import IN_FORCE

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
    from rich.text import Text

Document = dict[str, Any]
KEPT = 60
WIDE = 160
"""Columns of a terminal that has room for two tables beside each other."""


class Section(NamedTuple):
    """A table: its titles, and all its rows."""

    titles: Sequence[str]
    rows: Sequence[Sequence[Any]]

    def lines(self, most: int) -> int:
        """With at most so many rows, what was left out and a blank line included."""
        return 2 + min(most, len(self.rows)) + (len(self.rows) > most)


class StatusPage:
    """The document of `GET /-/status` as a page, with what it said before as curves."""

    def __init__(self) -> None:
        self._calls: deque[float] = deque(maxlen=KEPT)
        self._refused: deque[float] = deque(maxlen=KEPT)
        self._p99_ms: deque[float] = deque(maxlen=KEPT)

    def __call__(self, found: Document) -> "RenderableType":
        from rich.text import Text

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
            Text(f"{'store':<9}").append(*store_text(found["store"])),
            *(Text(plain(text), BAD) for text in _alarms(found)),
            Text(),
        ]
        return Fitted(head, [one for one in (*_troubles(found), *_use(found)) if one.rows])


class Fitted:
    """Lines, and below them tables of which each gets its share of a terminal: long ones are cut, and say so."""

    def __init__(self, head: "Sequence[Text]", sections: Sequence[Section]) -> None:
        self._head = head
        self._sections = sections

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "RenderResult":
        from rich.table import Table

        yield from self._head
        taken = sum(len(line.wrap(console, options.max_width)) for line in self._head)
        room = max(3, (options.height or console.size.height) - taken)
        if options.max_width < WIDE:
            yield from _shown(self._sections, room)
            return
        beside = Table.grid(expand=True, padding=(0, 4, 0, 0))
        beside.add_column(ratio=1)
        beside.add_column(ratio=1)
        beside.add_row(*(_group(_shown(half, room)) for half in halves(self._sections)))
        yield beside


def _group(parts: "Iterator[RenderableType]") -> "RenderableType":
    from rich.console import Group

    return Group(*parts)


def halves(sections: Sequence[Section]) -> tuple[Sequence[Section], Sequence[Section]]:
    """Left and right, in order, about as long as each other."""
    whole = sum(one.lines(len(one.rows)) for one in sections)
    left = 0
    for at, one in enumerate(sections):
        left += one.lines(len(one.rows))
        if left * 2 >= whole:
            return sections[: at + 1], sections[at + 1 :]
    return sections, ()


def fitting(sections: Sequence[Section], room: int) -> int:
    """The most rows that each may have for all of them to fit, at least one."""
    most = max((len(one.rows) for one in sections), default=1)
    while most > 1 and sum(one.lines(most) for one in sections) > room + 1:  # no blank line below the last
        most -= 1
    return most


def _shown(sections: Sequence[Section], room: int) -> "Iterator[RenderableType]":
    from rich.text import Text

    most = fitting(sections, room)
    for section in sections:
        yield columns(section.titles, section.rows[:most])
        left_out = len(section.rows) - most
        if left_out > 0:
            yield Text(f"and {left_out:,} more", DIM)
        yield Text()


def _head(found: Document) -> "Text":
    from rich.text import Text

    text, workers = Text(), len(found["workers"])
    text.append(f"{plain(found['name'])} {found['version']}", "bold")
    text.append(f"   {time.strftime('%H:%M:%S')}   {workers} worker{'s' * (workers != 1)}", DIM)
    if found["missing"]:
        text.append(f", {len(found['missing'])} do not answer", BAD)
    text.append(f"   policy {found['policy_version']}", DIM)
    text.append(f"   {found['in_flight']} in flight", DIM)
    if found["switches"]["draining"]:
        text.append("   draining", BAD)
    return text


def _curve(name: str, value: str, values: Sequence[float], style: str = GOOD) -> "Text":
    from rich.text import Text

    text = Text(f"{name:<9}{value:>18}  ", no_wrap=True)
    return text.append(curve(values), style)


def latency_text(latency: Document) -> str:
    """What half and 99 % of the calls were under, for each part of the way that was gone."""
    parts = (f"{name} {_ms(one['p50_ms'])}/{_ms(one['p99_ms'])}" for name, one in latency.items() if one["count"])
    text = " · ".join(parts)
    return f"{text} ms" if text else "no calls lately"


def _ms(value: float) -> str:
    return f"{value:.2g}" if value < 100 else f"{value:,.0f}"


def _alarms(found: Document) -> Iterator[str]:
    """What concerns all calls, or many."""
    reload = next(iter(found["reloads"]), None)
    if reload is not None and reload["event_name"] not in IN_FORCE:
        first, *others = errors_of(reload)
        more = f" (and {len(others)} more)" if others else ""
        result = reload["event_name"].partition(".")[2]
        yield f"{'reload':<9}{result} at {reload['timestamp'][11:19]}: {first}{more}"
    for one in found.get("credentials", {}).get("failing", []):
        yield f"{'token':<9}{one['credentials']}: {one['reason']}" + ("" if one["serving"] else ", calls are refused")


def _troubles(found: Document) -> Iterator[Section]:
    breakers = [[one["breaker"], whose(one["key"]), *_standing(one)] for one in found["breakers"]["not_closed"]]
    yield Section(("breaker", "of", "state", "why"), breakers)
    connections = [
        [one["connection"], one["state"], one["since"][11:19], one.get("tenant") or "-", failure_text(one)]
        for one in found["connections"]["not_online"]
    ]
    yield Section(("connection", "state", "since", "tenant", "why"), connections)
    queues = [one for one in found.get("webhooks", []) if one["dead"] or one["failures_in_a_row"]]
    rows = [[one["receiver"], one["waiting"], one["dead"], one["failures_in_a_row"]] for one in queues]
    yield Section(("webhooks not delivered", "waiting", "dead", "failures in a row"), rows)


def errors_of(reload: Document) -> list[str]:
    """What was wrong with a policy set, a line each; nothing, if it is in force."""
    if reload["event_name"] in IN_FORCE:
        return []
    errors = reload.get("errors") or reload.get("reason") or "the log says why"
    listed = errors if isinstance(errors, list) else [errors]
    return [
        f"{one.get('file')}:{one.get('line')}:{one.get('col')}: {one.get('message')}"
        if isinstance(one, dict)
        else str(one)
        for one in listed
    ]


def _standing(breaker: Document) -> tuple[str, str]:
    why = breaker.get("reason", "").replace("_", " ")
    next_s = breaker.get("next_probe_s")
    return breaker.get("state", "").replace("_", " "), why + (f", next probe in {next_s:.0f} s" if next_s else "")


def failure_text(connection: Document) -> str:
    """Why a connection is as it is."""
    last = connection.get("last_failure")
    if last is None:
        return "its breaker is open" if connection["state"] == "offline" else "-"
    return f"{last['class']} {last['status'] or ''}".replace("_", " ").strip()


def _use(found: Document) -> Iterator[Section]:
    limits = [
        [one["limit"], one["asked"], one.get("limited", 0), one.get("shadow_limited", 0), _share(one)]
        for one in found["limits"]
    ]
    yield Section(("upstream, of 10 s", *UPSTREAM_TITLES[1:]), upstream_rows(found))
    yield Section(("limit, of 10 s", "asked", "limited", "in shadow", "refused"), limits)
    callers = [[one["limit"], whose(one["key"]), one["count"], one["per_s"]] for one in found["top_rejected"]]
    yield Section(("refused most", "caller", "count", "per second"), callers)
    caches = [
        [one["route"], f"{one['hit_ratio'] or 0:.0%}", one["hits"], one["misses"]] for one in found.get("cache", [])
    ]
    yield Section(("cache of", "from it", "hits", "misses"), caches)
    reloads = [[one["event_name"], one["timestamp"], one.get("version", "")] for one in found["reloads"][:3]]
    yield Section(("reload", "at", "version"), reloads)


UPSTREAM_TITLES = ("upstream", "calls", "failed", "why", "median ms", "p99 ms")


def upstream_rows(found: Document) -> list[list[Any]]:
    """How those did that were asked, the one that failed most first."""
    return [
        [one["upstream"], one["calls"], one["failed"], why_text(one), *_waits(one["latency"])]
        for one in found.get("upstreams", [])
    ]


def why_text(upstream: Document) -> str:
    """What its failures were, the commonest first: `connect 30, 503 4`."""
    return ", ".join(f"{why.replace('_', ' ')} {count:,}" for why, count in upstream["why"].items()) or "-"


def _waits(latency: Document) -> tuple[str, str]:
    return (_ms(latency["p50_ms"]), _ms(latency["p99_ms"])) if latency["count"] else ("-", "-")


def _share(one: Document) -> str:
    asked = one["asked"] or 1
    return f"{one.get('limited', 0) / asked:.0%}"
