"""The store behind Sentinels: found through them, and found again after a failover."""

import asyncio
import subprocess

import pytest
import redis.asyncio

from gateway.core.ask import Ask
from gateway.store import pipeline

SENTINEL = """
port {sentinel_port}
dir {directory}
sentinel monitor main 127.0.0.1 {primary_port} 1
sentinel down-after-milliseconds main 200
sentinel failover-timeout main 5000
"""


@pytest.fixture(autouse=True)
def quick_dialling(monkeypatch):
    monkeypatch.setattr(pipeline, "MIN_DIAL_GAP_S", 0.05)
    monkeypatch.setattr(pipeline, "MAX_DIAL_GAP_S", 0.1)


@pytest.fixture
def start_sentinel(tmp_path, server_binary):
    """Function that starts a Sentinel watching the primary on that port, and returns the Sentinel's port."""
    processes = []

    def start(primary_port: int, port: int) -> int:
        file = tmp_path / f"sentinel-{port}.conf"
        file.write_text(SENTINEL.format(sentinel_port=port, directory=tmp_path, primary_port=primary_port))
        processes.append(
            subprocess.Popen(
                [server_binary, str(file), "--sentinel"], stdout=subprocess.DEVNULL, start_new_session=True
            )
        )
        return port

    yield start
    for process in processes:
        process.kill()
        process.wait()


async def until(condition) -> None:
    """Ask again and again; the test's own timeout is the only end."""
    while True:
        try:
            if await condition():
                return
        except redis.ConnectionError:
            pass
        await asyncio.sleep(0.01)


async def test_found_through_sentinels_and_again_after_a_failover(
    start_redis_server, start_sentinel, open_store, make_charge, events, free_port
):
    first_port, second_port = free_port(), free_port()
    first = start_redis_server("--port", str(first_port), "--repl-diskless-sync-delay", "0")
    start_redis_server("--port", str(second_port), "--replicaof", "127.0.0.1", str(first_port))
    sentinel_port = start_sentinel(first_port, free_port())
    dead_port = free_port()
    async with (
        redis.asyncio.Redis(port=sentinel_port, decode_responses=True) as sentinel,
        redis.asyncio.Redis(port=second_port, decode_responses=True) as second,
    ):

        async def replica_is_known() -> bool:
            in_sync = (await second.info("replication"))["master_link_status"] == "up"
            replicas = await sentinel.execute_command("SENTINEL", "REPLICAS", "main")
            return in_sync and len(replicas) == 1

        await until(replica_is_known)
        store = await open_store(f"redis+sentinel://127.0.0.1:{dead_port},127.0.0.1:{sentinel_port}/main")
        assert (await store.admit(Ask([make_charge(5)]), "")).admitted

        first.kill()
        await events.wait_for("store.recovered")
        assert (await second.info("replication"))["role"] == "master"
        assert (await store.admit(Ask([make_charge(5)]), "")).admitted
        assert await second.exists("gw:w:{=acme}") == 1
        assert events.names == ["store.degraded", "store.recovered"]


async def test_a_service_nobody_knows(start_redis_server, start_sentinel, open_store, free_port, kind_of_failure):
    port = free_port()
    start_redis_server("--port", str(port))
    sentinel_port = start_sentinel(port, free_port())

    async def sentinel_answers() -> bool:
        async with redis.asyncio.Redis(port=sentinel_port) as sentinel:
            return bool(await sentinel.ping())

    await until(sentinel_answers)
    store = await open_store(f"redis+sentinel://127.0.0.1:{sentinel_port}/other", start=False)
    assert await kind_of_failure(store.start()) == "connect"
