"""A Redis Cluster under load that loses primaries and moves slots: nobody is let in too much, and it comes back."""

import asyncio
from contextlib import suppress

import pytest
from redis.crc import key_slot

from gateway.core.ask import Ask
from gateway.core.settlement import Correction
from gateway.store import StoreDown
from gateway.store.cluster import nodes
from tests.fakes.patience import impatience
from tests.fakes.waiting import eventually, pause, turns

KEY = "gw:w:{{={}}}"


@pytest.fixture
def cluster(broken_cluster):
    return broken_cluster


def pipeline_to(store, server):
    return next(node.pipeline for node in store._nodes.primaries if node.address[1] == server.port)


async def decided_once_it_works(store, ask, lease="again"):
    """The first answer that the cluster gives again."""
    return await eventually(lambda: store.admit(ask, lease), not_yet=(StoreDown,))


async def admits(store, ask, lease) -> bool:
    return (await store.admit(ask, lease)).admitted


class Load:
    """Callers that ask over and over, each about the limits of another tenant."""

    def __init__(self, store, asks):
        self.admitted = [0] * len(asks)
        self.faults = []
        self._over = False
        self._tasks = [asyncio.create_task(self._go(store, at, ask)) for at, ask in enumerate(asks)]

    async def _go(self, store, at, ask):
        while not self._over:
            try:
                self.admitted[at] += (await store.admit(ask, "")).admitted
            except StoreDown as fault:
                self.faults.append(fault)
            await pause(0.001, "a caller that is rather quick")

    async def passes(self, calls):
        """Until every caller was admitted so many times more."""
        wanted = [count + calls for count in self.admitted]
        await eventually(lambda: not any(count < want for count, want in zip(self.admitted, wanted, strict=True)))

    async def stop(self):
        """Let every call that is on its way end."""
        self._over = True
        await asyncio.wait(self._tasks)


async def test_slots_that_move_under_load_cost_no_call_and_no_count(open_store, cluster, make_charge):
    store = await open_store(cluster.url)
    first, second, third = cluster.primaries
    tenants = [cluster.text_at(first, KEY), cluster.text_at(second, KEY)]
    asks = [Ask([make_charge(1_000_000, tenants[0])]), Ask([make_charge(1_000_000, tenant) for tenant in tenants])]
    load = Load(store, asks)
    await load.passes(20)
    slot = key_slot(KEY.format(tenants[0]).encode())
    for target in (second, third, first, third):
        await asyncio.to_thread(cluster.move_slot, slot, target)
        await load.passes(20)
    await load.stop()
    assert load.faults == []
    left = await store.peek(asks[1])
    used = [1_000_000 - verdict.remaining for verdict in left.verdicts]
    assert used == [sum(load.admitted), load.admitted[1]]


async def test_many_at_once_in_a_slot_that_has_moved_are_each_decided_once(open_store, cluster, make_charge):
    """They share a command, and each of them is sent on."""
    store = await open_store(cluster.url)
    tenant = cluster.text_at(cluster.primaries[0], KEY)
    ask = Ask([make_charge(50, tenant)])
    assert (await store.admit(ask, "")).verdicts[0].remaining == 49
    await asyncio.to_thread(cluster.move_slot, key_slot(KEY.format(tenant).encode()), cluster.primaries[1])
    decisions = await asyncio.gather(*(store.admit(ask, "") for _ in range(60)))
    assert sorted(decision.verdicts[0].remaining for decision in decisions) == sorted([*range(49), *[0] * 11])
    assert sum(decision.admitted for decision in decisions) == 49


