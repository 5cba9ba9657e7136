"""docs/logs.md and docs/metrics.md say exactly what the code does."""

import re
from collections.abc import Mapping
from pathlib import Path

import orjson
import pytest

from gateway.observe.log.events import EVENTS
from gateway.observe.log.own_fields import OWN_FIELDS
from gateway.observe.log.schema import ACCESS_FIELDS, CONNECTION_ERROR_FIELDS, ENVELOPE, EVENT_FIELDS, FIELDS, Field
from gateway.observe.metrics.instruments import INSTRUMENTS
from gateway.observe.metrics.sink import METHODS, OTHER
from tests.fakes.documented import surprises

DOCS = Path(__file__).parents[2] / "docs"
LOGS = (DOCS / "logs.md").read_text()
METRICS = (DOCS / "metrics.md").read_text()


def section(text: str, title: str) -> str:
    """From a heading to the next one."""
    return text.split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]


def rows(text: str) -> list[list[str]]:
    """Cells of the tables' rows whose first cell is code."""
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:3] == "| `"]


@pytest.mark.parametrize(
    ("title", "fields"),
    [
        ("Every line", ENVELOPE),
        ("One line per call: `http.access`", ACCESS_FIELDS),
        ("Connection errors: `connection.error`", CONNECTION_ERROR_FIELDS),
        ("Events", EVENT_FIELDS),
    ],
)
def test_fields(title: str, fields: Mapping[str, Field]) -> None:
    described = [row for row in rows(section(LOGS, title)) if len(row) == 5]
    expected = [
        [f"`{name}`", field.type, field.meaning, f"`{field.ecs}`", f"`{field.otel}`"] for name, field in fields.items()
    ]
    assert described == expected


def test_fields_of_events_alone() -> None:
    described = [row for row in rows(section(LOGS, "Events")) if len(row) == 4]
    expected = [
        [f"`{name}`", field.type, ", ".join(_in_code(field.events.split())), field.meaning]
        for name, field in OWN_FIELDS.items()
    ]
    assert described == expected
    assert list(OWN_FIELDS) == sorted(OWN_FIELDS)


def _in_code(events: list[str]) -> list[str]:
    return [one if one == "many" else f"`{one}`" for one in events]


@pytest.mark.parametrize("format_", ["ecs", "otel"])
def test_no_name_stands_for_two_things(format_: str) -> None:
    names = {name: getattr(field, format_) for name, field in FIELDS.items()}
    names |= {name: f"gateway.{name}" for name in OWN_FIELDS}
    assert len(names) == len(FIELDS) + len(OWN_FIELDS), "none is in both"
    assert len(set(names.values())) == len(names)


def test_what_is_surprising() -> None:
    """The reader of logs that tests of whole gateways use (`tests.fakes.documented`) would notice."""
    fine = {"event_name": "gateway.stopped", "level": "info", "cut_calls": 0}
    assert surprises([fine, {"msg": "of another program"}]) == []
    wrong = {"event_name": "gateway.stoped", "cut_calls": "0", "truncated": 1, "worker": True, "new": 1, "pause_s": 1}
    assert surprises([fine, wrong]) == [
        "gateway.stoped",
        "gateway.stoped: cut_calls is '0'",
        "gateway.stoped: new",
        "gateway.stoped: pause_s belongs to upstream.paused",
        "gateway.stoped: truncated is 1",
        "gateway.stoped: worker is True",
    ]


def test_events() -> None:
    described = {row[0].strip("`"): row[1] for row in rows(section(LOGS, "Events")) if len(row) == 2}
    assert described == dict(EVENTS)


def test_the_example_is_a_line_of_this_schema() -> None:
    found = re.search(r"```json\n(.*)\n```", LOGS)
    assert found is not None
    assert orjson.loads(found[1]).keys() <= ENVELOPE.keys() | ACCESS_FIELDS.keys()


def test_metrics() -> None:
    together = {"": "", "livesum": "; workers: sum", "livemin": "; workers: least", "livemax": "; workers: greatest"}
    described = [row for row in rows(METRICS) if len(row) == 4]
    expected = [
        [
            f"`{name}`",
            metric.type,
            ", ".join(f"`{label}`" for label in metric.labels),
            f"{metric.meaning}{together[metric.together]}.",
        ]
        for name, metric in INSTRUMENTS.items()
    ]
    assert described == expected


def test_labels() -> None:
    described = {row[0].strip("`"): row[1] for row in rows(METRICS) if len(row) == 2}
    used = {label for metric in INSTRUMENTS.values() for label in metric.labels}
    obvious = {"limit", "upstream", "version", "python"}
    assert described.keys() == used - obvious
    assert re.findall("`([A-Z]+)`", described["method"]) == [*METHODS, OTHER]


def test_queries_use_metrics_that_exist() -> None:
    named = set(re.findall(r"gateway_[a-z_]+", section(METRICS, "Useful queries")))
    assert {re.sub("_bucket$", "", name) for name in named} <= INSTRUMENTS.keys()
