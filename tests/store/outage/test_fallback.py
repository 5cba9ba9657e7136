"""One worker's shares, without a store: what they begin with, what they spend, what is owed for it."""

from dataclasses import replace

import pytest

from gateway.core.ask import Ask
from gateway.core.guards import Breaker, Guard, Pausing, Report
from gateway.core.limits import Charge, Decision, Limit, Mode, Verdict
from gateway.core.shares import Fleet
from gateway.store.local.store import LocalStore
from gateway.store.outage import fallback as module
from gateway.store.outage.fallback import Fallback
from tests.store.outage.limits import BUCKET, FIXED, WINDOW


async def test_a_part_of_the_store_that_goes_later_has_told_more() -> None:
    """A cluster whose first server is gone: the others decide until they notice."""
    now_us = 10**15
    fallback = Fallback(LocalStore(lambda: now_us), Fleet(1, 0), lambda: now_us)
    fallback.known.remember([], 0)
    ask = Ask([Charge(WINDOW, "w:{t}", 1)])
    ask.see(Decision(True, (Verdict(True, 40, 300_000_000, 300_000_000, 0),), now_us - 1_000_000))
    answers = [(await fallback.admit(ask, ""))[1] for _ in range(100)]
    assert sum(answer is not None and answer.admitted for answer in answers) == 40


@pytest.mark.parametrize("known", [True, False], ids=["met it before", "never met it"])
@pytest.mark.parametrize("limit", [WINDOW, FIXED, BUCKET], ids=lambda limit: limit.name)
async def test_who_loses_the_store_last_tells_those_who_have_begun(limit: Limit, known: bool) -> None:
    """What was spent between the two moments is nobody's to spend again."""
    now_us = 10**15
    shares = [Fallback(LocalStore(lambda: now_us), Fleet(2, rank), lambda: now_us) for rank in (0, 1)]
    charge = Charge(limit, f"{limit.name}:{{t}}", 1)

    async def calls(share: Fallback, count: int) -> int:
        answers = [(await share.admit(Ask([charge]), ""))[1] for _ in range(count)]
        return sum(answer is not None and answer.admitted for answer in answers)

    def told(left: int, ago_us: int) -> Ask:
        ask = Ask([charge])
        ask.see(Decision(True, (Verdict(True, left, 300_000_000, 300_000_000, 0),), now_us - ago_us))
        return ask

    first, last = shares
    first.known.remember([told(90, 2_000)] if known else [], 0)
    assert await calls(first, 5) == 5
    last.known.remember([told(40, 1_000)], 0)
    first.known.hear(last.known.tell(10))
    first.known.hear([(charge.key, 2, now_us + 300_000_000, now_us - 3_000)])  # is older
    assert await calls(first, 100) + await calls(last, 100) == 40 - 5
    first.known.hear([(charge.key, 80, now_us + 300_000_000, now_us)])  # units that came back
    assert await calls(first, 100) == 0


async def test_what_was_heard_of_a_time_that_is_over_takes_nothing() -> None:
    """Until then all units would be back: how many were left says nothing of now."""
    now_us = 10**15
    fallback = Fallback(LocalStore(lambda: now_us), Fleet(1, 0), lambda: now_us)
    ask = Ask([Charge(WINDOW, "w:{t}", 1)])
    fallback.known.remember([], 0)
    assert (await fallback.admit(ask, ""))[1].admitted
    fallback.known.hear([("w:{t}", 0, now_us, now_us - 1)])
    assert (await fallback.admit(ask, ""))[1].admitted


async def test_only_what_a_limit_admitted_is_owed() -> None:
    """One that is only watched refuses nobody, and is not owed what it would not have let pass."""
    watched = replace(WINDOW, name="s", quota=1, mode=Mode.SHADOW)
    fallback = Fallback(LocalStore(), Fleet(1, 0))
    for _ in range(3):
        assert (await fallback.admit(Ask([Charge(WINDOW, "w:{t}", 1), Charge(watched, "s:{t}", 1)]), ""))[1].admitted
    assert {debt.key: debt.cost for debt in fallback.take_debts(10)} == {"w:{t}": 3, "s:{t}": 1}


async def test_breakers_and_pauses_begin_closed_with_each_outage() -> None:
    """Those that each worker has for itself all the time stay as they are."""
    local = LocalStore()
    fallback = Fallback(local, Fleet(1, 0))
    shared, own = (Guard(Breaker(name, ("c",), consecutive_failures=1), f"breaker:{name}:{{c}}") for name in ("s", "o"))
    pause = Guard(Pausing("up", 900_000_000), "pause:up:{c}")
    for guards in ([shared], [pause]):
        assert (await fallback.admit(Ask((), guards), ""))[1].admitted
    await local.report([Report(shared, 0, failed=1), Report(own, 0, failed=1)])
    await local.pause(pause, 60_000_000)
    assert not (await fallback.admit(Ask((), [shared]), ""))[1].admitted
    assert not (await fallback.admit(Ask((), [pause]), ""))[1].admitted
    for _ in fallback.forget():
        pass
    for guards in ([shared], [pause]):
        assert (await fallback.admit(Ask((), guards), ""))[1].admitted
    assert not (await local.admit(Ask((), [own]), "")).admitted


async def test_what_the_store_does_not_decide_although_it_is_there_stays_until_it_has_expired() -> None:
    now_us = 10**15
    local = LocalStore(clock=lambda: now_us)
    fallback = Fallback(local, Fleet(1, 0), clock=lambda: now_us)
    breaker = Guard(Breaker("s", ("c",), consecutive_failures=1), "breaker:s:{c}")
    ask, other = Ask([Charge(WINDOW, "w:{t}", 100)], [breaker]), Ask([Charge(WINDOW, "w:{u}", 100)])
    fallback.stay(ask)
    for one in (ask, other):
        assert (await fallback.admit(one, ""))[1].admitted
    await local.report([Report(breaker, 0, failed=1)])
    for _ in range(2):
        [*fallback.forget()]
        assert sorted(local.keys()) == ["breaker:s:{c}", "w:{t}"]
    now_us += WINDOW.window_us
    [*fallback.forget()]
    assert local.keys() == ["breaker:s:{c}"]


async def test_limits_that_come_and_go_take_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """With every new policy set there are new ones."""
    monkeypatch.setattr(module, "MOST_SHARES", 10)
    fallback = Fallback(LocalStore(), Fleet(1, 0))
    for _ in range(100):
        await fallback.admit(Ask([Charge(replace(WINDOW), "w:{t}", 1)]), "")
    assert len(fallback._shares) <= 10
    assert len(fallback._whole) <= 10
