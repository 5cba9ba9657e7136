"""Fleets of workers whose store goes away and comes back."""

import pytest

from gateway import outage
from tests.store.workers import Worker, end_fleet, start_fleet


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
