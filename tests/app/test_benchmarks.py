"""The benchmarks still fit the gateway: their modules import, their policies are right, their results can be shown."""

import importlib
import json
import pkgutil
import re
import socket
from pathlib import Path
from xml.etree import ElementTree

import pytest

import benchmarks
from benchmarks import programs, report, results, tables
from benchmarks.calm import PATIENCE_S, Patience, Yardstick
from benchmarks.policy import WIDE_OPEN, everything_on, with_limits, with_routes
from gateway.policy import check

PROGRAMS_OF_THEIR_OWN = {"benchmarks.peers.ordinary_proxy"}
MODULES = [module.name for module in pkgutil.walk_packages(benchmarks.__path__, "benchmarks.")]
POLICIES = {
    "admitted": everything_on("127.0.0.1:9", WIDE_OPEN),
    "refused": everything_on("127.0.0.1:9", 1),
    "routes": with_routes(3)("127.0.0.1:9", WIDE_OPEN),
    "limits": with_limits(5)("127.0.0.1:9", WIDE_OPEN),
}


@pytest.mark.parametrize("name", sorted(set(MODULES) - PROGRAMS_OF_THEIR_OWN))
def test_every_module_imports(name: str) -> None:
    importlib.import_module(name)


@pytest.mark.parametrize("name", POLICIES)
def test_what_is_measured_is_in_effect_without_a_warning(name: str, tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(POLICIES[name])
    checked = check([file])
    assert not checked.warnings
    loaded = checked.policies
    assert loaded is not None, checked.errors
    assert len(loaded.routes) == (3 if name == "routes" else 1)
    assert all(len(route.limits) == (5 if name == "limits" else 2) for route in loaded.routes)
    assert all(route.breaker is not None for route in loaded.routes)


SAMPLE = {
    "round": 0,
    "cpu_us": 50.0,
    "calls_per_s": 1e4,
    "p50_ms": 1.0,
    "p99_ms": 2.0,
    "memory_mib": 60.0,
    "store_us": 9.0,
}
FOUND: results.Results = {
    "of": {part: {"commit": "0000000", "measured": "2026-01-01T00:00+00:00"} for part in ("table", "curves")},
    "machine": {"processor": "any"},
    "versions": {"gateway": "0"},
    "table": [
        {"profile": "admitted", "heads": "same", "peer": peer, **SAMPLE, "cpu_us": cpu_us}
        for peer, cpu_us in (("gateway", 50.0), ("envoy-local", 40.0))
    ],
    "curves": [{"curve": "routes", "x": x, **SAMPLE} for x in (1, 1000)],
}


def test_a_ratio_compares_the_same_round() -> None:
    line = next(line for line in tables.table(FOUND).splitlines() if "| gateway |" in line)
    assert line.split(" | ")[2:5:2] == ["gateway", "1.25"]


def test_rounds_that_are_added_are_none_of_those_before() -> None:
    found = json.loads(json.dumps(FOUND))
    more = [row | {"cpu_us": row["cpu_us"] * 10} for row in FOUND["table"]]
    results.merge(found, "table", more, add=True)
    assert [row["round"] for row in found["table"]] == [0, 0, 1, 1]
    line = next(line for line in tables.table(found).splitlines() if "| gateway |" in line)
    assert line.split(" | ")[2:5:2] == ["gateway", "1.25"]


def test_what_a_curve_says_is_where_the_middle_half_lies() -> None:
    """A slice that something else disturbed says nothing."""
    first, last = [50.0, 50.0, 100.0, 50.0, 50.0], [55.0, 54.0, 110.0, 56.0, 500.0]
    rows = [
        {"curve": "routes", "x": x, **SAMPLE, "round": number, "cpu_us": cpu_us}
        for x, some in ((1, first), (1000, last))
        for number, cpu_us in enumerate(some)
    ]
    *_, line = tables.curves({**FOUND, "curves": rows}).splitlines()
    assert line.replace("\u2013", "-") == "| routes | 1,000 | 56.0 (55.0-110.0) | 1.10 (1.10-1.12) | 9.0 |"


def test_plots_are_drawings(tmp_path: Path) -> None:
    report.draw(FOUND, tmp_path)
    for name in ("peers.svg", "curves.svg"):
        assert ElementTree.fromstring((tmp_path / name).read_text()).tag.endswith("}svg")


def test_figures_go_between_the_marks_that_name_them() -> None:
    marked = (
        "before\n<!-- results -->\nold\n<!-- end of results -->\nbetween\n<!-- times -->\nkept\n<!-- end of times -->\n"
    )
    text = report.fill(marked, FOUND)
    assert text.startswith("before\n<!-- results -->\n")
    assert text.endswith("<!-- end of results -->\nbetween\n<!-- times -->\nkept\n<!-- end of times -->\n")
    assert "old" not in text
    assert "| routes | 1,000 |" in text


def test_documents_show_what_there_is() -> None:
    """Every mark has a name that is known, and is ended."""
    names = [name for file in report.DOCUMENTS for name in re.findall(r"<!-- (\w+) -->", file.read_text())]
    ends = [name for file in report.DOCUMENTS for name in re.findall(r"<!-- end of (\w+) -->", file.read_text())]
    assert set(names) == set(report.SHOWN)
    assert names == ends


def test_where_no_port_is_free_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setattr(programs, "PORTS", [taken.getsockname()[1]])
        with pytest.raises(programs.Failed, match="Linux"):
            programs.free_port()


def test_what_was_measured_before_keeps_its_revision(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    file.write_text(json.dumps(FOUND))
    found = results.begin(file)
    results.merge(found, "table", [], add=False)
    assert found["of"]["curves"] == FOUND["of"]["curves"]
    assert found["of"]["table"] != FOUND["of"]["table"]


class Machine:
    """Of which it is known how slow it will be at each look, and that each run takes ten seconds."""

    def __init__(self, *slowness: float) -> None:
        self.coming = list(slowness)
        self.now_s = 0.0
        self.runs = 0

    def slowness(self) -> float:
        return self.coming.pop(0)

    def sleep(self, some_s: float) -> None:
        self.now_s += some_s

    def run(self) -> int:
        self.now_s += 10.0
        self.runs += 1
        return self.runs


@pytest.mark.parametrize(
    ("slowness", "counts", "slow"),
    [
        pytest.param([1.0, 1.1], 1, 1.1, id="calm"),
        pytest.param([1.9, 1.5, 1.0, 1.1], 1, 1.1, id="calm after some seconds"),
        pytest.param([1.0, 1.9, 1.0, 1.0], 2, 1.0, id="disturbed once"),
        pytest.param([1.0, 1.9, 1.0, 1.4, 1.0, 1.6, 1.0, 1.5], 2, 1.4, id="disturbed each time: the least"),
    ],
)
def test_a_disturbed_run_is_made_again(slowness: list[float], counts: int, slow: float) -> None:
    machine = Machine(*slowness)
    patience = Patience(machine.slowness, lambda: machine.now_s, machine.sleep)
    assert patience.calmest(machine.run) == (slow, counts)
    assert not machine.coming


def test_patience_ends() -> None:
    machine = Machine(*[2.0] * 1000)
    patience = Patience(machine.slowness, lambda: machine.now_s, machine.sleep)
    assert patience.calmest(machine.run) == (2.0, 1)
    waited_s = machine.now_s
    assert patience.calmest(machine.run) == (2.0, 2)
    assert (waited_s, machine.now_s) == (PATIENCE_S + 10.0, PATIENCE_S + 20.0)


def test_a_yardstick_knows_its_best_time() -> None:
    assert Yardstick().slowness() >= 1.0


def test_disturbed_runs_are_told() -> None:
    rows = [{"slowness": 1.0}, {"slowness": 1.56}, {}]
    assert report.disturbed(rows) == "1 of 2 runs disturbed, up to 1.6 times as slow"
    assert report.disturbed([{"slowness": 1.1}]) == report.disturbed({"a": 1}) == ""
