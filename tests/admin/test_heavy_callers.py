"""Who is refused most, as a metric: a few ranks of each limit, and no names."""

from types import SimpleNamespace
from typing import Any

from gateway.admin.watching.heavy_callers import HeavyCallers
from gateway.core.ask import Ask
from gateway.core.limits import Charge
from tests.admin.conftest import BUCKET, WINDOW


def refused(limit: Any, caller: str, times: int) -> list[Any]:
    ask = Ask([Charge(limit, f"{limit.name}:{{={caller}}}", 1)])
    return [SimpleNamespace(ask=ask, verdict="limited", limit_fired=limit.name)] * times


async def test_the_heaviest_of_each_limit_have_ranks() -> None:
    heavy = HeavyCallers()
    for caller, times in (("a", 2), ("b", 7), ("c", 5), ("d", 1)):
        heavy.take(refused(WINDOW, caller, times))
    heavy.take(refused(BUCKET, "a", 3))
    heavy.take([SimpleNamespace(ask=Ask([Charge(BUCKET, "connection-1m:{=b}", 1)]), verdict="allowed", limit_fired="")])
    assert heavy.ranked("rejected") == {
        ("tenant-10m", "1"): 7,
        ("tenant-10m", "2"): 5,
        ("tenant-10m", "3"): 2,
        ("connection-1m", "1"): 3,
    }


async def test_nobody_was_refused() -> None:
    assert HeavyCallers().ranked("rejected") == {}
