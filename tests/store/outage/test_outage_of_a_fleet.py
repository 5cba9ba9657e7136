"""Several workers on one real server that freezes, is killed and comes back: what they admit together."""

import asyncio
from dataclasses import replace
from types import SimpleNamespace

import pytest

from gateway import leases, outage
from gateway.call import Call
from gateway.core.ask import Ask
from gateway.core.limits import Algorithm, Charge, Decision, Limit, Verdict
from gateway.core.shares import Fleet
from gateway.store import StoreDown
from gateway.store.connection import pipeline
from gateway.store.local.store import LocalStore
from gateway.store.outage.fallback import Fallback
from tests.fakes.waiting import eventually
from tests.store.workers import Worker, all_back, all_lost, end_fleet, start_fleet

WINDOW = Limit("w", Algorithm.ROLLING_WINDOW, 100, 600_000_000, ("tenant",))
BUCKET = Limit("b", Algorithm.TOKEN_BUCKET, 100, 100_000_000_000, ("tenant",), rate=1, per_us=1_000_000_000)
FIXED = replace(WINDOW, name="f", algorithm=Algorithm.FIXED_WINDOW, window_us=86_400_000_000)


@pytest.fixture(autouse=True)
def patient_handover(monkeypatch):
    """The machine may be busy: the last worker to come back is waited for."""
    monkeypatch.setattr(outage, "HAND_OVER_S", 20.0)


@pytest.fixture
async def start_workers(own_redis_server):
    """Function that starts so many workers, each of a gateway of its own, which know of each other."""
    started: list[Worker] = []

    async def start(count: int) -> list[Worker]:
        workers = await start_fleet(own_redis_server.url, count)
        started.extend(workers)
        return workers

    yield start
    await end_fleet(started)


@pytest.mark.parametrize("limit", [WINDOW, FIXED, BUCKET], ids=lambda limit: limit.name)
async def test_never_more_than_the_limit_across_an_outage(start_workers, own_redis_server, limit: Limit) -> None:
    workers = await start_workers(4)
    charge = Charge(limit, f"{limit.name}:{{t}}", 1)
    before = sum([await worker.calls(10, charge) for worker in workers])
    for worker in workers:  # everybody hears what is left, and nobody is charged
        assert not await worker.call(charge._replace(cost=100))
    own_redis_server.freeze()
    await all_lost(workers)
    during = sum([await worker.calls(40, charge) for worker in workers])
    own_redis_server.thaw()
    await all_back(workers)
    after = sum([await worker.calls(40, charge) for worker in workers])
    assert (before, during, after) == (40, 60, 0)
    assert all(worker.events.names == ["store.degraded", "store.recovered"] for worker in workers)


async def test_who_has_heard_of_a_partition_long_ago_shares_out_what_was_left_then(
    start_workers, own_redis_server
) -> None:
    workers = await start_workers(4)
    charge = Charge(WINDOW, "w:{t}", 1)
    assert [await worker.calls(20, charge) for worker in workers] == [20] * 4
    own_redis_server.freeze()
    await all_lost(workers)
    during = [await worker.calls(100, charge) for worker in workers]
    own_redis_server.thaw()
    assert sum(during) == 50  # quarters of 80, 60, 40 and 20: 30 too many


async def test_workers_of_one_gateway_tell_each_other_what_was_left(start_workers, own_redis_server) -> None:
    """Also those that never met the caller begin from that."""
    one, other = await start_workers(2)
    for worker, sibling in ((one, other), (other, one)):
        worker.share = sibling.outage.heard
    charge = Charge(WINDOW, "w:{t}", 1)
    assert await one.calls(60, charge) == 60
    own_redis_server.freeze()
    await all_lost([one, other])
    assert [await worker.calls(100, charge) for worker in (other, one)] == [20, 20]
    own_redis_server.thaw()
    await all_back([one, other])
    assert await other.calls(5, charge) == 0


