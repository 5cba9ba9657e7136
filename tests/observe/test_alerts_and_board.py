"""The alert rules and the Grafana board ask for metrics and labels that exist, and each rule is tried out.

Whether the rules do what they say is tried with promtool by CI (`promtool test rules`).
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.observe.metrics.instruments import INSTRUMENTS

DEPLOY = Path(__file__).parents[2] / "config" / "deploy"
RULES = [
    rule
    for group in yaml.safe_load((DEPLOY / "prometheus-rules.yaml").read_text())["groups"]
    for rule in group["rules"]
]
TRIED = yaml.safe_load((DEPLOY / "prometheus-rules-test.yaml").read_text())["tests"]
BOARD = json.loads((DEPLOY / "grafana-dashboard.json").read_text())
OF_THE_SCRAPE = {"job", "instance"}
SERIES = re.compile(r"\b((?:gateway|process)_[a-z_]+)(?:\{([^}]*)\})?")
BY = re.compile(r"\bby \(([^)]*)\)")
WORDS = re.compile(r"[a-z_]+")


def panels() -> list[dict[str, Any]]:
    return [panel for panel in BOARD["panels"] if panel["type"] != "row"]


def queries() -> Iterator[tuple[str, str]]:
    for rule in RULES:
        yield rule["alert"], rule["expr"]
    for panel in panels():
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    for annotation in BOARD["annotations"]["list"]:
        yield annotation["name"], annotation["expr"]
    for test in TRIED:
        for series in test["input_series"]:
            if not series["series"].startswith("up{"):  # Prometheus' own
                yield "rules test", series["series"]


def metric(series: str) -> str:
    """The metric that a series belongs to."""
    base = re.sub("_(bucket|sum|count)$", "", series)
    return base if base in INSTRUMENTS and INSTRUMENTS[base].type == "histogram" else series


@pytest.mark.parametrize(("where", "query"), list(queries()))
def test_queries_name_metrics_and_labels_that_exist(where: str, query: str) -> None:
    found = SERIES.findall(query)
    assert found, where
    known = set()
    for series, selector in found:
        assert metric(series) in INSTRUMENTS, f"{where}: {series}"
        instrument = INSTRUMENTS[metric(series)]
        labels = {*instrument.labels, *OF_THE_SCRAPE, *(["le"] if instrument.type == "histogram" else [])}
        assert {pair.split("=")[0].strip(" !~") for pair in selector.split(",") if pair} <= labels, f"{where}: {query}"
        assert series.endswith(("_bucket", "_sum", "_count")) == (instrument.type == "histogram"), f"{where}: {series}"
        known |= labels
    assert {name for names in BY.findall(query) for name in WORDS.findall(names)} <= known, f"{where}: {query}"


@pytest.mark.parametrize("panel", panels(), ids=lambda panel: panel["title"])
def test_panels_name_their_lines_by_labels_that_are_there(panel: dict[str, Any]) -> None:
    for target in panel["targets"]:
        shown = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
        grouped = {name for names in BY.findall(target["expr"]) for name in WORDS.findall(names)}
        if not re.match(r"process_open_fds", target["expr"]):
            assert shown <= grouped, target


def test_every_metric_is_on_the_board_or_told_by_a_rule() -> None:
    shown = {metric(series) for _, query in queries() for series, _ in SERIES.findall(query)}
    assert INSTRUMENTS.keys() - shown == {"process_start_time_seconds", "process_virtual_memory_bytes"}


def test_each_rule_is_tried_when_it_has_to_fire_and_when_not() -> None:
    tries = [check for test in TRIED for check in test["alert_rule_test"]]
    for rule in RULES:
        fires = [bool(check["exp_alerts"]) for check in tries if check["alertname"] == rule["alert"]]
        assert {True, False} == set(fires), rule["alert"]


def test_labels_that_texts_show_are_there() -> None:
    for rule in RULES:
        shown = set(re.findall(r"\$labels\.(\w+)", " ".join(rule["annotations"].values())))
        grouped = {name for names in BY.findall(rule["expr"]) for name in WORDS.findall(names)}
        assert shown <= (grouped or OF_THE_SCRAPE), rule["alert"]


def test_panels_do_not_overlap_and_have_ids_of_their_own() -> None:
    ids = [panel["id"] for panel in BOARD["panels"]]
    assert len(ids) == len(set(ids))
    taken = set()
    for panel in BOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
