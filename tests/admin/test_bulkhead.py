"""Floods of the admin listener: probes of health are answered, a little later."""

import asyncio

import pytest

from gateway.admin.bulkhead import MOST_AT_ONCE, MOST_PROBE_WAIT_S, MOST_WAITING, PLACES, PROBES, PROBES_PER_S, Bulkhead
from gateway.admin.problems import AdminProblem
from tests.fakes.waiting import eventually, turns


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long who came was held back. Nobody really waits."""
    held: list[float] = []

    async def sleep(seconds: float) -> None:
        held.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    return held


async def probe(bulkhead: Bulkhead, times: int, at_s: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: at_s)
    for number in range(times):
        async with bulkhead.place(sorted(PROBES)[number % len(PROBES)]):
            pass


async def test_who_has_waited_does_not_wait_any_more() -> None:
    """However many there were before, as many as there is room for may wait, and not one more."""
    bulkhead, go_on = Bulkhead(), asyncio.Event()

    async def ask() -> None:
        async with bulkhead.place("/-/limits"):
            await go_on.wait()

    for _ in range(2):
        held = [asyncio.create_task(ask()) for _ in range(PLACES + MOST_WAITING)]
        await turns(2)
        with pytest.raises(AdminProblem, match="wait already"):
            await ask()
        go_on.set()
        await asyncio.gather(*held)
        go_on.clear()
        await eventually(lambda: bulkhead._places._value == PLACES, "all places have rested")


async def test_probes_in_their_usual_number_do_not_wait(waits: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    bulkhead = Bulkhead()
    await probe(bulkhead, MOST_AT_ONCE, 1000.0, monkeypatch)
    await probe(bulkhead, PROBES_PER_S, 1001.5, monkeypatch)
    assert waits == []


async def test_a_flood_of_probes_waits_but_not_for_long(waits: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    bulkhead = Bulkhead()
    await probe(bulkhead, MOST_AT_ONCE + 500, 1000.0, monkeypatch)
    assert len(waits) == 500
    assert waits == sorted(waits)
    assert waits[0] == pytest.approx(1 / PROBES_PER_S)
    assert max(waits) == pytest.approx(MOST_PROBE_WAIT_S)
    waits.clear()
    await probe(bulkhead, 1, 1000.0 + MOST_AT_ONCE / PROBES_PER_S + 2 * MOST_PROBE_WAIT_S, monkeypatch)
    assert waits == [], "it is over soon after the flood"
