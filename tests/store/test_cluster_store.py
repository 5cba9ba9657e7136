"""The store on a real Redis Cluster of three primaries: decisions in one slot and in several."""

import asyncio

from gateway.core.ask import Ask
from gateway.core.limits import Decision


async def test_admit_charges_and_peek_does_not(open_store, emptied_cluster, make_charge):
    store = await open_store(emptied_cluster.url)
    asked = [make_charge(2)]
    assert (await store.peek(Ask(asked))).verdicts[0].remaining == 2
    first, second, third = [await store.admit(Ask(asked), "") for _ in range(3)]
    assert isinstance(first, Decision)
    assert (first.admitted, second.admitted, third.admitted) == (True, True, False)
    assert second.verdicts[0].remaining == 0
    assert store.up
    assert store.kind == "redis"


async def test_all_or_nothing_over_several_servers(open_store, emptied_cluster, make_charge):
    store = await open_store(emptied_cluster.url)
    tenants = [emptied_cluster.text_at(node, "gw:w:{{={}}}") for node in emptied_cluster.primaries]
    narrow, wide, wider = [make_charge(quota, tenant) for quota, tenant in zip((3, 5, 7), tenants, strict=True)]
    ask = Ask([wide, narrow, wider])
    decisions = [await store.admit(ask, "") for _ in range(6)]
    assert [decision.admitted for decision in decisions] == [True] * 3 + [False] * 3
    assert [verdict.remaining for verdict in decisions[2].verdicts] == [2, 0, 4]
    assert [verdict.remaining for verdict in decisions[5].verdicts] == [2, 0, 4], "the refused ones cost nothing"
    assert [verdict.admitted for verdict in decisions[5].verdicts] == [True, False, True]


async def test_exactly_the_limit_of_many_at_once_over_several_servers(open_store, emptied_cluster, make_charge):
    stores = [await open_store(emptied_cluster.url) for _ in range(2)]
    tenants = [emptied_cluster.text_at(node, "gw:w:{{={}}}") for node in emptied_cluster.primaries]
    asks = [
        Ask([make_charge(100, tenants[0]), make_charge(1_000, tenants[1])]),
        Ask([make_charge(100, tenants[0]), make_charge(1_000, tenants[2])]),
    ]
    decisions = await asyncio.gather(*(stores[i % 2].admit(asks[i // 2 % 2], "") for i in range(600)))
    assert sum(decision.admitted for decision in decisions) <= 100
    for store in stores:
        await store.close()
    store = await open_store(emptied_cluster.url)
    while (await store.admit(asks[0], "")).admitted:
        pass
    left = await store.peek(Ask([*asks[0].charges, asks[1].charges[1]]))
    assert left.verdicts[0].remaining == 0
    assert sum(1_000 - verdict.remaining for verdict in left.verdicts[1:]) == 100, (
        "whatever was taken too early is back"
    )
