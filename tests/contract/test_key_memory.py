"""How much a server spends on a partition: bounded by the limit whatever the callers do."""

import pytest
import redis

from gateway.core.ask import Ask
from gateway.core.limits import Charge, Limit
from gateway.store.scripts.limits import encode_admit
from gateway.store.scripts.sources import ADMIT
from tests.conftest import RedisServer, StartServer
from tests.contract.counters import PREFIX, Scripts
from tests.contract.test_timelines import MINUTE, SECOND, START, bucket, fixed, parallel, rolling

HEADER_BYTES, ENTRY_BYTES = 53, 10
KIB = 1024


def call(server: "redis.Redis", limit: Limit, count: int, apart_us: int = 1, key: str = "tenant-10m:{=acme}") -> int:
    """Make `count` calls, so far apart; returns how many were admitted."""
    Scripts(server)
    with server.pipeline(transaction=True) as pipe:
        for number in range(count):
            now_us = START + number * apart_us
            arguments = encode_admit(
                Ask([Charge(limit, key, 1)]), f"{number}", prefix=PREFIX, commit=True, now_us=now_us
            )
            pipe.execute_command("EVALSHA", ADMIT.sha1_hex, *arguments)
        return sum(reply[0] for reply in pipe.execute())


def test_a_full_window_of_500_calls(server: "redis.Redis") -> None:
    assert call(server, rolling(quota=500), 1000) == 500
    assert server.strlen("t:tenant-10m:{=acme}") == HEADER_BYTES + 500 * ENTRY_BYTES
    assert server.memory_usage("t:tenant-10m:{=acme}") <= 6 * KIB


def test_a_window_does_not_grow_with_time(server: "redis.Redis") -> None:
    assert call(server, rolling(quota=50), 2000, apart_us=13 * SECOND) > 1900
    assert server.strlen("t:tenant-10m:{=acme}") <= HEADER_BYTES + 50 * ENTRY_BYTES


@pytest.mark.parametrize(("calls", "entries"), [(1, 4), (4, 4), (5, 8), (9, 16), (17, 32), (400, 500)])
def test_a_window_takes_room_as_it_fills(server: "redis.Redis", calls: int, entries: int) -> None:
    call(server, rolling(quota=500), calls)
    assert server.strlen("t:tenant-10m:{=acme}") == HEADER_BYTES + entries * ENTRY_BYTES


def test_precision_bounds_a_large_limit(server: "redis.Redis") -> None:
    assert call(server, rolling(quota=1_000_000, precision=60), 3000, apart_us=SECOND) == 3000
    assert server.strlen("t:tenant-10m:{=acme}") <= HEADER_BYTES + 61 * ENTRY_BYTES


def test_a_tiny_limit_takes_no_more_room_than_it_can_use(server: "redis.Redis") -> None:
    call(server, rolling(quota=2), 1)
    assert server.strlen("t:tenant-10m:{=acme}") == HEADER_BYTES + 2 * ENTRY_BYTES


@pytest.mark.parametrize("limit", [bucket(), fixed(), parallel()], ids=lambda limit: limit.algorithm.value)
def test_the_others_are_small(server: "redis.Redis", limit: Limit) -> None:
    call(server, limit, 100)
    assert server.memory_usage("t:tenant-10m:{=acme}") <= 300


def test_all_that_a_server_spends_on_many_identities(own_redis_server: RedisServer) -> None:
    """Its tables included: at most 300 bytes a bucket."""
    with redis.Redis.from_url(own_redis_server.url) as server:
        Scripts(server)
        before = server.info("memory")["used_memory"]
        with server.pipeline(transaction=False) as pipe:
            for number in range(5000):
                charge = Charge(bucket(burst=10, per_us=MINUTE), f"connection-1m:{{=tenant-{number}}}", 1)
                pipe.execute_command(
                    "EVALSHA", ADMIT.sha1_hex, *encode_admit(Ask([charge]), "", prefix=PREFIX, commit=True)
                )
            pipe.execute()
        assert server.dbsize() == 5000
        assert server.info("memory")["used_memory"] - before < 5000 * 300


def test_when_memory_is_full_nothing_is_charged(start_redis_server: StartServer) -> None:
    """The server refuses to write. Then no limit of the call is charged: not even the first."""
    server: RedisServer = start_redis_server("--maxmemory", "0", "--maxmemory-policy", "noeviction")
    with redis.Redis.from_url(server.url) as client:
        scripts = Scripts(client)
        charges = [Charge(rolling(quota=9), "a", 1), Charge(parallel(), "b", 1), Charge(bucket(), "c", 1)]
        scripts.admit(charges, "before", START)
        before = {key: client.dump(key) for key in client.scan_iter()}
        client.config_set("maxmemory", 1)
        with pytest.raises(redis.ResponseError, match=r"(?i)oom|maxmemory"):
            client.evalsha(
                ADMIT.sha1_hex, *encode_admit(Ask(charges), "after", prefix=PREFIX, commit=True, now_us=START + 1)
            )
        peek = encode_admit(Ask(charges), "", prefix=PREFIX, commit=False, now_us=START + 1)
        assert client.evalsha(ADMIT.sha1_hex, *peek)[0] == 1
        client.config_set("maxmemory", 0)
        assert {key: client.dump(key) for key in client.scan_iter()} == before
