"""Fixtures of the contract: a synchronous client of the shared server, and each thing that counts."""

from collections.abc import Iterator
from contextlib import closing

import pytest
import redis

from tests.contract.counters import CoreModel, Counter, Local, Scripts
from tests.contract.whole_stores import WholeStore
from tests.fakes.redis_cluster import RedisCluster
from tests.fakes.redis_sentinel import SentinelGroup


@pytest.fixture
def server(redis_url: str) -> Iterator["redis.Redis"]:
    """A client of the shared server, emptied."""
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
        yield client


@pytest.fixture(scope="session")
def in_cluster(redis_cluster: RedisCluster) -> Iterator[WholeStore]:
    with closing(WholeStore(redis_cluster.url)) as counter:
        yield counter


@pytest.fixture(scope="session")
def behind_sentinels(sentinel_group: SentinelGroup) -> Iterator[WholeStore]:
    with closing(WholeStore(sentinel_group.url)) as counter:
        yield counter


@pytest.fixture
def cluster(in_cluster: WholeStore, redis_cluster: RedisCluster) -> WholeStore:
    """The store of the shared cluster, emptied."""
    for node in redis_cluster.primaries:
        node.command("FLUSHALL")
    return in_cluster


@pytest.fixture
def sentinels(behind_sentinels: WholeStore, sentinel_group: SentinelGroup) -> WholeStore:
    """The store of the shared primary behind Sentinels, emptied."""
    sentinel_group.primary.command("FLUSHALL")
    return behind_sentinels


@pytest.fixture(params=["core", "local", "scripts", "sentinels", "cluster"])
def counter(request: pytest.FixtureRequest) -> Counter:
    """Each implementation in turn."""
    if request.param in ("sentinels", "cluster"):
        one: WholeStore = request.getfixturevalue(request.param)
        return one
    if request.param == "scripts":
        return Scripts(request.getfixturevalue("server"))
    return CoreModel() if request.param == "core" else Local()
