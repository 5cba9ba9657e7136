"""A Redis Cluster of which one server was away: calls about keys of the others notice nothing, also when it is back."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from gateway.core.ask import Ask
from gateway.core.limits import Algorithm, Charge, Limit
from gateway.outage import Outage
from gateway.store.cluster.store import ClusterStore
from gateway.store.connection.link import Link
from tests.fakes.redis_cluster import ClusterNode, RedisCluster
from tests.store.workers import Worker, all_back, all_lost, end_fleet, start_fleet

WINDOW = Limit("w", Algorithm.ROLLING_WINDOW, 100, 600_000_000, ("tenant",))
PATIENCE_S, PATIENT_US = 20.0, 20_000_000
Connect = Callable[[Link], Awaitable[None]]


def charge_at(cluster: RedisCluster, node: ClusterNode) -> Charge:
    """One unit of a partition that this server counts."""
    return Charge(WINDOW, f"w:{{{cluster.text_at(node, 'gw:w:{{{}}}')}}}", 1)


@pytest.fixture
async def workers(broken_cluster):
    fleet = await start_fleet(broken_cluster.url, 2, PATIENT_US)
    yield fleet
    await end_fleet(fleet)


@pytest.fixture(params=["_catch_up", "_wait_for_others"], ids=["untold", "told"])
def back_for_long(request, monkeypatch) -> asyncio.Event:
    """The store is back, and until this is set, no worker has told what it spent; or others may not have."""
    go_on, step = asyncio.Event(), getattr(Outage, request.param)

    async def wait(self: Outage, _until_s: float) -> None:
        await go_on.wait()
        await step(self, asyncio.get_running_loop().time() + PATIENCE_S)

    monkeypatch.setattr(Outage, request.param, wait)
    return go_on


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


async def handing_over(workers: list[Worker]) -> None:
    """Until the store is back for everybody, and does not decide alone yet."""
    while any(isinstance(worker.store, ClusterStore) for worker in workers):
        await asyncio.sleep(0.001)


async def test_keys_whose_server_stayed(workers, broken_cluster, cut_off, back_for_long) -> None:
    """The store alone decides, all the time. Shares would begin from what each worker has heard, which differs."""
    first, second, _ = broken_cluster.primaries
    one, other = workers
    lost, stayed = (charge_at(broken_cluster, node) for node in (first, second))
    assert await other.calls(1, stayed) == 1
    assert await one.calls(9, stayed) == 9
    whole = cut_off(workers, first.port)
    assert await one.calls(100, lost) + await other.calls(100, lost) == 100
    assert await other.calls(10, stayed) == 10
    whole.set()
    await handing_over(workers)
    assert await other.calls(100, stayed) == 80
    assert await one.calls(100, stayed) == 0
    assert await one.calls(5, lost) + await other.calls(5, lost) == 0
    back_for_long.set()
    await all_back(workers)
    assert await one.calls(5, lost) + await other.calls(5, lost) == 0


async def test_keys_of_a_server_that_another_replaced(workers, broken_cluster, back_for_long) -> None:
    """Whoever serves them now, they were away."""
    first = broken_cluster.primaries[0]
    lost = charge_at(broken_cluster, first)
    one, other = workers
    replicas = broken_cluster.replicas_of(first)
    first.kill()
    await all_lost(workers)
    assert await one.calls(80, lost) == 50
    await asyncio.to_thread(broken_cluster.wait_for_promotion, replicas)
    await handing_over(workers)
    assert await one.calls(80, lost) == 0
    # What was spent is told once more when the link is lost on the way, as it may be while servers change places; and
    # who loses it once more after that goes by its share again.
    left = (await other.below.peek(Ask((lost,)))).verdicts[0].remaining
    assert await other.calls(80, lost) in (min(50, left), 50)
    back_for_long.set()
    await all_back(workers)
    assert await one.calls(20, lost) + await other.calls(20, lost) == 0
