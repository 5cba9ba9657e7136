"""Fixtures of the contract: a synchronous client of the shared server, and each thing that counts."""

from collections.abc import Iterator
from contextlib import closing

import pytest
import redis

from tests.contract.cluster_counter import InCluster
from tests.contract.counters import CoreModel, Counter, Local, Scripts
from tests.fakes.redis_cluster import RedisCluster


@pytest.fixture
def server(redis_url: str) -> Iterator["redis.Redis"]:
    """A client of the shared server, emptied."""
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
        yield client


@pytest.fixture(scope="session")
def in_cluster(redis_cluster: RedisCluster) -> Iterator[InCluster]:
    with closing(InCluster(redis_cluster.url)) as counter:
        yield counter


@pytest.fixture(params=["core", "local", "scripts", "cluster"])
def counter(request: pytest.FixtureRequest) -> Counter:
    """Each implementation in turn."""
    if request.param == "cluster":
        for node in request.getfixturevalue("redis_cluster").primaries:
            node.command("FLUSHALL")
        one: InCluster = request.getfixturevalue("in_cluster")
        return one
    if request.param == "scripts":
        return Scripts(request.getfixturevalue("server"))
    return CoreModel() if request.param == "core" else Local()
