"""Who is refused most, as a metric: a few ranks of each limit, and no names."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from gateway.admin.watching.heavy_callers import HeavyCallers
from gateway.core.ask import Ask
from gateway.core.limits import Charge, Decision, Mode, Verdict
from tests.admin.conftest import BUCKET, EVERYBODY, WINDOW


def refused(limit: Any, caller: str, times: int) -> list[Any]:
    ask = Ask([Charge(limit, f"{limit.name}:{{={caller}}}", 1)])
    return [SimpleNamespace(ask=ask, verdict="limited", limit_fired=limit.name, decision=None)] * times


def let_in(ask: Ask, verdict: str = "allowed", fired: str = "", decision: Decision | None = None) -> Any:
    return SimpleNamespace(ask=ask, verdict=verdict, limit_fired=fired, decision=decision)


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
