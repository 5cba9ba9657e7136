"""The store on a real Redis Cluster of three primaries: decisions in one slot and in several."""

import asyncio
import re
from contextlib import suppress
from functools import partial
from pathlib import Path

import hiredis
import pytest

from gateway.core.ask import Ask
from gateway.core.connections.state import ConnectionState
from gateway.core.grant import Grant
from gateway.core.guards import Breaker, Guard, Pausing, Report, State
from gateway.core.limits import Decision
from gateway.core.settlement import Correction
from gateway.core.shares import Fleet
from gateway.store import StoreDown
from gateway.store.cluster import nodes
from gateway.store.cluster.topology import slot_of
from gateway.store.connection.faults import Redirected
from gateway.store.outage.heartbeat import Heartbeat
from gateway.store.shared.status import RedisStatuses
from tests.fakes.waiting import eventually, for_ever


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


DOCS = Path(__file__).parents[3] / "docs" / "store.md"


def documented_rights() -> list[str]:
    """The rule of `docs/store.md` behind the password, with what it says a cluster needs more."""
    rule = re.search(r"ACL SETUSER gateway on >PASSWORD (.*?)```", DOCS.read_text(), re.DOTALL)
    return [*rule[1].split(), "+cluster|slots", "+asking"]


async def test_calls_of_different_cost_by_one_key_at_once(open_store, emptied_cluster, make_charge):
    """Each is charged its own cost, and told what its own left."""
    store = await open_store(emptied_cluster.url)
    charge = make_charge(21)
    asks = [Ask([charge._replace(cost=cost)]) for cost in (1, 3, 1, 3, 5)]
    decisions = await asyncio.gather(*(store.admit(ask, "") for ask in asks))
    left = sorted((decision.verdicts[0].remaining for decision in decisions), reverse=True)
    assert left[-1] == (await store.peek(Ask([charge]))).verdicts[0].remaining == 21 - 13
    assert len(set(left)) == len(asks)


async def test_the_rights_a_user_needs(open_store, emptied_cluster, make_charge, make_slot, events):
    for node in emptied_cluster.nodes:
        node.command("ACL", "SETUSER", "gw", "reset", "on", ">pw", *documented_rights())
    store = await open_store(emptied_cluster.url.replace("//", "//gw:pw@"))
    tenants = [emptied_cluster.text_at(node, "gw:w:{{={}}}") for node in emptied_cluster.primaries]
    charges = [make_charge(9, tenants[0]), make_charge(9, tenants[1]), make_slot(9, tenants[2])]
    assert (await store.admit(Ask(charges), "one")).admitted
    store.renew(charges, "one")
    store.settle([Correction(charges[0], 1)], 0)
    store.release(charges, "one")
    assert await store.ping() > 0
    assert [verdict.remaining for verdict in (await store.peek(Ask(charges))).verdicts] == [7, 8, 9]
    breaker, pause = Guard(Breaker("b", (), consecutive_failures=1), "b:{*}"), Guard(Pausing("p", 1_000_000), "p:{*}")
    assert [change.state for change in await store.report([Report(breaker, 0, failed=1)])] == [State.OPEN]
    assert await store.pause(pause, 1_000_000) == (True, 1_000_000)
    await store.force(breaker, State.CLOSED, 1_000_000)
    await store.ping()
    assert await store.troubled() == (breaker.key,)
    assert len((await store.guards([breaker, pause]))[1]) == 2
    assert (await store.guards([]))[1] == ()
    assert not await store.grant(charges[0], Grant(5, 0), 1_000_000)
    assert (await store.granted(charges[0]))[1].quota == 5
    assert await store.reset(charges[0])
    assert (await Heartbeat(store, Fleet(1, 0), lambda _: None).beat()).workers == 1
    assert await RedisStatuses(store, lambda _: None).page([*ConnectionState], "", 10)
    assert events.names == []


