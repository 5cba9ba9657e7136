"""The last quarter of an hour, all workers added up: points for charts, minutes for tables."""

from collections.abc import Iterable
from typing import Any

from gateway.admin.operations.status import REFUSALS, STAGES
from gateway.observe.metrics.history import SLOT_S

CALLS = ("admitted", "refused", "failed")
PARTS = ("gateway", "store", "upstream")

Document = dict[str, Any]


def added(points: Iterable[Document]) -> list[Document]:
    """Points of all workers, one for each slot that any of them has, the oldest first.

    at       seconds since 1970, when it began
    admitted, refused, failed  calls a second; failed = answered 5xx though we let it in
    <part>   mean milliseconds that a call spent there, None when nobody asked it
    """
    slots: dict[int, list[Document]] = {}
    for point in points:
        slots.setdefault(point["slot"], []).append(point)
    return [_slot(number, slots[number]) for number in sorted(slots)]


def _slot(number: int, points: list[Document]) -> Document:
    rates = dict.fromkeys(CALLS, 0.0)
    for point in points:
        for source, hundreds, count in point["outcomes"]:
            kind = "refused" if source in REFUSALS else "failed" if hundreds == 5 else "admitted"
            rates[kind] += count / point["over_s"]
    means = {part: _mean_ms([point["stages"].get(STAGES[part], (0, 0.0)) for point in points]) for part in PARTS}
    return {"at": number * SLOT_S, **{kind: round(rate, 3) for kind, rate in rates.items()}, **means}


def _mean_ms(stages: list[tuple[int, float]]) -> float | None:
    count = sum(stage[0] for stage in stages)
    return round(sum(stage[1] for stage in stages) / count * 1e3, 3) if count else None


def by_minute(points: list[Document]) -> list[Document]:
    """Means of the points of each minute, the newest first: the charts in words."""
    minutes: dict[int, list[Document]] = {}
    for point in points:
        minutes.setdefault(point["at"] // 60, []).append(point)
    return [
        {"at": minute * 60, **{name: _mean([point[name] for point in minutes[minute]]) for name in (*CALLS, *PARTS)}}
        for minute in sorted(minutes, reverse=True)
    ]


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