@pytest.mark.parametrize(("careful_s", "others"), [(20.0, 30), (0.0, 60)], ids=["while it is careful", "then"])
async def test_when_one_loses_the_store_alone_the_others_of_its_gateway_keep_to_their_shares(
    start_workers, monkeypatch, careful_s: float, others: int
) -> None:
    """It may have been one late answer. Together they stay within the limit, though the store has room for more."""
    monkeypatch.setattr(outage, "CAREFUL_S", careful_s)
    one, other = await start_workers(2)
    for worker, sibling in ((one, other), (other, one)):
        worker.share = sibling.outage.heard
    charge = Charge(WINDOW, "w:{t}", 1)
    assert await other.calls(40, charge) == 40
    dialled = asyncio.Event()
    monkeypatch.setattr(one.below._pipeline._dialer, "connect", lambda _link: dialled.wait())
    one.below._pipeline._link.abort()
    assert (one.outage.up, other.outage.up) == (False, True)
    while not careful_s and other.outage._work is not None:
        await asyncio.sleep(0)
    assert await one.calls(100, charge) == 30, "it has been told what was spent"
    assert await other.calls(100, charge) == others
    assert other.events.names == []


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


async def test_what_was_spent_is_charged_when_the_store_is_back(start_workers, own_redis_server) -> None:
    workers = await start_workers(2)
    charge = Charge(WINDOW, "w:{t}", 1)
    own_redis_server.freeze()
    await all_lost(workers)
    assert sum([await worker.calls(30, charge) for worker in workers]) == 60
    own_redis_server.thaw()
    await all_back(workers)
    decision = await workers[0].below.peek(Ask([charge]))
    assert decision.verdicts[0].remaining == 40
    await eventually(lambda: not any(worker.fallback.owing for worker in workers))


@pytest.mark.parametrize("limit", [WINDOW, FIXED, BUCKET], ids=lambda limit: limit.name)
async def test_a_server_that_forgot_everything_is_told_all_that_is_known(
    start_workers, own_redis_server, limit: Limit
) -> None:
    workers = await start_workers(4)
    charge = Charge(limit, f"{limit.name}:{{t}}", 1)
    assert await workers[0].calls(40, charge) == 40
    for worker in workers:
        assert not await worker.call(charge._replace(cost=100))
    own_redis_server.kill()
    await all_lost(workers)
    assert sum([await worker.calls(10, charge) for worker in workers]) == 40
    own_redis_server.start()
    await all_back(workers)
    after = sum([await worker.calls(100, charge) for worker in workers])
    assert after <= 20  # and 20 unless two workers told it at the same moment what both knew


@pytest.fixture
async def one_waits(start_workers, own_redis_server, monkeypatch):
    """Two workers whose store is back: one decides by it already, the other will not hear of that for long."""
    monkeypatch.setattr(outage, "ASK_AGAIN_S", 30.0)
    workers = await start_workers(2)
    own_redis_server.freeze()
    await all_lost(workers)
    own_redis_server.thaw()
    back = [asyncio.create_task(worker.events.wait_for("store.recovered")) for worker in workers]
    await asyncio.wait(back, return_when=asyncio.FIRST_COMPLETED)
    first, waiting = sorted(workers, key=lambda worker: not worker.outage.up)
    assert not waiting.outage.up
    yield first, waiting
    for task in back:
        task.cancel()


@pytest.mark.parametrize("limit", [WINDOW, FIXED, BUCKET], ids=lambda limit: limit.name)
async def test_who_has_told_its_debts_spends_nothing_that_the_store_does_not_know(one_waits, limit: Limit) -> None:
    first, waiting = one_waits
    charge = Charge(limit, f"{limit.name}:{{t}}", 1)
    assert await waiting.calls(20, charge) == 20
    assert await first.calls(100, charge) == 80
    assert await waiting.calls(100, charge) == 0
    assert waiting.fallback.owing == 0


async def test_who_has_told_its_debts_spends_no_more_than_its_share(one_waits) -> None:
    """Others may not have told theirs yet."""
    first, waiting = one_waits
    charge = Charge(WINDOW, "w:{t}", 1)
    assert await waiting.calls(100, charge) == 50
    assert await first.calls(100, charge) == 50


async def test_what_the_store_refuses_meanwhile_costs_the_share_nothing(one_waits) -> None:
    first, waiting = one_waits
    both = [Charge(WINDOW, "w:{t}", 1), Charge(replace(FIXED, quota=10), "f:{t}", 1)]
    assert await first.calls(10, *both) == 10
    assert await waiting.calls(20, *both) == 0
    assert await waiting.calls(100, both[0]) == 50


