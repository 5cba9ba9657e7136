"""Upstreams that fail, callers that leave, and crowds: who gets what from the cache then."""

import asyncio
import socket

import pytest

from gateway.modules.cache.memory import Memory
from gateway.store import StoreDown
from tests.app.caching import Cached, answer, begin
from tests.app.conftest import Start
from tests.fakes.upstream import Held, Received, Socket, Upstream
from tests.fakes.waiting import eventually

STALE = "Cache-Control: max-age=5, stale-if-error=60"
OLD = answer(b"old", STALE)


@pytest.fixture
async def cached(start: Start, upstream: Upstream) -> Cached:
    return await begin(start, upstream)


def memory_of(cached: Cached) -> Memory:
    """What the route keeps."""
    gateway = cached.running.gateway
    (kept,) = filter(None, map(gateway.caches.of, gateway.policies.routes))
    return kept.memory


async def reset(_got: Received, socket: Socket) -> None:
    socket.reset()


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
async def test_an_old_answer_takes_the_place_of_an_error(cached: Cached, status: int) -> None:
    cached.answers(OLD)
    await cached.get("/things")
    cached.later(20)
    cached.answers(answer(b"no", status=b"%d No" % status))
    got = await cached.get("/things")
    assert (got.status, got.body, got.fields("Age")) == (200, b"old", ["20"])
    assert got.fields("Cache-Status") == [f"gw-test; fwd=stale; fwd-status={status}; detail=stale-if-error; ttl=-15"]
    cached.later(46)
    assert (await cached.get("/things")).status == status
    error, last = (await cached.running.records.wait(3))[1:]
    assert (error.cache, error.upstream_status, error.response_source) == ("error", status, "cache")
    assert (last.cache, last.response_source) == ("miss", "upstream")


async def test_who_takes_an_old_answer_slowly_keeps_neither_a_socket_nor_others_waiting(cached: Cached) -> None:
    large = b"old" * 300_000
    cached.answers(answer(large, STALE))
    await cached.get("/things")
    cached.later(20)
    cached.answers(answer(b"no", status=b"500 No"))
    _, writer = await slow_caller(cached.running.port)
    writer.write(b"GET /things HTTP/1.1\r\nHost: gateway.test\r\nX-Tenant-Id: acme\r\n\r\n")
    (pool,) = cached.running.gateway.upstreams.pools().values()
    await eventually(lambda: len(cached.upstream.received) == 2 and pool.idle, "the error's socket is free")
    assert cached.running.gateway.in_flight == 1, "the answer is on its way"
    assert (await cached.get("/things")).body == large
    writer.close()
    await eventually(lambda: not cached.running.gateway.in_flight)
    assert (pool.active, pool.idle) == (0, 1)


