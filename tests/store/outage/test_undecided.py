"""A store that is there and does not decide some calls: their shares hold as long as it does not."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gateway.core.limits import Charge, Limit
from gateway.core.shares import Fleet
from tests.conftest import StartCluster
from tests.fakes.redis_server import RedisServer
from tests.fakes.waiting import eventually
from tests.store.outage.limits import BUCKET, FIXED, WINDOW
from tests.store.workers import Worker, end_fleet

APART = [Charge(WINDOW, "w:{=acme}", 1), Charge(BUCKET, "b:{=c1}", 1)]


@asynccontextmanager
async def started(url: str) -> AsyncIterator[Worker]:
    worker = Worker(url, Fleet(1, 0))
    try:
        await worker.below.start()
        yield worker
    finally:
        await end_fleet([worker])


async def calls(worker: Worker, *charges: Charge) -> int:
    """How many get in, and then what was spent is told the store, as far as it can be told."""
    admitted = await worker.calls(150, *charges)
    await worker.outage._heartbeat.beat()
    await eventually(lambda: not worker.fallback.owing and worker.outage._work is None, "all to be told")
    return admitted


@pytest.mark.parametrize("limit", [WINDOW, BUCKET, FIXED], ids=lambda limit: limit.algorithm)
async def test_a_limit_holds_whose_script_lacks_a_right(own_redis_server: RedisServer, limit: Limit) -> None:
    own_redis_server.command("ACL", "SETUSER", "gateway", "on", ">secret", "~*", "+@all", "-setrange")
    charge = Charge(limit, f"{limit.name}:{{=acme}}", 1)
    async with started(own_redis_server.url.replace("unix://", "unix://gateway:secret@")) as worker:
        admitted = [await calls(worker, charge) for _ in range(3)]
        assert not worker.outage.well
    assert admitted in ([100, 0, 0], [101, 0, 0])  # one that the store has decided


async def test_the_only_server_of_a_cluster_is_no_single_server(start_cluster: StartCluster) -> None:
    async with started(start_cluster(1).nodes[0].url) as worker:
        assert [await calls(worker, *APART) for _ in range(3)] == [100, 0, 0]
        assert "its URL begins with redis+cluster://" in worker.outage.in_words()