@pytest.mark.parametrize("moved", [0, 1, 2], ids=["no key has moved", "one of two", "both"])
async def test_a_slot_on_its_way_still_decides(open_store, cluster, make_charge, make_slot, moved):
    """Scripts with two keys find neither server with both: then each key is asked for where it is."""
    store = await open_store(cluster.url)
    first, second, _ = cluster.primaries
    tenant = cluster.text_at(first, KEY)
    ask = Ask([make_charge(100, tenant), make_slot(100, tenant)])
    assert (await store.admit(ask, "one")).admitted
    slot = key_slot(KEY.format(tenant).encode())
    source = cluster.begin_move(slot, second)
    keys = [KEY.format(tenant), KEY.format(tenant).replace(":w:", ":c:")]
    if moved:
        cluster.move_keys(slot, source, second, keys[:moved])
    decision = await store.admit(ask, "two")
    assert decision.admitted
    assert [verdict.remaining for verdict in decision.verdicts] == [98, 98]
    store.renew(ask.charges, "two")
    store.release(ask.charges, "two")
    await store.ping()
    assert [verdict.remaining for verdict in (await store.peek(ask)).verdicts] == [98, 99]
    fresh = Ask(
        [
            make_charge(5, tenant)._replace(key=f"new:{{={tenant}}}"),
            make_slot(5, tenant)._replace(key=f"neu:{{={tenant}}}"),
        ]
    )
    assert [verdict.remaining for verdict in (await store.admit(fresh, "three")).verdicts] == [4, 4]
    cluster.move_keys(slot, source, second)
    cluster.end_move(slot, second)
    assert [verdict.remaining for verdict in (await store.peek(ask)).verdicts] == [98, 99]
    assert cluster.owner(slot) is second


@pytest.mark.parametrize("how", ["kill", "freeze"])
async def test_a_primary_that_is_lost_is_replaced(open_store, cluster, make_charge, events, monkeypatch, how):
    """The store sees it because it is in trouble: it does not look again without a reason."""
    monkeypatch.setattr(nodes, "LOOK_S", 3_600.0)
    store = await open_store(cluster.url)
    first, second, _ = cluster.primaries
    tenants = [cluster.text_at(first, KEY), cluster.text_at(second, KEY)]
    load = Load(store, [Ask([make_charge(1_000_000, tenant)]) for tenant in tenants])
    await load.passes(20)
    replicas = cluster.replicas_of(first)
    with impatience(pipeline_to(store, first)):
        getattr(first, how)()
        await events.wait_for("store.degraded")
    promoted = await asyncio.to_thread(cluster.wait_for_promotion, replicas)
    await load.passes(20)
    await load.stop()
    assert promoted.command("EXISTS", KEY.format(tenants[0])) == 1
    assert events.names[0] == "store.degraded"
    await eventually(lambda: store.up)
    assert events.names.count("store.recovered") == events.names.count("store.degraded")


async def test_a_primary_that_hands_over_in_order_loses_nothing(open_store, cluster, make_charge):
    store = await open_store(cluster.url)
    first = cluster.primaries[0]
    tenant = cluster.text_at(first, KEY)
    load = Load(store, [Ask([make_charge(1_000_000, tenant)])] * 5)
    await load.passes(20)
    promoted = await asyncio.to_thread(cluster.fail_over, first)
    await load.passes(20)
    await load.stop()
    assert load.faults == []
    assert cluster.owner(KEY.format(tenant)) is promoted
    used = 1_000_000 - (await store.peek(Ask([make_charge(1_000_000, tenant)]))).verdicts[0].remaining
    assert used == sum(load.admitted)


async def test_a_server_that_is_just_being_linked_is_waited_for(open_store, cluster, make_charge, monkeypatch):
    """By whoever was sent there first, and by those who ask meanwhile: nobody is decided without the store."""
    monkeypatch.setattr(nodes, "LOOK_S", 3_600.0)
    store = await open_store(cluster.url)
    first = cluster.primaries[0]
    ask = Ask([make_charge(10, cluster.text_at(first, KEY))])
    assert await admits(store, ask, "")
    successor = await asyncio.to_thread(cluster.fail_over, first)
    successor.freeze()
    calls = [asyncio.create_task(admits(store, ask, ""))]
    await eventually(lambda: any(port == successor.port for _, port in store._nodes._nodes))
    calls.append(asyncio.create_task(admits(store, ask, "")))
    await turns(10)
    successor.thaw()
    assert await asyncio.gather(*calls) == [True, True]


