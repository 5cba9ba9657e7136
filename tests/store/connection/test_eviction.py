"""A server that would forget counters when its memory is full is told of, once."""

from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.core.store_url import parse_url
from gateway.store.connection import eviction as eviction_module
from gateway.store.connection.eviction import Eviction, evicting
from tests.conftest import StartCluster, StartSentinel, StartServer
from tests.fakes.waiting import eventually

EVICTS = ("--maxmemory", "64mb", "--maxmemory-policy", "volatile-lru")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        pytest.param(EVICTS, "volatile-lru", id="evicts"),
        pytest.param(("--maxmemory", "64mb", "--maxmemory-policy", "noeviction"), "", id="refuses"),
        pytest.param(("--maxmemory", "0", "--maxmemory-policy", "allkeys-lru"), "", id="has no bound"),
    ],
)
@pytest.mark.parametrize("protocol", [2, 3])
async def test_what_a_server_does(
    start_redis_server: StartServer, arguments: tuple[str, ...], told: str, protocol: int
) -> None:
    server = start_redis_server(*arguments)
    assert await evicting(parse_url(f"{server.url}?protocol={protocol}")) == told


async def test_behind_sentinels(start_sentinel: StartSentinel) -> None:
    group = start_sentinel(replicas=0, sentinels=1, arguments=EVICTS)
    assert await evicting(parse_url(group.url)) == "volatile-lru"
    assert await evicting(parse_url(group.url.replace("/main", "/other"))) == ""


async def test_of_a_cluster(start_cluster: StartCluster, free_port: Callable[[], int]) -> None:
    cluster = start_cluster(primaries=1)
    url = parse_url(cluster.url.replace("//", f"//127.0.0.1:{free_port()},"))
    assert await evicting(url) == ""
    for server in cluster.nodes:
        server.command("CONFIG", "SET", "maxmemory", "64mb")
        server.command("CONFIG", "SET", "maxmemory-policy", "allkeys-random")
    assert await evicting(url) == "allkeys-random"


async def test_nobody_says(start_redis_server: StartServer, tmp_path: Path) -> None:
    server = start_redis_server(*EVICTS)
    server.command("ACL", "SETUSER", "one", "on", ">secret", "~*", "+ping")
    assert await evicting(parse_url(f"unix://one:secret@{server.path}")) == ""
    assert await evicting(parse_url(f"unix://{tmp_path}/nobody.sock")) == ""


async def test_what_is_changed_while_the_server_runs_is_found(
    start_redis_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(eviction_module, "LOOK_AGAIN_S", 0.01)
    server = start_redis_server("--maxmemory", "64mb")
    told: list[object] = []
    eviction = Eviction(server.url, told.append)
    eviction.look()
    assert eviction._looking is not None
    await eviction._looking
    server.command("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    await eventually(lambda: told)
    await eviction.close()
    assert told == [{"maxmemory_policy": "allkeys-lru"}]


async def test_it_is_told_once_whoever_asks(start_redis_server: StartServer) -> None:
    server = start_redis_server(*EVICTS)
    told: list[object] = []
    eviction = Eviction(server.url, told.append)
    for policy in ("volatile-lru", "volatile-lru", "allkeys-lfu"):
        server.command("CONFIG", "SET", "maxmemory-policy", policy)
        eviction.look()
        eviction.look()
        looking = eviction._looking
        assert looking is not None
        await looking
    await eviction.close()
    assert told == [{"maxmemory_policy": "volatile-lru"}, {"maxmemory_policy": "allkeys-lfu"}]
