"""What is not as it should be: connections, breakers, the store, reloads; and what happened lately."""

from collections.abc import Iterator, Sequence
from typing import Any

from gateway.admin.page.markup import Html, element, joined
from gateway.admin.page.paths import connection_path, known_as, path_of
from gateway.admin.page.tables import facts as named
from gateway.admin.page.tables import link, mark, panel, quiet, table
from gateway.admin.page.words import NOTHING, lasting, mebibytes, milliseconds, moment, number, whose
from gateway.core.connections.state import ConnectionState
from gateway.observe.log.events import IN_FORCE, errors_of

Document = dict[str, Any]
SHOWN = 10
ERRORS_SHOWN = 10
WHY = {
    "consecutive_failures": "failures in a row",
    "failure_rate": "too many failures",
    "slow_calls": "too many slow calls",
    "forced": "held by hand",
    "given_back": "given back, no longer held",
}
BAD = frozenset({"offline", "open"})
GOOD = frozenset({"online", "closed"})
ENVELOPE = frozenset({"timestamp", "level", "event_name", "worker", "policy_version"})


def state(name: str) -> Html:
    """The state of a connection or a breaker, marked by how bad it is."""
    return mark("good" if name in GOOD else "bad" if name in BAD else "warn", name.replace("_", " "))


def connections(found: Document) -> Html:
    """The panel of connections that are not online, and why."""
    if "error" in found:
        return panel("connections", "Connections", quiet(f"The store does not answer ({found['error']})."))
    rows = [connection_row(one) for one in found["not_online"][:SHOWN]]
    text = table("Not online", CONNECTION_HEADS, rows, none="All are online, or none was ever named.")
    more = len(found["not_online"]) - SHOWN
    others = (
        f"{more}{' or more' if found.get('more') else ''} others, and those online" if more > 0 else "All connections"
    )
    return panel("connections", "Connections not online", text, element("p", link("/connections", others)))


CONNECTION_HEADS = ("connection", "tenant", "state", "since", "last failure", "last success")


def connection_row(one: Document) -> tuple[object, ...]:
    """The row of one connection."""
    name = link(connection_path(one["connection"], one["tenant"]), one["connection"])
    tenant, since = one["tenant"] or NOTHING, moment(one["since"])
    return (name, tenant, state(one["state"]), since, failure(one), moment(one["last_success_at"]))


def failure(one: Document) -> object:
    """Why a connection is as it is: its last failure with class, status, operation."""
    last = one["last_failure"]
    if last is None:
        return "its breaker is open" if one["state"] == ConnectionState.OFFLINE else NOTHING
    said = [last["class"].replace("_", " "), last["status"] and f"({last['status']})", last["operation"]]
    return " ".join(str(part) for part in said if part)


def breakers(found: Document, *, alone: bool = False) -> Html:
    """Those that are not closed, with what an operator can do about each. `alone`: the list of all is on this page."""
    if "error" in found:
        return panel("breakers", "Breakers", quiet(f"The store does not answer ({found['error']})."))
    rows = [_breaker_row(one) for one in found["not_closed"]]
    heads = ("breaker", "of", "state", "why", "hold it")
    text = table("Not closed", heads, rows, none="All are closed.")
    more = quiet("There are more: look one up by its key.") if found.get("more") else None
    others = None if alone else element("p", link("/breakers", "All breakers"))
    return panel("breakers", "Breakers not closed", text, more, others, wide=alone)


def _breaker_row(one: Document) -> tuple[object, ...]:
    path = path_of("breakers", one["partition"])
    next_s, failed = one.get("next_probe_s"), one.get("failed")
    why = f"{failed:,} of {one['calls']:,} failed" if failed else reason(one)
    said = (why, f"probe in {lasting(next_s)}" if next_s else "")
    return (
        link(path, one["breaker"]),
        whose(one["key"]),
        state(one.get("state", "unknown")),
        "; ".join(filter(None, said)) or NOTHING,
        force_buttons(path),
    )


def reason(breaker: Document) -> str:
    """Why a breaker is as it is."""
    name = str(breaker.get("reason", ""))
    return WHY.get(name, name.replace("_", " "))


def force_buttons(path: str, known: Sequence[str] = ()) -> Html:
    """Each leads to a question; nothing happens before it is answered. `known`: see `paths.known_as`."""
    return element(
        "span",
        *(
            element("a", name, href=path + known_as(known, hold=state), class_="button", data_dialog=True)
            for state, name in (("open", "Open"), ("closed", "Close"), ("auto", "Give back"))
        ),
        class_="buttons",
    )


def store(found: Document) -> Html:
    """The panel of the store: up or down, since when and why."""
    fleet = found.get("fleet", {})
    round_trip_ms = found.get("round_trip_ms")
    up = mark("good", "up") if found.get("up") else mark("bad", "down")
    why = found.get("detail") or found.get("reason") or found.get("error")
    down = f"{lasting(found['down_s'])}: {why}" if "down_s" in found else None
    pairs = (
        ("kind", found.get("kind")),
        ("state", up),
        ("down for", down),
        ("round trip", None if round_trip_ms is None else milliseconds(round_trip_ms)),
        ("error", None if down else found.get("error")),
        ("workers that share it", fleet.get("workers")),
        ("counters to be told", found.get("owing") or None),
    )
    return panel("store", "Store", named(pairs))


def reloads(found: list[Document]) -> Html:
    """The panel of the last reloads, with what was wrong."""
    if not found:
        return panel("reloads", "Reloads", quiet("None since the workers began."), wide=True)
    rows = [
        (
            moment(one["timestamp"]),
            mark("good" if one["event_name"] in IN_FORCE else "bad", one["event_name"].partition(".")[2]),
            one.get("version", ""),
            _errors(errors_of(one)),
        )
        for one in found
    ]
    return panel(
        "reloads", "Reloads", table("The last first", ("when", "result", "version", "errors"), rows), wide=True
    )


def _errors(found: list[str]) -> object:
    return element("ul", *(element("li", one) for one in found[:ERRORS_SHOWN])) if found else NOTHING


def workers(found: list[Document]) -> Html:
    """The panel of workers, a row each."""
    rows = [
        (
            one["worker"],
            one["pid"],
            lasting(one["uptime_s"]),
            mebibytes(one["memory_bytes"]),
            number(one["calls_per_s"]),
            one["in_flight"],
            one["open_sockets"],
        )
        for one in sorted(found, key=lambda one: one["worker"])
    ]
    heads = ("worker", "pid", "up", "memory", "calls / s", "in flight", "sockets")
    return panel("workers", "Workers", table("Of this gateway", heads, rows, numbers=range(1, 7)))


def events(found: list[Document], *, title: str = "Events") -> Html:
    """The panel of events, the last first."""
    if not found:
        return panel("events", title, quiet("None lately."))
    rows = [
        (moment(one["timestamp"]), mark(_event_kind(one), one["event_name"]), joined(_fields(one))) for one in found
    ]
    return panel("events", title, table("The last first", ("when", "event", "details"), rows), wide=True)


def _event_kind(one: Document) -> str:
    return {"error": "bad", "warning": "warn"}.get(one["level"], "plain")


def _fields(one: Document) -> Iterator[object]:
    for name, value in one.items():
        if name in ENVELOPE or isinstance(value, list | dict):
            continue
        yield element("span", element("b", name), f" {value}", class_="field")
        yield " "
