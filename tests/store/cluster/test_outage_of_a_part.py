"""A Redis Cluster of which one server was away: calls about keys of the others notice nothing, also when it is back."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from gateway.core.ask import Ask
from gateway.core.limits import Algorithm, Charge, Limit
from gateway.outage import Outage
from gateway.store.connection.link import Link
from gateway.store.outage.handover import Told, Untold
from tests.fakes.redis_cluster import ClusterNode, RedisCluster
from tests.fakes.waiting import eventually
from tests.store.workers import Worker, all_back, all_lost, end_fleet, start_fleet

WINDOW = Limit("w", Algorithm.ROLLING_WINDOW, 100, 600_000_000, ("tenant",))
PATIENCE_S = 20.0
Connect = Callable[[Link], Awaitable[None]]


def charge_at(cluster: RedisCluster, node: ClusterNode) -> Charge:
    """One unit of a partition that this server counts."""
    return Charge(WINDOW, f"w:{{{cluster.text_at(node, 'gw:w:{{{}}}')}}}", 1)


@pytest.fixture
async def workers(broken_cluster):
    fleet = await start_fleet(broken_cluster.url, 2)
    yield fleet
    await end_fleet(fleet)


Hold = Callable[[str], asyncio.Event]


@pytest.fixture
def hold(monkeypatch) -> Hold:
    """Function that holds all workers up before this step of their way back, until the event that it returns is set."""

    def at(step: str) -> asyncio.Event:
        go_on, taken = asyncio.Event(), getattr(Outage, step)

        async def wait(self: Outage, _until_s: float) -> None:
            await go_on.wait()
            await taken(self, asyncio.get_running_loop().time() + PATIENCE_S)

        monkeypatch.setattr(Outage, step, wait)
        return go_on

    return at


@pytest.fixture(params=["untold", "told"])
def back_for_long(request, hold: Hold) -> tuple[asyncio.Event, type]:
    """The store is back, and until this is set, no worker has told what it spent; or others may not have. What decides
    meanwhile."""
    return (hold("_catch_up"), Untold) if request.param == "untold" else (hold("_wait_for_others"), Told)


@pytest.fixture
def cut_off(monkeypatch):
    """Function that takes a server away from all workers; when the event that it returns is set, it is there again."""

    def cut(workers: list[Worker], port: int) -> asyncio.Event:
        whole = asyncio.Event()
        for worker in workers:
            pipeline = next(node.pipeline for node in worker.below._nodes.primaries if node.address[1] == port)
            connect = pipeline._dialer.connect

            async def wait_and_connect(link: Link, connect: Connect = connect) -> None:
                await whole.wait()
                await connect(link)

            monkeypatch.setattr(pipeline._dialer, "connect", wait_and_connect)
            pipeline._link.abort()
        return whole

    return cut


async def handing_over(workers: list[Worker], by: type) -> None:
    """Until the store is back for everybody, and does not decide alone yet."""
    await eventually(lambda: all(isinstance(worker.store, by) for worker in workers))


async def test_keys_whose_server_stayed(workers, broken_cluster, cut_off, back_for_long) -> None:
    """The store alone decides, all the time. Shares would begin from what each worker has heard, which differs."""
    go_on, by = back_for_long
    first, second, _ = broken_cluster.primaries
    one, other = workers
    lost, stayed = (charge_at(broken_cluster, node) for node in (first, second))
    assert await other.calls(1, stayed) == 1
    assert await one.calls(9, stayed) == 9
    whole = cut_off(workers, first.port)
    assert await one.calls(100, lost) + await other.calls(100, lost) == 100
    assert await other.calls(10, stayed) == 10
    whole.set()
    await handing_over(workers, by)
    assert await other.calls(100, stayed) == 80
    assert await one.calls(100, stayed) == 0
    assert await one.calls(5, lost) + await other.calls(5, lost) == 0
    go_on.set()
    await all_back(workers)
    assert await one.calls(5, lost) + await other.calls(5, lost) == 0


async def test_keys_of_a_server_that_another_replaced(workers, broken_cluster, back_for_long, hold: Hold) -> None:
    """Whoever serves them now, they were away. While servers change places links are lost, and what was spent is told
    anew: so nobody tells it before they have."""
    go_on, by = back_for_long
    in_place = hold("_catch_up")
    first = broken_cluster.primaries[0]
    lost = charge_at(broken_cluster, first)
    one, other = workers
    replicas = broken_cluster.replicas_of(first)
    first.kill()
    await all_lost(workers)
    assert await one.calls(80, lost) == 50
    await asyncio.to_thread(broken_cluster.wait_for_promotion, replicas)
    await asyncio.to_thread(broken_cluster.wait_until_it_works)
    in_place.set()
    await handing_over(workers, by)
    assert (await other.below.peek(Ask((lost,)))).verdicts[0].remaining == (50 if by is Told else 100)
    assert await one.calls(80, lost) == 0
    assert await other.calls(80, lost) == 50
    go_on.set()
    await all_back(workers)
    assert await one.calls(20, lost) + await other.calls(20, lost) == 0
