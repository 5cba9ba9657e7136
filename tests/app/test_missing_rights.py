"""A store whose user lacks the right to a command that some scripts need: told once, and over when it is over."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.core.ask import Ask
from gateway.core.limits import Algorithm, Charge, Limit
from gateway.store import Store, StoreDown
from gateway.store.connection.faults import some_calls_fail
from gateway.store.outage.doubts import CALM_S, FORGOTTEN_S, Doubts
from gateway.store.redis import RedisStore
from tests.e2e.conftest import Launch, Process, launch
from tests.fakes.gateways import ask_readiness
from tests.fakes.redis_server import RedisServer
from tests.fakes.stores import patient, started
from tests.fakes.upstream import Upstream
from tests.fakes.waiting import eventually

__all__ = ["launch"]

POLICIES = """
version: 1
limits:
  slots: {algorithm: concurrency, limit: 9, lease: 1m, key: [], on_store_error: deny}
  bucket: {algorithm: token_bucket, rate: 9, per: 1m, burst: 9, key: []}
upstreams:
  up: {url: "%s"}
routes:
  - {name: slots, match: {path_prefix: /slot}, upstream: up, limits: [slots]}
  - {name: buckets, match: {path_prefix: /bucket}, upstream: up, limits: [bucket]}
"""
SLOTS = Limit("s", Algorithm.CONCURRENCY, 500, 600_000_000, ())
WINDOW = Limit("w", Algorithm.ROLLING_WINDOW, 500, 600_000_000, ())
FORBIDDEN = "zadd"
"""Slots are kept in a sorted set, a bucket is not."""


@pytest.fixture
def limited(own_redis_server: RedisServer) -> str:
    """URL of the server as a user who may not do everything."""
    own_redis_server.command("ACL", "SETUSER", "gateway", "on", ">secret", "~*", "+@all", f"-{FORBIDDEN}")
    return own_redis_server.url.replace("unix://", "unix://gateway:secret@")


@pytest.fixture
async def store(limited: str) -> AsyncIterator[RedisStore]:
    async with started(patient(limited)) as one:
        yield one


class Watched:
    """What doubts have told, and which store they had calls use; with a clock."""

    def __init__(self, store: Store) -> None:
        self.now = 100.0
        self.told: list[tuple[str, dict[str, object]]] = []
        self.used: list[object] = []
        self.doubts = Doubts(
            store, self.used.append, lambda name, fields: self.told.append((name, dict(fields))), lambda: self.now
        )


async def asked(store: Any, limit: Limit) -> StoreDown | None:
    """Ask for one unit; what came in between."""
    try:
        await store.admit(Ask([Charge(limit, f"gw:{{{limit.name}}}", 1)]), "lease")
    except StoreDown as down:
        return down
    return None


async def test_it_is_told_once_and_over_when_such_calls_are_decided_again(
    store: RedisStore, own_redis_server: RedisServer
) -> None:
    watched = Watched(store)
    doubts = watched.doubts
    slots = Ask([Charge(SLOTS, "gw:{s}", 1)])
    for _ in range(3):
        with pytest.raises(StoreDown) as caught:
            await store.admit(slots, "lease")
        assert some_calls_fail(caught.value)
        doubts.note(slots.kind, caught.value)
    assert [name for name, _ in watched.told] == ["store.degraded"]
    assert watched.told[0][1] == {"kind": "script", "detail": caught.value.detail}
    assert await asked(doubts, WINDOW) is None
    assert doubts
    own_redis_server.command("ACL", "SETUSER", "gateway", f"+{FORBIDDEN}")
    assert (await doubts.admit(slots, "lease")).admitted
    assert doubts, "it may need the right only sometimes"
    watched.now += CALM_S
    assert (await doubts.admit(slots, "lease")).admitted
    assert not doubts
    assert watched.told[1:] == [("store.recovered", {"down_s": CALM_S})]
    assert watched.used == [doubts] * 3 + [store]


async def test_what_nobody_asks_any_more_is_forgotten(store: RedisStore) -> None:
    watched = Watched(store)
    down = await asked(store, SLOTS)
    assert down is not None
    watched.doubts.note(Ask([Charge(SLOTS, "gw:{s}", 1)]).kind, down)
    watched.now += FORGOTTEN_S - 1
    assert await asked(watched.doubts, WINDOW) is None
    assert watched.doubts
    watched.now += 1
    assert await asked(watched.doubts, WINDOW) is None
    assert [name for name, _ in watched.told] == ["store.degraded", "store.recovered"]


def test_one_bad_key_is_no_missing_right() -> None:
    wrong = StoreDown("script", "WRONGTYPE Operation against a key holding the wrong kind of value")
    assert not some_calls_fail(wrong)


async def call(gateway: Process, path: str) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    return int(answer.split(b" ", 2)[1])


async def test_operators_see_it_everywhere(launch: Launch, upstream: Upstream, limited: str) -> None:
    gateway = await launch(POLICIES % upstream.url, env={"GATEWAY_STORE__URL": limited})
    assert [await call(gateway, path) for path in ("/bucket", "/slot", "/slot", "/bucket")] == [200, 503, 503, 200]
    [degraded] = await eventually(lambda: gateway.events("store.degraded"), "the line to be written")
    assert (degraded["level"], degraded["kind"]) == ("error", "script")
    assert "script" in degraded["detail"]
    ready = await ask_readiness(gateway, "?verbose")
    assert b" 503 " in ready.partition(b"\r\n")[0]
    assert b"does not decide all calls" in ready
    metrics = await asked_of(gateway, "/metrics")
    assert b"\ngateway_store_up 0.0\n" in metrics
    assert b'\ngateway_store_errors_total{kind="script"} 1.0\n' in metrics
    status = json.loads((await asked_of(gateway, "/-/status")).partition(b"\r\n\r\n")[2])
    assert (status["store"]["up"], status["store"]["reason"]) == (False, "script")


async def asked_of(gateway: Process, path: str) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.admin_port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    return answer
