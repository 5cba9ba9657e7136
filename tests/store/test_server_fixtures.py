"""The fixtures that every other test leans on: they must really stop, freeze and restart a server."""

import os

import pytest
import redis


async def test_the_shared_server_answers_and_starts_empty(redis_client):
    assert await redis_client.dbsize() == 0
    await redis_client.set("a", 1)
    assert await redis_client.get("a") == b"1"


async def test_emptied_for_the_next_test(redis_client):
    assert await redis_client.dbsize() == 0


def test_an_own_server_can_be_killed_and_restarted(own_redis_server):
    with redis.Redis.from_url(own_redis_server.url) as client:
        client.set("a", 1)
    old_pid = own_redis_server.pid
    own_redis_server.restart()
    assert own_redis_server.pid != old_pid
    with pytest.raises(ProcessLookupError):
        os.kill(old_pid, 0)
    with redis.Redis.from_url(own_redis_server.url) as client:
        assert client.get("a") is None
    own_redis_server.kill()
    with redis.Redis.from_url(own_redis_server.url, retry=None) as client, pytest.raises(redis.ConnectionError):
        client.ping()


def test_a_frozen_server_does_not_answer_until_thawed(own_redis_server):
    with redis.Redis.from_url(own_redis_server.url) as client:
        assert client.ping()
    own_redis_server.freeze()
    impatient = redis.Redis.from_url(own_redis_server.url, socket_timeout=0.05, retry=None)
    with impatient as client, pytest.raises(redis.TimeoutError):
        client.execute_command("PING")
    own_redis_server.thaw()
    with redis.Redis.from_url(own_redis_server.url) as client:
        assert client.ping()


def test_arguments_reach_the_server(start_redis_server):
    server = start_redis_server("--requirepass", "x")
    with redis.Redis.from_url(server.url, password="x") as client:
        assert client.config_get("requirepass") == {"requirepass": "x"}