async def test_slots_of_calls_that_got_no_answer_come_back(open_store, cluster, make_slot):
    """A frozen server runs what lies in its socket when it wakes up: the admission, and behind it the release."""
    store = await open_store(cluster.url)
    first = cluster.primaries[0]
    slot = make_slot(1, cluster.text_at(first, "gw:c:{{={}}}"))
    first.freeze()
    with impatience(pipeline_to(store, first)), pytest.raises(StoreDown):
        await store.admit(Ask([slot]), "one")
    store.release([slot], "one")
    first.thaw()
    assert (await decided_once_it_works(store, Ask([slot]), "two")).admitted


@pytest.fixture
def unserved(cluster):
    """Function that makes a server say CLUSTERDOWN, or serve all that it served again."""
    node = cluster.primaries[0]
    slots = next([first, last] for (first, last), owner in cluster._view(node).items() if owner == node.id)

    def say(well):
        node.command("CLUSTER", "ADDSLOTSRANGE" if well else "DELSLOTSRANGE", *slots)

    return say


async def test_what_no_server_took_is_told_again(open_store, cluster, make_charge, make_slot, unserved):
    """CLUSTERDOWN: nothing ran. Slots come back, units are put right, and that only once."""
    store = await open_store(cluster.url)
    tenant = cluster.text_at(cluster.primaries[0], KEY)
    unit, slot = make_charge(10, tenant), make_slot(1, cluster.text_at(cluster.primaries[0], "gw:c:{{={}}}"))
    decision = await store.admit(Ask([unit]), "")
    assert (await store.admit(Ask([slot]), "one")).admitted
    unserved(well=False)
    store.release([slot], "one")
    store.settle([Correction(unit, 4)], decision.now_us)
    await asyncio.wait(store._telling._on_its_way)
    unserved(well=True)
    assert (await decided_once_it_works(store, Ask([unit]))).admitted

    async def left() -> int:
        return (await store.peek(Ask([unit]))).verdicts[0].remaining

    async def put_right() -> bool:
        return await left() == 10 - 2 - 4

    await eventually(put_right)
    await eventually(lambda: admits(store, Ask([slot]), "two"))
    assert not store._telling._kept
    assert await left() == 10 - 2 - 4


async def test_slots_given_back_into_a_link_that_is_lost_come_back(open_store, cluster, make_slot):
    store = await open_store(cluster.url)
    first = cluster.primaries[0]
    slot = make_slot(1, cluster.text_at(first, "gw:c:{{={}}}"))
    assert (await store.admit(Ask([slot]), "one")).admitted
    store.release([slot], "one")
    pipeline_to(store, first)._link.abort()
    await eventually(lambda: admits(store, Ask([slot]), "again"), not_yet=(StoreDown,))


async def test_debts_that_no_server_took_are_said_to_be_unpaid(open_store, cluster, make_charge, unserved):
    store = await open_store(cluster.url)
    there, away = (make_charge(10, cluster.text_at(node, KEY)) for node in (cluster.primaries[1], cluster.primaries[0]))
    unserved(well=False)
    debts = [Correction(there, 3), Correction(away, 4)]
    with suppress(StoreDown):
        await store.peek(Ask([away]))
    unpaid = await store.pay(debts)
    assert debts[1] in unpaid
    unserved(well=True)

    async def paid() -> bool:
        nonlocal unpaid
        unpaid = await store.pay(unpaid)
        return not unpaid

    await eventually(paid)
    assert (await decided_once_it_works(store, Ask([away]))).verdicts[0].remaining == 10 - 4 - 1


async def test_who_does_not_know_the_password_any_more_is_told_by_its_name(open_store, cluster, events):
    user = ("ACL", "SETUSER", "gw", "on", "resetpass", ">pw", "~*", "&*", "+@all")
    for node in cluster.running:
        node.command(*user)
    first, *_ = cluster.primaries
    try:
        await open_store(cluster.url.replace("://", "://gw:pw@"))
        first.command("ACL", "SETUSER", "gw", "resetpass", ">new")
        first.command("CLIENT", "KILL", "USER", "gw")
        assert str((await events.wait_for("store.refused"))["detail"]).startswith(f"{first.address}: invalid username-")
        first.command(*user)
        await events.wait_for("store.recovered")
    finally:
        for node in cluster.running:
            node.command("ACL", "DELUSER", "gw")
    assert events.names == ["store.degraded", "store.refused", "store.recovered"]
