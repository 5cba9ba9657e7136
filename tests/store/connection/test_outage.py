"""What callers see while the server is slow, full, read-only, restarted or gone, and how the store comes back.

Nothing here waits for a time to pass: every wait ends with an event of the store or an answer.
"""

import asyncio
import itertools

import pytest
import redis.asyncio

from gateway.core.ask import Ask
from gateway.store import StoreDown
from gateway.store.connection import pipeline
from gateway.store.connection.link import pack
from tests.fakes.patience import SHORT_S, impatience
from tests.fakes.waiting import eventually, pause
from tests.fakes.wire import Wire

SHIPPED_GAP_S = pipeline.MIN_DIAL_GAP_S


@pytest.fixture(autouse=True)
def quick_dialling(monkeypatch):
    """Shorter gaps between attempts, so that the tests do not spend their time in them."""
    monkeypatch.setattr(pipeline, "MIN_DIAL_GAP_S", 0.02)
    monkeypatch.setattr(pipeline, "MAX_DIAL_GAP_S", 0.1)


@pytest.fixture
async def own_client(own_redis_server):
    async with redis.asyncio.Redis.from_url(own_redis_server.url, decode_responses=True) as client:
        yield client


def refused_at_once(store, charge) -> StoreDown:
    """The failure of an admission that was refused without waiting, not even for one turn of the loop."""
    future = store.admit(Ask([charge]), "")
    assert future.done()
    fault = future.exception()
    assert isinstance(fault, StoreDown)
    return fault


async def test_a_frozen_server_costs_one_timeout_then_nothing(
    open_store, own_redis_server, make_charge, events, kind_of_failure
):
    store = await open_store(own_redis_server.url)
    own_redis_server.freeze()
    waiting = [store.admit(Ask([make_charge()]), "") for _ in range(50)]
    with impatience(store._pipeline):
        assert [await kind_of_failure(future) for future in waiting] == ["timeout"] * 50
    assert not store.up
    for _ in range(100):
        assert refused_at_once(store, make_charge()).kind == "timeout"
    own_redis_server.thaw()
    await events.wait_for("store.recovered")
    assert (await store.admit(Ask([make_charge()]), "")).admitted
    assert events.names == ["store.degraded", "store.recovered"]


async def test_a_short_stop_costs_no_new_connection(
    open_store, own_redis_server, own_client, make_charge, events, kind_of_failure
):
    store = await open_store(own_redis_server.url)
    before = await store._pipeline.ask(pack(("CLIENT", "ID")))
    own_redis_server.freeze()
    with impatience(store._pipeline):
        assert await kind_of_failure(store.admit(Ask([make_charge()]), "")) == "timeout"
    own_redis_server.thaw()
    await events.wait_for("store.recovered")
    assert await store._pipeline.ask(pack(("CLIENT", "ID"))) == before


async def test_a_server_that_is_further_away_than_the_timeout_is_told_as_such(open_store, own_redis_server, events):
    async with Wire(own_redis_server.path, delay_s=0.05) as wire:
        store = await open_store(wire.url, timeout_us=20_000, start=False)
        with pytest.raises(StoreDown, match=r"an answer took [0-9.]+ ms, longer than store\.timeout \(20 ms\)"):
            await store.start()
        assert (await events.wait_for("store.degraded"))["kind"] == "timeout"
        wire.delay_s = 0.0
        await events.wait_for("store.recovered")


async def test_what_timed_out_was_counted_never_forgotten(
    open_store, own_redis_server, make_charge, events, kind_of_failure
):
    """The error is towards counting too much: the frozen server runs what lies in its socket when it wakes up."""
    store = await open_store(own_redis_server.url)
    own_redis_server.freeze()
    with impatience(store._pipeline):
        assert await kind_of_failure(store.admit(Ask([make_charge(5)]), "")) == "timeout"
    own_redis_server.thaw()
    await events.wait_for("store.recovered")
    assert (await store.peek(Ask([make_charge(5)]))).verdicts[0].remaining == 4


async def test_a_server_silent_for_long_is_dialled_anew(
    open_store, own_redis_server, make_charge, events, kind_of_failure, monkeypatch
):
    store = await open_store(own_redis_server.url)
    before = await store._pipeline.ask(pack(("CLIENT", "ID")))
    link = store._pipeline._link
    link._dead_s = 2 * SHORT_S
    own_redis_server.freeze()
    with impatience(store._pipeline):
        assert await kind_of_failure(store.admit(Ask([make_charge()]), "")) == "timeout"
    await link._closed
    own_redis_server.thaw()
    await events.wait_for("store.recovered")
    assert await store._pipeline.ask(pack(("CLIENT", "ID"))) != before
    assert events.names == ["store.degraded", "store.recovered"]


