"""A Redis Cluster that loses a primary, hands over and moves slots, under constant load."""

import asyncio
import itertools
from collections.abc import Callable, Iterator
from contextlib import suppress

from redis.crc import key_slot

from tests.chaos.conftest import Figures, Fleet
from tests.chaos.exact import evenly, judge
from tests.chaos.exact import policies as windows
from tests.chaos.outage import PATIENT_S, RATE, TENANTS
from tests.chaos.stage import Stage, survived
from tests.fakes.ledger import Ledger
from tests.fakes.load import Call, Load, by_status
from tests.fakes.redis_cluster import RedisCluster
from tests.fakes.waiting import eventually, pause

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

    async with stage(store=cluster.url, timeout_s=PATIENT_S) as outage:
        await asyncio.to_thread(move_all_about)
    figures("Cluster: slots moved about", **outage.figures())
    survived(outage)
    assert {call.status for call in outage.calls("deny")} == {200}


HELD = """
version: 1
keys:
  tenant: {from: header, name: X-Tenant-Id, on_missing: reject}
limits:
  slots: {algorithm: concurrency, limit: 5, lease: 10m, key: [tenant]}
  fleet: {algorithm: concurrency, limit: 50, lease: 10m, key: []}
upstreams:
  up: {url: "%s"}
routes:
  - {name: all, match: {path_prefix: /}, upstream: up, limits: [slots, fleet]}
"""


async def test_no_slot_is_lost(fleet: Fleet, ledger: Ledger, start_cluster: Start, figures: Figures) -> None:
    """Primaries die and hand over, and slots move while calls take two slots each: in the end all slots are free, long
    before their leases lapse."""
    cluster = start_cluster(3, replicas=1)
    ledger.delay_s = 0.04
    tenants = [cluster.text_at(node, "gw:slots:{{={}}}") for node in cluster.primaries]
    keys = [*(f"gw:slots:{{={tenant}}}" for tenant in tenants), "gw:fleet:{}"]
    gateways = [await fleet(HELD % ledger.url, "--workers", "2", store=cluster.url, patience="100ms") for _ in range(2)]

    def plan() -> Iterator[tuple[float, Call]]:
        for number in itertools.count():
            yield number / RATE, Call(f"/{number}", tenants[number % 3], gateway=number % 2)

    def trouble() -> None:
        lost = cluster.owner(keys[-1])
        replicas = cluster.replicas_of(lost)
        lost.kill()
        cluster.wait_for_promotion(replicas)
        cluster.wait_until_it_works()
        for primary in cluster.primaries:
            if cluster.replicas_of(primary):
                cluster.fail_over(primary)
        cluster.wait_until_it_works()
        for slot in (key_slot(key.encode()) for key in keys * 2):
            owner = cluster.owner(slot)
            cluster.move_slot(slot, next(node for node in cluster.primaries if node is not owner))

    async with Load([one.port for one in gateways]) as load:
        running = asyncio.create_task(load.run(plan()))
        await pause(1, "the load before the trouble")
        await asyncio.to_thread(trouble)
        await pause(2, "the load after it")
        running.cancel()
        await asyncio.wait([running])
        await load.idle()

    def taken() -> list[int]:
        return [cluster.owner(key).command("ZCARD", key) for key in keys]

    with suppress(AssertionError):  # the figures tell it first
        await eventually(lambda: not any(taken()), gap_s=0.1, within_s=10)
    lost = sum(len(one.events("store.degraded")) for one in gateways)
    figures("Cluster: slots of calls", calls=len(load.calls), answers=by_status(load.calls), lost=lost, left=taken())
    assert set(by_status(load.calls)) <= {200, 429}
    assert taken() == [0, 0, 0, 0]
