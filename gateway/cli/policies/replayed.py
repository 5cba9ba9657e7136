"""The report of a replay for people."""

from collections.abc import Iterator, Sequence
from typing import Any

from gateway.cli.showing.text import plain

Document = dict[str, Any]
_COLUMNS = (
    ("refused then", "refused_then"),
    ("now", "refused_now"),
    ("newly", "newly_refused"),
    ("no longer", "newly_admitted"),
)


def lines(document: Document) -> Iterator[str]:
    """The report as lines of text."""
    when = f", {document['from']} to {document['to']}" if "from" in document else ""
    calls = "1 call" if document["calls"] == 1 else f"{document['calls']:,} calls"
    yield f"{calls} through policy {document['policy_version']}{when}"
    left_out = [
        f"{document[name]:,} {what}"
        for name, what in (
            ("never_asked", "answered before any limit"),
            ("other_lines", "lines about other things"),
            ("unreadable", "unreadable lines"),
            ("late", "calls out of order"),
        )
        if document[name]
    ]
    if left_out:
        yield f"besides: {', '.join(left_out)}"
    for note in document["notes"]:
        yield f"note: {note}"
    yield ""
    yield from _table("", [{"name": "all calls", **document}])
    if document["limits"]:
        yield from _table("limit", [{**one, "name": _named(one)} for one in document["limits"]])
    if document["tenants"]:
        yield from _table("tenant", [{**one, "name": one["tenant"]} for one in document["tenants"]])
        more = document["tenants_affected"] - len(document["tenants"])
        if more > 0:
            yield f"and {more:,} tenants more"
    for example in document["examples"]:
        by = ", ".join(example["refused_by"])
        yield f"for example at {example['at']}: tenant {_short(example['tenant'])}, by {by}"


def _named(limit: Document) -> str:
    return f"{limit['name']} (shadow)" if "mode" in limit else str(limit["name"])


def _table(title: str, rows: Sequence[Document]) -> Iterator[str]:
    yield f"{title:<40}" + "".join(f"{name:>14}" for name, _ in _COLUMNS)
    for row in rows:
        yield f"{_short(row['name']):<40}" + "".join(f"{row[key]:>14,}" for _, key in _COLUMNS)


def _short(name: str) -> str:
    """Of a caller's choice: cut where the column ends."""
    shown = plain(name)
    return shown if len(shown) < 40 else f"{shown[:36]}..."