async def slow_caller(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """One that takes next to nothing."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect(("127.0.0.1", port))
    return await asyncio.open_connection(sock=sock, limit=1024)


async def test_and_of_no_answer_at_all(cached: Cached) -> None:
    cached.answers(OLD)
    await cached.get("/things")
    cached.later(20)
    cached.upstream.script = reset
    for _ in range(3):
        got = await cached.get("/things")
        assert (got.status, got.body) == (200, b"old")
    assert len(cached.upstream.received) == 3  # one on a socket that was stale; for a second nobody else finds out


async def test_a_caller_with_an_old_answer_does_not_wait_for_retries(start: Start, upstream: Upstream) -> None:
    cached = await begin(start, upstream, rest="retry: twice")
    cached.answers(OLD)
    await cached.get("/things")
    cached.later(20)
    cached.answers(answer(b"no", status=b"503 No"))
    assert (await cached.get("/things")).body == b"old"
    assert len(upstream.received) == 2
    assert (await cached.get("/users/1")).status == 503
    assert len(upstream.received) == 4


async def test_while_the_breaker_is_open(start: Start, upstream: Upstream) -> None:
    cached = await begin(start, upstream, rest="breaker: guard")
    cached.answers(OLD)
    await cached.get("/things")
    cached.answers(answer(b"no", status=b"500 No"))
    await cached.get("/elsewhere")
    assert (await cached.get("/elsewhere")).status == 503
    assert (await cached.get("/things")).fields("Cache-Status")[0].startswith("gw-test; hit; ttl=")
    cached.later(20)
    got = await cached.get("/things")
    assert (got.status, got.fields("Cache-Status")) == (200, ["gw-test; hit; detail=stale-if-error; ttl=-15"])
    assert len(upstream.received) == 2


async def test_while_no_limit_can_be_asked(start: Start, upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `deny`, calls are refused while the store is down: not those for which something old is there."""
    cached = await begin(start, upstream, posture="deny")
    cached.answers(OLD)
    await cached.get("/things")

    async def down(*_: object) -> None:
        raise StoreDown("timeout")

    monkeypatch.setattr(cached.running.gateway.store, "admit", down)
    assert (await cached.get("/users/1")).status == 503
    assert (await cached.get("/things")).fields("Cache-Status")[0].startswith("gw-test; hit; ttl=")
    cached.later(20)
    got = await cached.get("/things")
    assert (got.status, got.fields("Cache-Status")) == (200, ["gw-test; hit; detail=stale-if-error; ttl=-15"])
    cached.later(46)
    assert (await cached.get("/things")).status == 503
    assert len(upstream.received) == 1


async def test_who_has_used_up_its_limit_gets_hits_but_nothing_stale(start: Start, upstream: Upstream) -> None:
    cached = await begin(start, upstream, limit=1)
    cached.answers(OLD)
    assert [(await cached.get("/things")).status for _ in range(3)] == [200, 200, 200]
    assert (await cached.get("/users/1")).status == 429
    cached.later(20)
    assert (await cached.get("/things")).status == 429


@pytest.mark.parametrize("said", ["must-revalidate", "proxy-revalidate", "no-cache"])
async def test_an_answer_may_forbid_it(cached: Cached, said: str) -> None:
    cached.answers(answer(b"old", f"{STALE}, {said}", 'ETag: "1"'))
    await cached.get("/things")
    cached.later(20)
    cached.upstream.script = reset
    assert (await cached.get("/things")).status == 502


async def test_a_crowd_asks_once(cached: Cached) -> None:
    held = cached.upstream.script = Held(answer(b"x", "Cache-Control: max-age=60"))
    calls = [asyncio.create_task(cached.get("/things")) for _ in range(20)]
    await held.asked.wait()
    await eventually(lambda: cached.running.gateway.in_flight >= 20)
    held.go_on.set()
    got = [await call for call in calls]
    assert {one.body for one in got} == {b"x"}
    assert len(cached.upstream.received) == 1
    assert sorted(one.cache for one in await cached.running.records.wait(20)) == ["collapsed"] * 19 + ["miss"]
    (status,) = {one.fields("Cache-Status")[0].partition("; ttl")[0] for one in got if not one.fields("RateLimit")}
    assert status == "gw-test; fwd=uri-miss; collapsed"


async def test_if_the_one_who_asks_leaves_another_asks(cached: Cached) -> None:
    asked = asyncio.Event()

    async def half(_got: Received, socket: Socket) -> None:
        await socket.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nCache-Control: max-age=60\r\n\r\nhalf")
        asked.set()
        await asyncio.Event().wait()

    cached.upstream.script = half
    leaving = asyncio.create_task(cached.get("/things"))
    await asked.wait()
    waiting = [asyncio.create_task(cached.get("/things")) for _ in range(5)]
    await eventually(lambda: cached.running.gateway.in_flight >= 6)
    cached.answers(answer(b"whole", "Cache-Control: max-age=60"))
    leaving.cancel()
    assert [(await one).body for one in waiting] == [b"whole"] * 5
    assert len(cached.upstream.received) == 2


async def test_answers_of_each_callers_own_are_not_waited_for(cached: Cached) -> None:
    held = cached.upstream.script = Held(answer(b"x", "Set-Cookie: a=b"))
    calls = [asyncio.create_task(cached.get("/things")) for _ in range(4)]
    await held.asked.wait()
    await eventually(lambda: cached.running.gateway.in_flight >= 4)
    held.go_on.set()
    assert {(await call).body for call in calls} == {b"x"}
    assert len(cached.upstream.received) == 4


@pytest.mark.parametrize(
    "cut",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nCache-Control: max-age=60\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nCache-Control: max-age=60\r\n\r\n4\r\nhalf\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nCache-Control: max-age=60\r\n\r\n4\r\nhalf\r\nnonsense",
        b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\nCache-Control: max-age=60\r\n\r\n0\r\nX: y\r\n\r\n",
    ],
)
async def test_what_is_not_whole_is_not_kept(cached: Cached, cut: bytes) -> None:
    async def script(_got: Received, socket: Socket) -> None:
        await socket.send(cut)
        socket.writer.close()

    cached.upstream.script = script
    await cached.get("/things")
    cached.answers(answer(b"whole"))
    assert (await cached.get("/things")).body == b"whole"


