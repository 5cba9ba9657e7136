"""Charts, each beside a table that has the same numbers."""

from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from gateway.admin.page.markup import Html, element
from gateway.admin.page.past import CALLS, PARTS, by_minute
from gateway.admin.page.tables import panel, table
from gateway.admin.page.words import NOTHING, milliseconds, moment_of, number

Document = dict[str, Any]


def chart(title: str, unit: str, names: Sequence[str], rows: Iterable[Sequence[object]], *, bars: bool = False) -> Html:
    """What `charts.js` draws. `rows`: seconds since 1970, and a value for each of the names."""
    known = [*rows]
    columns = [[row[at] for row in known] for at in range(len(names) + 1)]
    return element(
        "div",
        class_="chart",
        data_chart=orjson.dumps(columns).decode(),
        data_names=" ".join(names),
        data_unit=unit,
        data_bars=bars,
        role="img",
        aria_label=f"{title}; the table below has the same numbers by minute",
    )


def charts(points: list[Document]) -> Html:
    """A quarter of an hour as two charts, and as a table by minute for those who cannot see them."""
    calls = _figure("Calls a second", "calls / s", CALLS, points)
    latency = _figure("Where the time goes (mean)", "ms", PARTS, points)
    rows = [
        (
            moment_of(one["at"]),
            *(number(one[name]) for name in CALLS),
            *(NOTHING if one[part] is None else milliseconds(one[part]) for part in PARTS),
        )
        for one in by_minute(points)
    ]
    heads = ("minute", "admitted / s", "refused / s", "failed / s", "gateway", "store", "upstream")
    text = table(
        "The last quarter of an hour, by minute",
        heads,
        rows,
        numbers=range(1, 7),
        none="Nothing yet: a point is added every five seconds.",
    )
    words = element("details", element("summary", "By minute, as a table"), text, id="minutes", open=True)
    return panel(
        "past", "The last quarter of an hour", element("div", calls, latency, class_="charts"), words, wide=True
    )


def _figure(title: str, unit: str, names: Sequence[str], points: Iterable[Document]) -> Html:
    drawn = chart(title, unit, names, ([point[name] for name in ("at", *names)] for point in points))
    return element("figure", element("figcaption", title), drawn)
