"""Several workers on one real server that freezes, is killed and comes back: what they admit together."""

import asyncio
from dataclasses import replace

import pytest

from gateway import outage
from gateway.core.ask import Ask
from gateway.core.limits import Charge, Limit
from gateway.core.shares import Fleet
from gateway.store import StoreDown
from gateway.store.connection import pipeline
from gateway.store.outage import doubts as undecided
from gateway.store.outage import heartbeat
from gateway.store.outage.handover import Told
from tests.fakes.waiting import eventually, turns
from tests.store.outage.limits import BUCKET, FIXED, WINDOW
from tests.store.workers import Worker, all_back, all_lost


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
    await eventually(lambda: careful_s or other.outage._work is None)
    assert await one.calls(100, charge) == 30, "it has been told what was spent"
    assert await other.calls(100, charge) == others
    assert other.events.names == []


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


async def waits_for_others(worker: Worker) -> None:
    """Until it has told its debts, and has heard once who else is back."""
    await eventually(lambda: worker.below.up and isinstance(worker.store, Told))
    await worker.below.ping()
    await turns(5)


async def test_who_was_heard_of_before_a_second_loss_is_waited_for_again(one_waits, own_redis_server) -> None:
    first, waiting = one_waits
    charge = Charge(WINDOW, "w:{t}", 1)
    waiting.outage._heartbeat.ahead_us += (
        1_000_000  # it goes when what was said before is long ago, on a busy host as well
    )
    own_redis_server.freeze()
    await all_lost([first, waiting])
    assert await first.calls(100, charge) == 50
    await first.below.close()  # for it the store stays away
    own_redis_server.thaw()
    await waits_for_others(waiting)
    assert not waiting.outage.up
    assert await waiting.calls(100, charge) == 50


async def test_who_was_heard_of_long_before_it_is_back_is_waited_for(start_workers, monkeypatch) -> None:
    """The other one had the store for a moment, and has lost it again since."""
    monkeypatch.setattr(outage, "ASK_AGAIN_S", 30.0)
    monkeypatch.setattr(heartbeat, "LATEST_BEATS", -1)  # whatever was said before is long ago, on a busy host as well
    worker, other = await start_workers(2)
    worker.outage.on_store_event("store.degraded", {"kind": "timeout", "detail": "no answer"})
    await other.outage._heartbeat.beat()
    other.outage._heartbeat.quiet = True
    await other.below.ping()  # whatever beat it was about to send has been answered
    worker.outage.on_store_event("store.recovered", {})
    await waits_for_others(worker)
    assert not worker.outage.up


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


def test_shorter_gaps_do_not_mean_more_than_two_dials_a_second() -> None:
    assert pipeline.MIN_DIAL_GAP_S >= 0.5


async def test_missing_rights_are_still_noticed_to_be_mended_when_another_one_had_lost_the_store_meanwhile(
    start_workers, monkeypatch
) -> None:
    monkeypatch.setattr(outage, "CAREFUL_S", 0.0)
    monkeypatch.setattr(undecided, "CALM_S", 0.0)
    (worker,) = await start_workers(1)
    charge = Charge(WINDOW, "w:{t}", 1)
    lacks = StoreDown("script", "ACL failure in script: User gateway has no permissions to run the 'set' command")
    worker.outage.could_not(Ask([charge]), lacks)
    worker.outage.heard({"ahead_us": worker.outage._heartbeat.ahead_us, "left": [], "lost": True})
    await eventually(lambda: worker.outage._work is None)
    assert not worker.outage.well
    assert await worker.call(charge)
    assert worker.outage.well
    assert worker.events.names == ["store.degraded", "store.recovered"]


async def test_who_hears_again_that_another_has_lost_the_store_has_told_already(start_workers) -> None:
    (worker,) = await start_workers(1)
    told: list[dict[str, object]] = []
    worker.share = told.append
    for _ in range(3):
        worker.outage.heard({"ahead_us": worker.outage._heartbeat.ahead_us, "left": [], "lost": True})
    assert [one["lost"] for one in told] == [False]