async def test_who_has_not_told_its_debts_is_not_heard_of(start_workers, own_redis_server) -> None:
    workers = await start_workers(2)
    own_redis_server.freeze()
    await all_lost(workers)
    assert all(worker.outage._heartbeat.quiet for worker in workers)
    own_redis_server.thaw()
    await all_back(workers)
    assert not any(worker.outage._heartbeat.quiet for worker in workers)


@pytest.fixture
async def blind(own_redis_server):
    """Two gateways of one worker that start while the server is down, and have been told that they are two."""
    own_redis_server.kill()
    workers = [Worker(own_redis_server.url, Fleet(1, 0, gateways=2)) for _ in range(2)]
    for worker in workers:
        with pytest.raises(StoreDown):
            await worker.below.start()
        worker.outage.start()
    yield workers
    for worker in workers:
        await worker.outage.close()
        await worker.below.close()
        worker.leases.close()


async def test_gateways_that_start_blind_share_as_they_are_told(blind, own_redis_server) -> None:
    charge = Charge(WINDOW, "w:{t}", 1)
    assert [await worker.calls(100, charge) for worker in blind] == [50, 50]
    assert blind[0].outage.status()["fleet"] == {"workers": 2, "rank": 0, "known": False}
    own_redis_server.start()
    await all_back(blind)
    assert [await worker.calls(100, charge) for worker in blind] == [0, 0]
    for worker in blind * 2:
        await worker.outage._heartbeat.beat()
    assert [worker.fallback.fleet for worker in blind] in ([Fleet(2, 0), Fleet(2, 1)], [Fleet(2, 1), Fleet(2, 0)])


async def test_more_workers_than_units(start_workers, own_redis_server) -> None:
    workers = await start_workers(4)
    own_redis_server.freeze()
    await all_lost(workers)
    for tenant in range(20):
        charge = Charge(replace(WINDOW, quota=3), f"w:{{t{tenant}}}", 1)
        assert sum([await worker.calls(3, charge) for worker in workers]) == 3
    own_redis_server.thaw()


async def test_debts_of_many_partitions_are_paid_bit_by_bit(start_workers, own_redis_server) -> None:
    (worker,) = await start_workers(1)
    own_redis_server.freeze()
    await all_lost([worker])
    charges = [Charge(WINDOW, f"w:{{t{n}}}", 1) for n in range(1050)]
    assert sum([await worker.call(charge) for charge in charges]) == 1050
    own_redis_server.thaw()
    await all_back([worker])
    await eventually(lambda: not worker.fallback.owing)
    await worker.below.ping()
    for charge in (charges[0], charges[-1]):
        assert (await worker.below.peek(Ask([charge]))).verdicts[0].remaining == 99


async def test_a_second_loss_while_it_is_being_told(start_workers, own_redis_server) -> None:
    """Nothing that the store may not have heard is forgotten; the error is towards counting too much."""
    (worker,) = await start_workers(1)
    charge = Charge(WINDOW, "w:{t}", 1)
    own_redis_server.freeze()
    await all_lost([worker])
    assert await worker.calls(30, charge) == 30
    own_redis_server.kill()
    own_redis_server.start()
    await eventually(lambda: worker.outage._work is not None, gap_s=0)
    own_redis_server.kill()
    await all_lost([worker])
    own_redis_server.start()
    await all_back([worker])
    await eventually(lambda: not worker.fallback.owing)
    await worker.below.ping()
    assert (await worker.below.peek(Ask([charge]))).verdicts[0].remaining <= 70


async def test_nothing_is_left_when_all_is_over(start_workers, own_redis_server) -> None:
    (worker,) = await start_workers(1)
    own_redis_server.freeze()
    await all_lost([worker])
    await worker.calls(5, Charge(WINDOW, "w:{t}", 1))
    assert worker.outage.status()["up"] is False
    assert "timeout" in worker.outage.in_words()
    own_redis_server.thaw()
    await all_back([worker])
    await eventually(lambda: worker.outage._work is None)
    assert len(worker.fallback._local) == 0
    assert worker.outage.status() == {
        "kind": "redis",
        "up": True,
        "fleet": {"workers": 1, "rank": 0, "known": True},
        "owing": 0,
    }


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


def test_shorter_gaps_do_not_mean_more_than_two_dials_a_second() -> None:
    assert pipeline.MIN_DIAL_GAP_S >= 0.5