async def test_a_body_that_streams_is_kept_while_it_streams_and_a_large_one_is_not(
    start: Start, upstream: Upstream
) -> None:
    cached = await begin(start, upstream, more="max_entry: 64KiB")
    for size, kept in ((40_000, True), (64 * 1024, True), (64 * 1024 + 1, False), (1_000_000, False)):
        chunks = b"".join(
            b"%x\r\n%b\r\n" % (len(part), part) for part in (b"x" * (size // 2), b"y" * (size - size // 2))
        )
        cached.answers(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n")
        upstream.received.clear()
        for _ in range(2):
            got = await cached.get(f"/users/{size}")
            assert got.body.count(b"y") + got.body.count(b"x") >= size
        assert len(upstream.received) == (1 if kept else 2), size
    assert memory_of(cached).size_bytes < 200_000


async def test_a_stale_answer_is_used_while_one_call_in_the_background_asks(cached: Cached) -> None:
    cached.answers(answer(b"old", "Cache-Control: max-age=5, stale-while-revalidate=60"))
    await cached.get("/things")
    cached.later(20)
    held = cached.upstream.script = Held(answer(b"new", "Cache-Control: max-age=60"))
    assert [(await cached.get("/things")).body for _ in range(3)] == [b"old"] * 3
    await held.asked.wait()
    held.go_on.set()
    records = await cached.running.records.wait(5)
    assert sorted(record.cache for record in records) == ["miss", "refresh", "stale", "stale", "stale"]
    assert (await cached.get("/things")).body == b"new"
    assert len(cached.upstream.received) == 2


async def test_a_304_with_set_cookie_makes_the_answer_its_callers_own(cached: Cached) -> None:
    cached.answers(answer(b"x", 'ETag: "1"', "Cache-Control: max-age=5"))
    await cached.get("/things")
    cached.later(9)
    cached.answers(b'HTTP/1.1 304 Not Modified\r\nETag: "1"\r\nSet-Cookie: who=me\r\n\r\n')
    assert (await cached.get("/things")).body == b"x"
    cached.answers(answer(b"x2"))
    got = await cached.get("/things", tenant="acme")
    assert (got.body, got.fields("Set-Cookie")) == (b"x2", [])


# Poison -----------------------------------------------------------------------------------------------


async def reflect(got: Received, _socket: Socket) -> bytes:
    return answer(got.head + got.body, "Cache-Control: max-age=60, public")


@pytest.mark.parametrize(
    "poison",
    [
        ("X-Forwarded-Host", "evil"),
        ("X-Forwarded-Scheme", "evil"),
        ("X-Forwarded-Server", "evil"),
        ("X-Host", "evil"),
        ("X-Original-URL", "/evil"),
        ("X-Rewrite-URL", "/evil"),
        ("X-HTTP-Method-Override", "evil"),
        ("Forwarded", "host=evil"),
        ("X_Forwarded_Host", "evil"),
        ("Authorization", "evil"),
        ("Cookie", "evil=1"),
        ("X-Api-Key", "evil"),
        ("X_Api_Key", "evil"),
        ("Ocp-Apim-Subscription-Key", "evil"),
        ("X-Auth-Token", "evil"),
        ("Proxy-Authorization", "evil"),
        ("Accept", "evil/*"),
        ("Accept-Language", "evil"),
        ("Range", "bytes=0-1"),
    ],
)
async def test_what_one_caller_says_of_itself_reaches_no_other(cached: Cached, poison: tuple[str, str]) -> None:
    cached.upstream.script = reflect
    await cached.get("/things", poison)
    assert b"evil" not in (await cached.get("/things")).body


async def test_other_spellings_of_the_same_request(cached: Cached) -> None:
    cached.upstream.script = reflect
    evil = b"Host: evil.test\r\nX-Tenant-Id: acme\r\nConnection: close\r\n\r\n"
    for line in (b"GET http://evil.test/things HTTP/1.1\r\n", b"GET /things HTTP/1.1\r\n", b"GET /things HTTP/1.0\r\n"):
        await cached.running.raw(line + evil)
    await cached.get("/things", method="GET", body=b"evil=1")
    assert b"evil" not in (await cached.get("/things")).body
    refused = await cached.running.raw(b"GET http://evil.test/things HTTP/1.1\r\nHost: gateway.test\r\n\r\n")
    assert b" 400 " in refused


async def test_a_flood_of_variants_stays_within_bounds(start: Start, upstream: Upstream) -> None:
    cached = await begin(start, upstream, more="max_size: 64KiB\nmax_entry: 4KiB")
    cached.answers(answer(b"x" * 2000, "Vary: X-A", "Cache-Control: max-age=60"))
    memory = memory_of(cached)
    for number in range(60):
        await cached.get("/things", ("X-A", str(number)))
    assert len(memory) <= 32
    for number in range(60):
        await cached.get(f"/users/{number}", ("X-A", "1"))
    assert memory.size_bytes <= 64 * 1024
    assert len(memory) == len([*memory._all()])
    memory.purge(lambda _: True, 0)
    assert (len(memory), memory.size_bytes) == (0, 0)


async def test_a_reload_keeps_what_is_kept_and_brings_the_routes_new_rules(start: Start, upstream: Upstream) -> None:
    cached = await begin(start, upstream, rest="retry: twice")
    other = await begin(start, upstream, rest="retry: twice", limit=7)
    gateway = cached.running.gateway
    cached.answers(OLD)
    await cached.get("/things")
    before, gateway.policies = gateway.policies, other.running.gateway.policies
    gateway.caches.use(gateway.policies)
    gateway.callers.forget()
    assert (await cached.get("/things")).fields("Cache-Status")[0].startswith("gw-test; hit")
    (kept,) = filter(None, map(gateway.caches.of, gateway.policies.routes))
    for policies in (before, gateway.policies):
        (route,) = (one for one in policies.routes if one.cache is not None)
        assert kept.at_once(route).limits == route.limits
        assert kept.at_once(route).retry is None