async def test_what_is_listed_of_breakers(open_store, emptied_cluster):
    store = await open_store(emptied_cluster.url)
    guards = [Guard(Breaker("b", ("t",), consecutive_failures=1), f"b:{{={at}}}") for at in range(20)]
    changes = await store.report([Report(guard, 0, failed=1) for guard in guards])
    assert {change.state for change in changes} == {State.OPEN}
    await store.ping()
    assert set(await store.troubled()) == {guard.key for guard in guards}
    await store.force(guards[0], State.CLOSED, 1)
    await store.force(guards[0], None, 0)
    _, kept = await store.guards(guards)
    assert [circuit.state for circuit in kept] == [State.CLOSED, *[State.OPEN] * 19]


async def test_servers_that_send_each_other_the_blame(open_store, serve_nodes, make_charge):
    """Two servers, each of which says that the other one has every slot: an answer comes in time all the same."""
    store = await open_store(await serve_nodes(), start=False, timeout_us=200_000)
    with suppress(StoreDown):
        await store.start()
    with pytest.raises(StoreDown) as caught:
        await store.admit(Ask([make_charge()]), "")
    assert "sent on 5 times" in str(caught.value) or caught.value.kind == "timeout"


@pytest.fixture
async def serve_nodes():
    """Function that starts two servers of a cluster which know nothing but each other; returns the store's URL."""
    servers, ports = [], []

    def answer(mine, words):
        if words[:2] == [b"CLUSTER", b"SLOTS"]:
            return f"*1\r\n*3\r\n:0\r\n:16383\r\n*3\r\n$9\r\n127.0.0.1\r\n:{ports[0]}\r\n$1\r\na\r\n"
        if words[0] in (b"EVALSHA", b"EVAL"):
            return f"-MOVED {slot_of(words[3].decode())} 127.0.0.1:{ports[1 - mine]}\r\n"
        return "+OK\r\n"

    async def serve(mine, reader, writer):
        parser = hiredis.Reader()
        while data := await reader.read(65536):
            parser.feed(data)
            while words := parser.gets():
                writer.write(answer(mine, words).encode())
        writer.close()

    async def start():
        for mine in range(2):
            servers.append(await asyncio.start_server(partial(serve, mine), "127.0.0.1", 0))
            ports.append(servers[-1].sockets[0].getsockname()[1])
        return f"redis+cluster://127.0.0.1:{ports[0]}"

    yield start
    for server in servers:
        server.close()


async def test_close_although_a_cancellation_gets_lost(open_store, emptied_cluster, monkeypatch):
    store = await open_store(emptied_cluster.url, start=False)
    looking, look = asyncio.Event(), store._nodes._look

    async def loses_it():
        monkeypatch.setattr(store._nodes, "_look", look)
        looking.set()
        with suppress(asyncio.CancelledError):
            await for_ever()

    monkeypatch.setattr(store._nodes, "_look", loses_it)
    starting = asyncio.create_task(store.start())
    await looking.wait()
    await store.close()
    with suppress(StoreDown):
        await starting


async def test_close_at_the_moment_at_which_it_is_told_to_look_anew(open_store, emptied_cluster, monkeypatch):
    monkeypatch.setattr(nodes, "MIN_GAP_S", 0.0)
    monkeypatch.setattr(nodes, "MAX_GAP_S", 0.0)
    store = await open_store(emptied_cluster.url)
    stale = store._nodes._stale
    await eventually(lambda: stale._waiters, gap_s=0)
    stale.set()
    await store.close()


async def test_who_is_sent_elsewhere_when_it_is_over_opens_nothing(open_store, emptied_cluster):
    """Nobody would end that link."""
    store = await open_store(emptied_cluster.url)
    await store.close()
    sent = asyncio.get_running_loop().create_future()
    sent.set_exception(Redirected(f"MOVED 0 {emptied_cluster.nodes[0].address}"))
    with pytest.raises(StoreDown, match="closed"):
        await store._nodes.answer(0, (b"", None, None, ""), sent)
    assert asyncio.all_tasks() == {asyncio.current_task()}
