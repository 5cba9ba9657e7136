"""Fleets of workers whose store goes away and comes back."""

import asyncio

import pytest

from gateway import outage
from tests.store.workers import Worker, all_lost, end_fleet, start_fleet


@pytest.fixture(autouse=True)
def patient_handover(monkeypatch):
    """The machine may be busy: the last worker to come back is waited for."""
    monkeypatch.setattr(outage, "HAND_OVER_S", 20.0)


@pytest.fixture
async def start_workers(own_redis_server):
    """Function that starts so many workers, each of a gateway of its own, which know of each other."""
    started: list[Worker] = []

    async def start(count: int) -> list[Worker]:
        workers = await start_fleet(own_redis_server.url, count)
        started.extend(workers)
        return workers

    yield start
    await end_fleet(started)


@pytest.fixture
async def one_waits(start_workers, own_redis_server, monkeypatch):
    """Two workers whose store is back: one decides by it already, the other will not hear of that for long."""
    monkeypatch.setattr(outage, "ASK_AGAIN_S", 30.0)
    workers = await start_workers(2)
    own_redis_server.freeze()
    await all_lost(workers)
    own_redis_server.thaw()
    back = [asyncio.create_task(worker.events.wait_for("store.recovered")) for worker in workers]
    await asyncio.wait(back, return_when=asyncio.FIRST_COMPLETED)
    first, waiting = sorted(workers, key=lambda worker: not worker.outage.up)
    assert not waiting.outage.up
    yield first, waiting
    for task in back:
        task.cancel()