async def test_a_paused_server(open_store, own_redis_server, own_client, make_charge, events, kind_of_failure):
    store = await open_store(own_redis_server.url)
    await own_client.client_pause(600_000, all=False)
    with impatience(store._pipeline):
        assert await kind_of_failure(store.admit(Ask([make_charge()]), "")) == "timeout"
    assert refused_at_once(store, make_charge()).kind == "timeout"
    await own_client.client_unpause()
    await events.wait_for("store.recovered")
    assert (await store.admit(Ask([make_charge()]), "")).admitted


async def test_however_often_it_was_dialled_it_is_dialled_again(open_store, own_redis_server, events, monkeypatch):
    """A gap that doubled with each failed attempt was no number any more after 1,024 of them, which are ten minutes."""
    for gap in ("MIN_DIAL_GAP_S", "MAX_DIAL_GAP_S", "HERD_JITTER_S"):
        monkeypatch.setattr(pipeline, gap, 0.0)
    store = await open_store(own_redis_server.url)
    connect, attempts = store._pipeline._dialer.connect, 0

    async def counted(link):
        nonlocal attempts
        attempts += 1
        await connect(link)

    monkeypatch.setattr(store._pipeline._dialer, "connect", counted)
    own_redis_server.kill()
    await eventually(lambda: attempts > 1100)
    own_redis_server.start()
    await events.wait_for("store.recovered")


class Caller:
    """Admissions of one tenant, one after the other, until cancelled."""

    def __init__(self, store, charge) -> None:
        self.store, self.charge = store, charge
        self.admitted = 0
        self.failures: list[str] = []

    async def run(self) -> None:
        while True:
            try:
                self.admitted += (await self.store.admit(Ask([self.charge]), "")).admitted
            except StoreDown as fault:
                self.failures.append(fault.kind)
                await pause(0.001, "a caller that is rather quick")


async def everyone_is_admitted(callers: list[Caller]) -> None:
    """Wait until each of them was admitted once more."""
    before = [caller.admitted for caller in callers]
    await eventually(lambda: not any(caller.admitted == count for caller, count in zip(callers, before, strict=True)))


async def test_a_restart_under_load(open_store, own_redis_server, make_charge, events):
    store = await open_store(own_redis_server.url)
    callers = [Caller(store, make_charge(1_000_000, f"t{i}")) for i in range(20)]
    tasks = [asyncio.create_task(caller.run()) for caller in callers]
    for round_number in (1, 2):
        await everyone_is_admitted(callers)
        own_redis_server.kill()
        await events.wait_for("store.degraded", round_number)
        own_redis_server.start()
        await everyone_is_admitted(callers)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert {kind for caller in callers for kind in caller.failures} == {"connect"}
    assert events.names == ["store.degraded", "store.recovered"] * 2


async def test_a_killed_connection_is_replaced(open_store, own_redis_server, own_client, make_charge, events):
    store = await open_store(own_redis_server.url)
    for times in (1, 2, 3):
        await own_client.client_kill_filter(_id=await store._pipeline.ask(pack(("CLIENT", "ID"))))
        await events.wait_for("store.recovered", times)
        assert (await store.admit(Ask([make_charge()]), "")).admitted
    assert len(await own_client.client_list()) == 2, "the store's one and ours"


async def test_starting_while_the_server_is_down(open_store, own_redis_server, make_charge, events):
    own_redis_server.kill()
    store = await open_store(own_redis_server.url, start=False)
    assert refused_at_once(store, make_charge()).kind == "connect"
    with pytest.raises(StoreDown) as caught:
        await store.start()
    assert caught.value.kind == "connect"
    assert not store.up
    assert refused_at_once(store, make_charge()).kind == "connect"
    store.release([make_charge()], "lease")
    own_redis_server.start()
    await events.wait_for("store.recovered")
    assert (await store.admit(Ask([make_charge()]), "")).admitted
    assert events.names == ["store.degraded", "store.recovered"]


async def test_dialling_has_gaps_that_grow_and_vary(open_store, own_redis_server, monkeypatch):
    """No storm: one attempt at a time, and the shipped gap keeps them under two a second."""
    assert SHIPPED_GAP_S >= 0.5
    own_redis_server.kill()
    store = await open_store(own_redis_server.url, start=False)
    began, enough, running = [], asyncio.Event(), 0
    connect = store._pipeline._dialer.connect

    async def counted(link):
        nonlocal running
        running += 1
        assert running == 1
        began.append(asyncio.get_running_loop().time())
        if len(began) == 8:
            enough.set()
        try:
            await connect(link)
        finally:
            running -= 1

    monkeypatch.setattr(store._pipeline._dialer, "connect", counted)
    with pytest.raises(StoreDown):
        await store.start()
    await enough.wait()
    gaps = [later - earlier for earlier, later in itertools.pairwise(began)]
    assert min(gaps) > 0.02 - 0.005, "uvloop counts in milliseconds"
    assert len(set(gaps)) > 1


