"""Workers as `gateway.app` makes them, without listeners: a store, shares, leases, and an `Outage`."""

import asyncio
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from gateway.core.ask import Ask
from gateway.core.limits import Charge
from gateway.core.shares import Fleet
from gateway.leases import Leases
from gateway.outage import Outage
from gateway.store import StoreDown
from gateway.store.cluster.store import ClusterStore
from gateway.store.local.store import LocalStore
from gateway.store.outage.fallback import Fallback
from gateway.store.redis import RedisStore
from tests.fakes.patience import PATIENT_US, impatience
from tests.store.conftest import Events


class Worker:
    """One worker, and its callers."""

    def __init__(self, url: str, own: Fleet, most_keys: int = 100_000) -> None:
        self.events = Events()
        kind = ClusterStore if "+cluster" in url else RedisStore
        self.below = kind(url, timeout_us=PATIENT_US, on_event=lambda *event: self.outage.on_store_event(*event))
        self.store = self.below
        self.fallback = Fallback(LocalStore(max_keys=most_keys), own)
        self.asks: dict[tuple[Charge, ...], Ask] = {}
        self.gateway = SimpleNamespace(store=self.below, fallback=self.fallback)
        self.leases = Leases()
        self.share = lambda _told: None
        self.outage = Outage(
            self.below,
            self.fallback,
            self.leases,
            own,
            tell=self.events,
            asks=self.asks.values,
            use=lambda store: setattr(self, "store", store),
            share=lambda told: self.share(told),
        )

    async def call(self, *charges: Charge) -> bool:
        ask = self.asks.setdefault(charges, Ask(charges))
        try:
            decision = await self.store.admit(ask, "")
            ask.see(decision)
        except StoreDown as down:
            self.outage.could_not(ask, down)
            _, decision = await self.fallback.admit(ask, "")
        return decision.admitted

    async def calls(self, count: int, *charges: Charge) -> int:
        return sum([await self.call(*charges) for _ in range(count)])


async def all_lost(workers: list[Worker]) -> None:
    """The server was frozen or killed: until all have noticed."""
    for worker in workers:
        alone = isinstance(worker.below, RedisStore)
        with impatience(worker.below._pipeline) if alone else nullcontext(), pytest.raises(StoreDown):
            await worker.below.ping()


async def all_back(workers: list[Worker]) -> None:
    await asyncio.gather(*(worker.events.wait_for("store.recovered") for worker in workers))


async def start_fleet(url: str, count: int) -> list[Worker]:
    """So many workers, each of a gateway of its own, which know of each other."""
    workers = [Worker(url, Fleet(1, 0)) for _ in range(count)]
    for worker in workers:
        await worker.below.start()
        worker.outage.start()
    for worker in workers * 2:
        await worker.outage._heartbeat.beat()
    assert all(worker.fallback.fleet.workers == count for worker in workers)
    return workers


async def end_fleet(workers: list[Worker]) -> None:
    for worker in workers:
        await worker.outage.close()
        await worker.below.close()
        worker.leases.close()
