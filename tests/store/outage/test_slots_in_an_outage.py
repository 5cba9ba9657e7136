"""Slots of calls that began before the store went, or while it was away: held through it, given back once."""

from types import SimpleNamespace

import pytest

from gateway import leases
from gateway.call import Call
from gateway.core.ask import Ask
from gateway.core.limits import Algorithm, Charge, Limit
from gateway.store import StoreDown
from tests.store.workers import Worker, all_back, all_lost

SLOTS = Limit("c", Algorithm.CONCURRENCY, 4, 60_000_000, ("tenant",))


class Held:
    """A call that holds a slot."""

    decided_here = Call.decided_here

    def __init__(self, worker: Worker, ask: Ask, lease: str, store: str) -> None:
        self.gateway, self.ask, self.lease = worker.gateway, ask, lease
        self.record = SimpleNamespace(store=store)


async def held(worker: Worker, lease: str) -> Held | None:
    """A call that takes a slot wherever there is one to be had."""
    ask = Ask([Charge(SLOTS, "c:{t}", 1)])
    try:
        decision, store = await worker.store.admit(ask, lease), "redis"
    except StoreDown:
        (ask, decision), store = await worker.fallback.admit(ask, lease), "local"
    if not decision.admitted:
        return None
    call = Held(worker, ask, lease, store)
    worker.leases.hold(call)
    return call


async def slots_left(worker: Worker) -> int:
    return (await worker.below.peek(Ask([Charge(SLOTS, "c:{t}", 1)]))).verdicts[0].remaining


async def test_slots_are_held_through_an_outage_and_given_back_once(start_workers, own_redis_server) -> None:
    one, other = await start_workers(2)
    before = [await held(one, f"before{n}") for n in range(2)]
    own_redis_server.freeze()
    await all_lost([one, other])
    assert await held(one, "no") is None  # its share of two is what it holds
    during = [await held(other, f"during{n}") for n in range(3)]
    assert [call is not None for call in during] == [True, True, False]
    one.leases.give_back(before[0])
    again = await held(one, "again")
    assert again is not None
    own_redis_server.thaw()
    await all_back([one, other])
    assert await slots_left(one) == 0
    other.leases.give_back(during[0])
    other.leases.give_back(during[1])
    await other.below.ping()
    assert await slots_left(one) == 2
    one.leases.give_back(before[1])
    one.leases.give_back(again)
    await one.below.ping()
    assert await slots_left(one) == 4
    assert not one.leases._both
    assert not other.leases._both


async def test_what_was_given_back_while_there_was_no_link_is_said_later(start_workers, own_redis_server) -> None:
    (worker,) = await start_workers(1)
    call = await held(worker, "a")
    link = worker.below._pipeline._link
    own_redis_server.freeze()
    await all_lost([worker])
    link.abort()
    worker.leases.give_back(call)
    own_redis_server.thaw()
    await all_back([worker])
    await worker.below.ping()
    assert await slots_left(worker) == 4


@pytest.mark.parametrize("said", ["give_back", "give_up"])
async def test_what_gets_lost_with_the_link_is_said_again(start_workers, own_redis_server, said) -> None:
    """The server has given a slot, and hears of its return only over the next connection."""
    (worker,) = await start_workers(1)
    ask = Ask([Charge(SLOTS, "c:{t}", 1)])
    assert (await worker.store.admit(ask, "a")).admitted
    getattr(worker.leases, said)(Held(worker, ask, "a", "redis"))
    worker.below._pipeline._link.abort()  # nothing has left yet
    await all_back([worker])
    await worker.below.ping()
    assert await slots_left(worker) == 4


async def test_what_was_said_long_ago_is_not_said_again(start_workers, monkeypatch) -> None:
    (worker,) = await start_workers(1)
    monkeypatch.setattr(leases, "LATELY_S", -1.0)
    for number in range(10):
        worker.leases.give_back(await held(worker, f"{number}"))
    assert len(worker.leases._said) == 1


async def test_calls_that_come_while_others_are_waited_for_leave_no_slots_taken(one_waits, own_redis_server) -> None:
    """They are let in by the store and by the share; both get back what they gave, whatever happens meanwhile."""
    _, waiting = one_waits
    for number in range(10):
        call = await held(waiting, f"{number}")
        assert call is not None
        assert call.record.store == "redis"
        waiting.leases.give_back(call)
    last = [await held(waiting, "a"), await held(waiting, "b")]
    own_redis_server.freeze()
    await all_lost([waiting])
    assert await held(waiting, "no") is None
    for call in last:
        waiting.leases.give_back(call)
    assert await held(waiting, "yes") is not None