async def test_a_read_only_replica_is_no_store(open_store, own_redis_server, own_client, make_charge, events):
    store = await open_store(own_redis_server.url)
    await own_client.replicaof("127.0.0.1", "1")
    with pytest.raises(StoreDown, match="READONLY") as caught:
        await store.admit(Ask([make_charge()]), "")
    assert caught.value.kind == "other"
    assert "READONLY" in refused_at_once(store, make_charge()).detail
    await own_client.replicaof("NO", "ONE")
    await events.wait_for("store.recovered")
    assert (await store.admit(Ask([make_charge()]), "")).admitted
    assert events.names == ["store.degraded", "store.recovered"]


async def test_a_full_server_refuses_loudly_and_forgets_nothing(
    open_store, own_redis_server, own_client, make_charge, events
):
    store = await open_store(own_redis_server.url)
    await store.admit(Ask([make_charge(5)]), "")
    await own_client.config_set("maxmemory", 1)
    with pytest.raises(StoreDown, match="OOM") as caught:
        await store.admit(Ask([make_charge(5)]), "")
    assert caught.value.kind == "other"
    assert "OOM" in refused_at_once(store, make_charge()).detail
    await own_client.config_set("maxmemory", 0)
    await events.wait_for("store.recovered")
    assert (await store.peek(Ask([make_charge(5)]))).verdicts[0].remaining == 4
    assert events.names == ["store.degraded", "store.recovered"]


async def test_rights_taken_away_and_given_back(open_store, own_redis_server, own_client, make_charge, events):
    await own_client.acl_setuser("gw", enabled=True, passwords=["+pw"], keys=["*"], commands=["+@all"])
    store = await open_store(own_redis_server.url.replace("unix://", "unix://gw:pw@"))
    await own_client.acl_setuser("gw", enabled=True, commands=["-evalsha"])
    with pytest.raises(StoreDown, match="NOPERM"):
        await store.admit(Ask([make_charge()]), "")
    assert not store.up
    await own_client.acl_setuser("gw", enabled=True, commands=["+evalsha"])
    await events.wait_for("store.recovered")
    assert (await store.admit(Ask([make_charge()]), "")).admitted


async def test_a_password_changed_under_way(open_store, own_redis_server, own_client, make_charge, events):
    await own_client.acl_setuser("gw", enabled=True, passwords=["+old"], keys=["*"], commands=["+@all"])
    await open_store(own_redis_server.url.replace("unix://", "unix://gw:old@"))
    await own_client.acl_setuser("gw", enabled=True, passwords=["-old", "+new"])
    await own_client.client_kill_filter(user="gw")
    assert (await events.wait_for("store.degraded"))["kind"] == "connect"
    await own_client.acl_setuser("gw", enabled=True, passwords=["+old"])
    await events.wait_for("store.recovered")
    assert "old" not in str(events.seen)


async def alone(client) -> bool:
    """Whether the server has nobody else."""
    return len(await client.client_list()) == 1


async def test_close_leaves_nothing_behind(open_store, own_redis_server, own_client, make_charge):
    tasks = len(asyncio.all_tasks())
    store = await open_store(own_redis_server.url)
    assert len(await own_client.client_list()) == 2
    await store.close()
    assert len(asyncio.all_tasks()) == tasks
    await eventually(lambda: alone(own_client))
    assert refused_at_once(store, make_charge()).kind == "connect"
    store.release([make_charge()], "lease")


async def test_close_while_the_server_is_down(open_store, own_redis_server, events):
    store = await open_store(own_redis_server.url)
    own_redis_server.kill()
    await events.wait_for("store.degraded")
    await store.close()
    assert events.names == ["store.degraded"]


async def test_close_fails_those_who_still_wait(
    open_store, own_redis_server, make_charge, monkeypatch, kind_of_failure
):
    store = await open_store(own_redis_server.url)
    own_redis_server.freeze()
    waiting = store.admit(Ask([make_charge()]), "")
    await store.close()
    assert await kind_of_failure(waiting) == "connect"
    own_redis_server.thaw()


async def test_what_is_told_while_dialling_shifts_no_answer(
    open_store, own_redis_server, own_client, make_charge, make_slot, events, monkeypatch
):
    """There is no connection then, so it is dropped; it must not leave a place in the queue of answers either."""
    store = await open_store(own_redis_server.url)
    connect = store._pipeline._dialer.connect

    async def connect_while_told(link):
        store.release([make_slot()], "lease")
        store.renew([make_slot()], "lease")
        await connect(link)

    monkeypatch.setattr(store._pipeline._dialer, "connect", connect_while_told)
    await own_client.client_kill_filter(_id=await store._pipeline.ask(pack(("CLIENT", "ID"))))
    await events.wait_for("store.recovered")
    for i in range(5):
        decision = await store.admit(Ask([make_charge(10 + i, f"t{i}")]), "")
        assert decision.verdicts[0].remaining == 9 + i
