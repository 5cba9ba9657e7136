"""A Redis Cluster that loses a primary, hands over and moves slots, under constant load."""

import asyncio
from collections.abc import Callable

from redis.crc import key_slot

from tests.chaos.conftest import Figures, Fleet
from tests.chaos.exact import evenly, judge
from tests.chaos.exact import policies as windows
from tests.chaos.outage import TENANTS
from tests.chaos.stage import Stage, survived
from tests.fakes.ledger import Ledger
from tests.fakes.load import Load
from tests.fakes.redis_cluster import RedisCluster

WINDOW_S, LIMIT = 4.0, 30

Start = Callable[..., RedisCluster]


async def test_exact_on_a_cluster(fleet: Fleet, ledger: Ledger, redis_cluster: RedisCluster, figures: Figures) -> None:
    text = windows(ledger.url, {"w": f"algorithm: rolling_window, limit: {LIMIT}, window: {WINDOW_S:g}s"})
    gateways = await asyncio.gather(*(fleet(text, "--workers", "2", store=redis_cluster.url) for _ in range(2)))
    async with Load([one.port for one in gateways]) as load:
        await load.run(evenly([f"t{number}" for number in range(8)], 3 * LIMIT / WINDOW_S, 2 * WINDOW_S, 2))
    found = judge(load.calls, ledger, LIMIT, WINDOW_S)
    figures("2 gateways x 2 workers on a cluster of 3", calls=len(load.calls), **found)
    assert found["most_in_any_window"] <= LIMIT
    assert found["needless_refusals"] == 0


async def test_a_primary_dies(stage: Stage, start_cluster: Start, figures: Figures) -> None:
    cluster = start_cluster(3, replicas=1)
    async with stage(store=cluster.url) as outage:
        lost = cluster.owner("gw:local:{=t0}")
        replicas = cluster.replicas_of(lost)
        lost.kill()
        await asyncio.to_thread(cluster.wait_for_promotion, replicas)
    figures("Cluster: primary killed", **outage.figures())
    survived(outage, forgotten=1, partly=True)


async def test_a_primary_hands_over(stage: Stage, start_cluster: Start, figures: Figures) -> None:
    cluster = start_cluster(3, replicas=1)
    async with stage(store=cluster.url) as outage:
        for primary in cluster.primaries:
            await asyncio.to_thread(cluster.fail_over, primary)
    figures("Cluster: CLUSTER FAILOVER", **outage.figures())
    survived(outage, forgotten=1, partly=True)


async def test_slots_move(stage: Stage, start_cluster: Start, figures: Figures) -> None:
    """With their keys, while these are asked for; nobody notices: `deny` would show it."""
    cluster = start_cluster(3)

    def move_all_about() -> None:
        for _ in range(3):
            for tenant in range(TENANTS):
                slot = key_slot(f"=t{tenant}".encode())
                owner = cluster.owner(slot)
                cluster.move_slot(slot, cluster.nodes[(cluster.nodes.index(owner) + 1) % 3])

    async with stage(store=cluster.url) as outage:
        await asyncio.to_thread(move_all_about)
    figures("Cluster: slots moved about", **outage.figures())
    survived(outage)
    assert {call.status for call in outage.calls("deny")} == {200}
