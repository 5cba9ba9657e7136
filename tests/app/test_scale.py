"""The simulation of large fleets: what its page says is what it finds, and what the page concludes is so."""

import json
from xml.etree import ElementTree

import pytest

from benchmarks import scale, scale_model
from benchmarks.scale_inputs import FILE

INPUTS = json.loads(FILE.read_text())


@pytest.fixture(scope="module")
def tables() -> dict[str, list[list[str]]]:
    return scale.tables(INPUTS)


def test_the_page_says_what_the_simulation_finds(tables: dict[str, list[list[str]]]) -> None:
    page = scale.PAGE.read_text()
    assert all(f"<!-- {name} -->" in page for name in tables)
    assert scale.written(page, tables) == page, "python -m benchmarks.scale --write"


def test_the_plot_is_drawn_from_the_same_figures() -> None:
    drawn = scale.plot(INPUTS)
    ElementTree.fromstring(drawn)
    assert scale.PAGE.with_name("scale.svg").read_text() == drawn


def test_more_gateways_are_as_exact_as_one(tables: dict[str, list[list[str]]]) -> None:
    assert {row[1] for row in tables["accuracy"][1:]} == {str(scale.LIMIT)}


def test_cost_grows_with_calls_and_memory_with_callers() -> None:
    small, large = scale.FLEETS[0], scale.FLEETS[-1]
    more = large.calls_per_s / small.calls_per_s
    assert large.store_cores(INPUTS) == pytest.approx(more * small.store_cores(INPUTS))
    assert large.key_bytes(INPUTS) == pytest.approx(large.callers / small.callers * small.key_bytes(INPUTS))
    assert large.heartbeat_cores(INPUTS) < 0.05


@pytest.mark.parametrize("skew", scale.SKEWS)
def test_a_harmonic_number_is_the_sum_it_stands_for(skew: float) -> None:
    found = 1 / scale_model.hottest_share(300_000, skew)
    assert found == pytest.approx(sum(n**-skew for n in range(1, 300_001)), rel=1e-4)


def test_all_shares_together_are_the_limit() -> None:
    assert scale_model.usable_without_store(10, 400, 400) == 1.0
    assert scale_model.usable_without_store(500, 4, 1) == 0.25
