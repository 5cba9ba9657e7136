"""What callers see of a store that dies, hangs, forgets, fills up or refuses: nothing, or what its posture says."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import redis.asyncio

from tests.chaos.conftest import Figures
from tests.chaos.outage import PATIENT_S, RATE, TENANTS, TIMEOUT_S
from tests.chaos.stage import WORKERS, Stage, survived, survived_without_store
from tests.fakes.redis_server import RedisServer
from tests.fakes.waiting import eventually, pause, until
from tests.fakes.wire import Wire


@pytest.fixture
async def client(own_redis_server: RedisServer) -> AsyncIterator["redis.asyncio.Redis"]:
    """Somebody who administers the server."""
    async with redis.asyncio.Redis.from_url(own_redis_server.url) as one:
        yield one


async def start_again(server: RedisServer) -> None:
    """Without holding up the load."""
    server.spawn()
    await asyncio.to_thread(server.wait_until_it_answers)


@pytest.mark.parametrize("gateways", [1, 2])
async def test_killed_and_started_again(
    gateways: int, stage: Stage, own_redis_server: RedisServer, figures: Figures
) -> None:
    async with stage(gateways) as outage:
        own_redis_server.kill()
        await pause(10, "it lasts")
        outage.ends()
        await start_again(own_redis_server)
    figures(f"kill -9, 10 s, {gateways} gateways", **outage.figures())
    survived_without_store(outage, forgotten=1)


@pytest.mark.parametrize("gateways", [1, 2])
async def test_stopped_and_continued(
    gateways: int, stage: Stage, own_redis_server: RedisServer, figures: Figures
) -> None:
    async with stage(gateways) as outage:
        own_redis_server.freeze()
        await pause(5, "it lasts")
        outage.ends()
        own_redis_server.thaw()
    figures(f"SIGSTOP, 5 s, {gateways} gateways", **outage.figures())
    survived_without_store(outage)


async def test_no_packet_arrives(stage: Stage, own_redis_server: RedisServer, figures: Figures) -> None:
    async with Wire(own_redis_server.path) as wire:
        async with stage(store=wire.url) as outage:
            wire.whole.clear()
            dialled = len(wire.dialled)
            await pause(10, "it lasts")
            dialled = len(wire.dialled) - dialled
            outage.ends()
            wire.whole.set()
            await eventually(lambda: outage.events("store.recovered") == WORKERS and wire.open == WORKERS)
            open_sockets = wire.open
        figures("blackhole, 10 s", **outage.figures(), dials=dialled)
        assert dialled <= 2 * 10 * WORKERS
        assert open_sockets == WORKERS
        survived_without_store(outage)


async def test_clients_paused(stage: Stage, client: Any, figures: Figures) -> None:
    async with stage() as outage:
        await client.execute_command("CLIENT", "PAUSE", 4000, "ALL")
        outage.begins()
        await pause(3.9, "it lasts")
        outage.ends()
        await client.ping()
    figures("CLIENT PAUSE, 4 s", **outage.figures())
    survived_without_store(outage)


async def test_memory_full(stage: Stage, client: Any, figures: Figures) -> None:
    async with stage() as outage:
        await client.config_set("maxmemory-policy", "noeviction")
        await client.config_set("maxmemory", 1)
        outage.begins()
        await pause(4, "it lasts")
        outage.ends()
        await client.config_set("maxmemory", 0)
    figures("maxmemory reached, 4 s", **outage.figures())
    survived_without_store(outage)


async def test_read_only(stage: Stage, client: Any, figures: Figures) -> None:
    async with stage() as outage:
        await client.execute_command("REPLICAOF", "127.0.0.1", "1")
        outage.begins()
        await pause(4, "it lasts")
        outage.ends()
        await client.execute_command("REPLICAOF", "NO", "ONE")
    figures("READONLY, 4 s", **outage.figures())
    survived_without_store(outage)


async def test_password_changed(stage: Stage, client: Any, figures: Figures) -> None:
    async with stage() as outage:
        await client.config_set("requirepass", "other")
        await client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        outage.begins()
        await pause(4, "it lasts")
        outage.ends()
        await client.config_set("requirepass", "")
    figures("another password, 4 s", **outage.figures())
    survived_without_store(outage)


async def test_loading(stage: Stage, start_redis_server: Callable[..., RedisServer], figures: Figures) -> None:
    """It answers, and says that it is still reading its data."""
    small_steps = ("--loading-process-events-interval-bytes", "1024")
    server = start_redis_server("--enable-debug-command", "yes", *small_steps)
    async with redis.asyncio.Redis.from_url(server.url) as client, stage(store=server.url) as outage:
        many = "for i = 1, 2000 do redis.call('SET', 'other' .. i, string.rep('x', 100), 'EX', 60) end"
        await client.eval(many, 0)
        await client.config_set("key-load-delay", 2000)
        reading = asyncio.create_task(client.execute_command("DEBUG", "RELOAD"))
        await pause(0.5, "until it reads")
        outage.begins()
        await pause(2, "it lasts")
        outage.ends()
        await reading
    figures("LOADING, 4 s", **outage.figures())
    survived_without_store(outage)


async def repeat(command: Callable[[], Awaitable[object]], every_s: float, times: int) -> None:
    for _ in range(times):
        await command()
        await pause(every_s, "again and again")


async def test_scripts_flushed(stage: Stage, client: Any, figures: Figures) -> None:
    """Nobody notices: `deny` would show it."""
    async with stage(timeout_s=PATIENT_S) as outage:
        await repeat(client.script_flush, 0.1, 40)
    figures("SCRIPT FLUSH every 100 ms, 4 s", **outage.figures(), reloaded=outage.events("store.script_reloaded"))
    survived(outage)
    assert {call.status for call in outage.calls("deny")} == {200}
    assert outage.events("store.degraded") == 0
    assert outage.events("store.script_reloaded") > 0


async def test_connections_killed(stage: Stage, client: Any, figures: Figures) -> None:
    async with stage() as outage:
        await repeat(lambda: client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"), 1.0, 4)
    figures("CLIENT KILL every second, 4 s", **outage.figures())
    survived(outage)
    assert outage.events("store.degraded") >= WORKERS


async def test_keys_of_another_type(stage: Stage, client: Any, figures: Figures) -> None:
    """They count as nothing, and are replaced."""
    async with stage(timeout_s=PATIENT_S) as outage:
        for tenant in range(TENANTS):
            for limit in ("local", "deny"):
                key = f"gw:{limit}:{{=t{tenant}}}"
                await client.pipeline().delete(key).rpush(key, "not", "a", "log").execute()  # no call comes in between
        await pause(1, "it lasts")
    figures("keys of another type", **outage.figures())
    survived(outage, forgotten=1)
    assert {call.status for call in outage.calls("deny")} == {200}


async def test_a_primary_dies(stage: Stage, start_sentinel: Callable[..., Any], figures: Figures) -> None:
    group = start_sentinel(replicas=1, sentinels=3)
    async with stage(store=group.url) as outage:
        lost = group.primary
        lost.kill()
        await asyncio.to_thread(group.wait_for_promotion, lost)
    figures("Sentinel: primary killed", **outage.figures())
    survived(outage, forgotten=1, partly=True)


async def test_a_primary_hands_over(stage: Stage, start_sentinel: Callable[..., Any], figures: Figures) -> None:
    group = start_sentinel(replicas=1, sentinels=3)
    async with stage(store=group.url) as outage:
        before = group.primary
        await asyncio.to_thread(group.fail_over)
        await asyncio.to_thread(until, lambda: before.role == "slave", "the Sentinels tell it that it is a replica")
    figures("Sentinel: SENTINEL FAILOVER", **outage.figures())
    survived(outage)


@pytest.mark.parametrize(("replicas", "needed"), [(1, 0), (2, 1), (2, 2)])
async def test_a_primary_hands_over_unheard(
    stage: Stage, start_sentinel: Callable[..., Any], figures: Figures, replicas: int, needed: int
) -> None:
    """Gateways that may not listen to the Sentinels ask them; meanwhile the old primary takes writes, if it has as many
    replicas as it needs for that."""
    group = start_sentinel(
        replicas=replicas,
        sentinels=3,
        arguments=("--min-replicas-to-write", str(needed)),
        sentinel_lines=("user default on nopass ~* &* +@all -psubscribe",),
    )
    async with stage(store=group.url) as outage:
        before = group.primary
        await asyncio.to_thread(group.fail_over)
        await asyncio.to_thread(until, lambda: before.role == "slave", "the Sentinels tell it that it is a replica")
    figures(f"unheard, {replicas} replica(s), {needed} needed to write", **outage.figures())
    refuses = needed == replicas  # one has left it
    # What was charged in the moment in which the replica left may not have reached it: a batch of each worker.
    survived(outage, forgotten=not refuses, partly=not refuses, unreplicated=WORKERS)


async def test_a_slow_uneven_wire(stage: Stage, own_redis_server: RedisServer, figures: Figures) -> None:
    """As slow as a store may be: every call waits for it, and none is decided without it."""
    async with Wire(own_redis_server.path) as wire:
        async with stage(store=wire.url) as outage:
            wire.delay_s, wire.jitter_s = TIMEOUT_S / 5, TIMEOUT_S / 5
            await pause(4, "it lasts")
            open_sockets = wire.open
            wire.delay_s = wire.jitter_s = 0.0
        figures("store 20 ms away, jitter 20 ms, 4 s", **outage.figures(), rate=RATE)
        assert open_sockets == WORKERS
        survived(outage)
        assert {call.status for call in outage.calls("deny")} == {200}
        assert outage.events("store.degraded") == 0
