"""The clusters and Sentinels that every other run leans on: they must really move, promote and stop."""

from collections.abc import Callable

import pytest
import redis
from redis.crc import key_slot

from tests.fakes.redis_cluster import RedisCluster
from tests.fakes.redis_sentinel import SentinelGroup


def test_a_cluster_moves_slots_and_fails_over(start_cluster: Callable[..., RedisCluster]) -> None:
    cluster = start_cluster(3, replicas=1)
    first, second, third = cluster.primaries
    assert [cluster.owner(cluster.text_at(node)) for node in cluster.primaries] == [first, second, third]
    text = cluster.text_at(second)
    second.command("SET", text, "x")
    cluster.move_slot(key_slot(text.encode()), third)
    assert cluster.owner(text) is third
    assert third.command("GET", text) == "x"
    promoted = cluster.fail_over(third)
    cluster.wait_until_it_works()
    assert cluster.owner(text) is promoted
    assert promoted.command("GET", text) == "x"
    replicas = cluster.replicas_of(first)
    first.kill()
    assert cluster.wait_for_promotion(replicas) in replicas
    cluster.wait_until_it_works()
    assert cluster.start_node() not in cluster.primaries, "it has no slots yet"


def test_sentinels_promote_a_replica(start_sentinel: Callable[..., SentinelGroup]) -> None:
    group = start_sentinel(sentinels=1)
    before = group.primary
    assert group.fail_over() is not before
    group.primary.kill()
    with pytest.raises(redis.ConnectionError):
        group.servers[1].command("PING")
