"""Who is refused most, as a metric: a few ranks of each limit, and no names."""

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.admin.watching import heavy_callers
from gateway.admin.watching.heavy_callers import HeavyCallers
from gateway.core.ask import Ask
from gateway.core.limits import Charge, Decision, Mode, Verdict
from tests.admin.conftest import BUCKET, EVERYBODY, WINDOW


def refused(limit: Any, caller: str, times: int) -> list[Any]:
    ask = Ask([Charge(limit, f"{limit.name}:{{={caller}}}", 1)])
    return [SimpleNamespace(ask=ask, verdict="limited", limit_fired=limit.name, decision=None)] * times


def let_in(ask: Ask, verdict: str = "allowed", fired: str = "", decision: Decision | None = None) -> Any:
    return SimpleNamespace(ask=ask, verdict=verdict, limit_fired=fired, decision=decision)


class Clocked:
    """Heavy callers, the time, and what their loop is to do in its next turn."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 1_000.0
        self.turns: list[Callable[[], None]] = []
        self.heavy = HeavyCallers()
        loop = SimpleNamespace(time=lambda: self.now_s, call_soon=self.turns.append)
        monkeypatch.setattr(self.heavy, "_loop", loop)
        self.heavy._began_s, self.heavy._ends_s = self.now_s, self.now_s + heavy_callers.WINDOW_S


@pytest.fixture
async def clocked(monkeypatch: pytest.MonkeyPatch) -> Clocked:
    return Clocked(monkeypatch)


async def test_the_heaviest_of_each_limit_have_ranks() -> None:
    heavy = HeavyCallers()
    for caller, times in (("a", 2), ("b", 7), ("c", 5), ("d", 1)):
        heavy.take(refused(WINDOW, caller, times))
    heavy.take(refused(BUCKET, "a", 3))
    heavy.take([let_in(Ask([Charge(BUCKET, "connection-1m:{=b}", 1)]))])
    assert heavy.ranked("rejected") == {
        ("tenant-10m", "1"): 7,
        ("tenant-10m", "2"): 5,
        ("tenant-10m", "3"): 2,
        ("connection-1m", "1"): 3,
    }


async def test_nobody_was_refused() -> None:
    assert HeavyCallers().ranked("rejected") == {}


async def test_each_limit_in_shadow_that_would_have_refused_names_its_caller() -> None:
    watches = [replace(limit, mode=Mode.SHADOW) for limit in (WINDOW, BUCKET)]
    ask = Ask([Charge(limit, f"{limit.name}:{{=a}}", 1) for limit in (*watches, EVERYBODY)])
    had_room = Verdict(admitted=True, remaining=1, reset_us=1, more_us=1, retry_us=0)
    had_none = Verdict(admitted=False, remaining=0, reset_us=1, more_us=1, retry_us=1)
    heavy = HeavyCallers()
    for verdicts in ((had_none, had_none, had_room), (had_room, had_none, had_room)):
        fired = watches[verdicts.index(had_none)].name
        heavy.take([let_in(ask, "shadow_limited", fired, Decision(True, verdicts, 0))])
    assert heavy.ranked("shadow_rejected") == {("tenant-10m", "1"): 1, ("connection-1m", "1"): 2}
    assert heavy.ranked("rejected") == {}


async def test_of_calls_that_are_not_counted_yet_so_many_callers_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heavy_callers, "MOST_SEEN", 20)
    monkeypatch.setattr(heavy_callers, "AT_ONCE", 8)
    heavy = HeavyCallers()
    asks = [Ask([Charge(WINDOW, f"tenant-10m:{{={number}}}", 1)]) for number in range(21)]
    heavy.take([let_in(ask) for ask in asks])
    heavy.take([let_in(ask) for ask in asks[8:]])
    assert [ask.uncounted for ask in asks] == [0] * 8 + [2] * 13
    heavy.take([let_in(asks[0])])
    assert heavy.found("rejected")["counts"] == {}
    assert len(heavy._seen) == 14  # that took nobody's time
    assert heavy.found("requests")["counts"] == {ask.keys[0]: 1 if ask in asks[1:8] else 2 for ask in asks}
    assert all(ask.uncounted == 0 for ask in asks)


async def test_refusals_are_counted_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heavy_callers, "AT_ONCE", 8)
    heavy = HeavyCallers()
    heavy.take(refused(WINDOW, "a", 7))
    assert heavy._now["rejected"].counts == {}
    heavy.take(refused(WINDOW, "b", 1))
    assert heavy._now["rejected"].counts == {"tenant-10m:{=a}": 7, "tenant-10m:{=b}": 1}


async def test_the_callers_of_a_minute_that_is_over_are_counted_some_at_a_time(
    monkeypatch: pytest.MonkeyPatch, clocked: Clocked
) -> None:
    monkeypatch.setattr(heavy_callers, "AT_ONCE", 8)
    heavy = clocked.heavy
    asks = [Ask([Charge(WINDOW, f"tenant-10m:{{={number}}}", 1)]) for number in range(20)]
    heavy.take([let_in(ask) for ask in asks])
    clocked.now_s += heavy_callers.WINDOW_S
    for left in (20, 12, 4):
        heavy.take([let_in(asks[0]), let_in(asks[19])])
        assert [ask.uncounted for ask in asks] == [0] * (20 - left) + [1] * left
        assert len(clocked.turns) == 1
        clocked.turns.pop()()
    assert clocked.turns == []
    assert [ask.uncounted for ask in asks] == [3, *[0] * 18, 3]  # of the minute that has begun
    assert [[counts[1] for counts in heavy.minutes(ask.keys[0])] for ask in (asks[0], asks[1], asks[19])] == [
        [1, 3],
        [1, 0],
        [1, 3],
    ]


async def test_whoever_asks_while_they_are_counted_is_told_all(
    monkeypatch: pytest.MonkeyPatch, clocked: Clocked
) -> None:
    monkeypatch.setattr(heavy_callers, "AT_ONCE", 8)
    heavy = clocked.heavy
    for round_ in range(3):
        heavy.take([call for number in range(20) for call in refused(WINDOW, str(number), 1)])
        if not round_:
            clocked.now_s += heavy_callers.WINDOW_S
    clocked.turns.pop()()
    assert heavy.ranked("rejected") == {("tenant-10m", str(rank)): 3 for rank in (1, 2, 3)}
    assert set(heavy.found("requests")["counts"].values()) == {3}
    assert heavy.found("requests")["missed"] == 0
    clocked.turns.pop()()  # somebody else has done it
    assert clocked.turns == []
    assert set(heavy.found("requests")["counts"].values()) == {3}


async def test_calls_belong_to_the_minute_in_which_they_ended(clocked: Clocked) -> None:
    """Also those of the last moment, and those that come long after the last one."""
    heavy = clocked.heavy
    ask = Ask([Charge(WINDOW, "tenant-10m:{=a}", 1)])
    for passed_s, times in ((0.0, 3), (59.0, 2), (1.0, 7), (600.0, 1)):
        clocked.now_s += passed_s
        heavy.take([let_in(ask)] * times)
        while clocked.turns:
            clocked.turns.pop()()
    assert [counts[1:] for counts in heavy.minutes(ask.keys[0])] == [[5, 0, 0], [7, 0, 0], [1, 0, 0]]
    assert heavy.found("requests")["counts"] == {ask.keys[0]: 1}
