"""Calls whose cost only their answer tells: reserved when they come, put right when they are over."""

import asyncio
import gzip
from typing import Any

import orjson
import pytest

from gateway.core.ask import Ask
from gateway.core.limits import Charge
from gateway.observe.log.line import call_line
from gateway.record import CallRecord
from gateway.store.redis import RedisStore
from tests.app.conftest import Running, Start
from tests.fakes.patience import PATIENT_US, impatience
from tests.fakes.upstream import Received, Socket, Upstream, always
from tests.fakes.waiting import eventually

POLICIES = """
version: 1
keys:
  tenant: {from: header, name: X-Tenant-Id, on_missing: anonymous}
limits:
  tokens: {algorithm: %(algorithm)s, key: [tenant], shadow: {%(shadow)s}}
  calls: {algorithm: concurrency, limit: 100, key: [tenant]}
upstreams:
  up: {url: "%(url)s"}
routes:
  - name: all
    upstream: up
    limits: [tokens, calls]
    cost: {tokens: {from: response_json, pointer: /usage/total, reserve: 40, max: 90}}
    operations:
      - {name: rows, match: {path: /rows}, cost: {tokens: {from: response_header, name: X-Rows, reserve: 40}}}
      - {name: bytes, match: {path: /bytes}, cost: {tokens: {from: response_bytes, reserve: 40}}}
      - {name: one, match: {path: /one}, cost: {tokens: 1}}
"""
ALGORITHMS = {
    "rolling_window, limit: 100, window: 7d": "limit: 200",
    "token_bucket, rate: 100, per: 7d": "burst: 200",
    "fixed_window, limit: 100, window: 365d": "limit: 200",
}
JSON = b"Content-Type: application/json\r\n"
EVENTS = b"Content-Type: text/event-stream\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"


def answer(body: bytes, fields: bytes = JSON) -> bytes:
    return b"HTTP/1.1 200 OK\r\n%bContent-Length: %d\r\n\r\n%b" % (fields, len(body), body)


def chunks(*bodies: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(body), body) for body in bodies)


def used(total: int) -> bytes:
    return b'{"text": "x", "usage": {"total": %d}}' % total


@pytest.fixture(params=ALGORITHMS, ids=lambda name: name.partition(",")[0])
async def gateway(start: Start, upstream: Upstream, request: pytest.FixtureRequest) -> Running:
    shadow = ALGORITHMS[request.param]
    return await start(POLICIES % {"url": upstream.url, "algorithm": request.param, "shadow": shadow})


async def call(gateway: Running, path: str = "/", **more: Any) -> bytes:
    return await gateway.raw(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode(), **more)


async def left(gateway: Running) -> list[int]:
    """Units left of the limit, and of its variant in shadow."""
    record = gateway.records.all[0]
    known = [charge for charge in record.ask.charges if "tokens" in charge.limit.name]
    decision = await gateway.gateway.store.peek(Ask([Charge(limit, key, 1) for limit, key, _ in known]))
    return [verdict.remaining for verdict in decision.verdicts]


async def last(gateway: Running, count: int = 1) -> CallRecord:
    return (await gateway.records.wait(count))[-1]


def line(record: CallRecord) -> dict[str, Any]:
    found = call_line(record, with_query=False)
    costs = {entry["name"]: entry["cost"] for entry in orjson.loads(orjson.dumps(found["limits"]))}
    return {"cost": costs["tokens"], **{name: found[name] for name in found if name.startswith("cost_")}}


@pytest.mark.parametrize(
    ("path", "bytes_", "cost"),
    [
        ("/", answer(used(3)), 3),
        ("/", answer(used(0)), 0),
        ("/", answer(used(40)), 40),
        ("/", answer(used(70)), 70),
        ("/", answer(used(10**9)), 90),
        ("/", b"HTTP/1.1 200 OK\r\n" + JSON + CHUNKED + b"\r\n" + chunks(used(3)[:9], used(3)[9:]) + b"0\r\n\r\n", 3),
        ("/", answer(gzip.compress(used(3)), JSON + b"Content-Encoding: gzip\r\n"), 3),
        ("/", answer(gzip.compress(b"data: " + used(3) + b"\n\n"), EVENTS + b"Content-Encoding: gzip\r\n"), 3),
        ("/rows", answer(b"ok", b"X-Rows: 7\r\n"), 7),
        ("/bytes", answer(b"x" * 61), 61),
        ("/bytes", answer(b""), 0),
        ("/bytes", b"HTTP/1.1 200 OK\r\n" + CHUNKED + b"\r\n" + chunks(b"xx", b"xxx") + b"0\r\n\r\n", 5),
    ],
)
async def test_the_real_number_is_charged(
    gateway: Running, upstream: Upstream, path: str, bytes_: bytes, cost: int
) -> None:
    upstream.script = always(bytes_)
    assert (await call(gateway, path)).startswith(b"HTTP/1.1 200")
    assert line(await last(gateway)) == {"cost": cost, "cost_settled": True}
    assert await left(gateway) == [100 - cost, 200 - cost]


async def test_a_stream_of_events_is_charged_by_its_last(gateway: Running, upstream: Upstream) -> None:
    async def script(_request: Received, socket: Socket) -> bytes:
        await socket.send(b"HTTP/1.1 200 OK\r\n" + EVENTS + CHUNKED + b"\r\n")
        await socket.send(chunks(b"data: " + used(1) + b"\n\n"))
        for _ in range(20):
            await socket.send(chunks(b'data: {"text": "' + b"x" * 9_000 + b'"}\n\n'))
        return chunks(b"data: " + used(55)[:20], used(55)[20:] + b"\n\ndata: [DONE]\n\n") + b"0\r\n\r\n"

    upstream.script = script
    assert (await call(gateway)).endswith(b"[DONE]\n\n\r\n0\r\n\r\n")
    assert line(await last(gateway)) == {"cost": 55, "cost_settled": True}
    assert await left(gateway) == [45, 145]


MESSAGE = [
    b'event: message_start\ndata: {"type": "message_start", "message": {"usage": {"in": 25, "out": 1}}}\n\n',
    *[b'event: content_block_delta\ndata: {"delta": {"text": "' + b"x" * 9_000 + b'"}}\n\n'] * 20,
    b'event: message_delta\ndata: {"type": "message_delta", "usage": {"out": 30}}\n\n',
]


@pytest.mark.parametrize(("seen", "cost"), [(22, 55), (21, 40)])
async def test_what_the_first_events_say_is_added_to_what_the_last_ones_do(
    start: Start, upstream: Upstream, seen: int, cost: int
) -> None:
    """If the last ones come: else it is at least what the first have said, which is less than the reserve here."""
    algorithm, shadow = next(iter(ALGORITHMS.items()))
    policies = POLICIES % {"url": upstream.url, "algorithm": algorithm, "shadow": shadow}
    gateway = await start(
        policies.replace("pointer: /usage/total", "pointer: [[/usage/in, /message/usage/in], /usage/out]")
    )

    async def script(_request: Received, socket: Socket) -> bytes | None:
        await socket.send(b"HTTP/1.1 200 OK\r\n" + EVENTS + CHUNKED + b"\r\n")
        for event in MESSAGE[:seen]:
            await socket.send(chunks(event[:50], event[50:]))
        return b"0\r\n\r\n" if seen == len(MESSAGE) else None

    upstream.script = script
    assert (await call(gateway)).startswith(b"HTTP/1.1 200")
    known = {"cost_settled": True} if cost != 40 else {"cost_settled": False, "cost_unknown": "cut"}
    assert line(await last(gateway)) == {"cost": cost, **known}
    assert await left(gateway) == [100 - cost, 200 - cost]


async def test_until_then_the_estimate_is_charged(gateway: Running, upstream: Upstream) -> None:
    go_on = asyncio.Event()

    async def script(_request: Received, _socket: Socket) -> bytes:
        await go_on.wait()
        return answer(used(44))

    upstream.script = script
    first = asyncio.create_task(call(gateway))
    await upstream.until(lambda: len(upstream.received) == 1)
    second = asyncio.create_task(call(gateway))
    await upstream.until(lambda: len(upstream.received) == 2)
    assert b" 429 " in await call(gateway), "20 are left, 40 are reserved"
    assert await left(gateway) == [20, 120]
    go_on.set()
    await second
    assert b" 200 " in await first
    assert await left(gateway) == [12, 112]


@pytest.mark.parametrize(
    ("path", "bytes_", "why"),
    [
        ("/", answer(b"no JSON"), "no_number"),
        ("/", answer(b'{"usage": {"total": "many"}}'), "no_number"),
        ("/", answer(used(3) + b" " * 70_000), "too_large"),
        ("/", answer(used(3), JSON + b"Content-Encoding: br\r\n"), "encoded"),
        ("/", answer(b"data: " + used(3) + b"\n\n", EVENTS + b"Content-Encoding: gzip\r\n"), "encoded"),
        ("/", answer(gzip.compress(b"\n" * 10**7), EVENTS + b"Content-Encoding: gzip\r\n"), "too_large"),
        ("/", answer(gzip.compress(used(3) + b" " * 70_000), JSON + b"Content-Encoding: gzip\r\n"), "no_number"),
        ("/rows", answer(b"ok"), "no_number"),
        ("/rows", answer(b"ok", b"X-Rows: -5\r\n"), "no_number"),
        ("/bytes", b"nonsense", "no_answer"),
        ("/", b"HTTP/1.1 200 OK\r\n" + JSON + b"Content-Length: 99\r\n\r\n" + used(3), "cut"),
    ],
)
async def test_what_is_not_known_stays_reserved(
    gateway: Running, upstream: Upstream, path: str, bytes_: bytes, why: str
) -> None:
    async def script(_request: Received, socket: Socket) -> bytes | None:
        await socket.send(bytes_)
        return None

    upstream.script = script
    await call(gateway, path)
    assert line(await last(gateway)) == {"cost": 40, "cost_settled": False, "cost_unknown": why}
    assert await left(gateway) == [60, 160]


@pytest.mark.parametrize(("seen", "cost"), [(3, 40), (77, 77)])
async def test_who_leaves_early_does_not_pay_less(gateway: Running, upstream: Upstream, seen: int, cost: int) -> None:
    async def script(_request: Received, socket: Socket) -> None:
        await socket.send(b"HTTP/1.1 200 OK\r\n" + EVENTS + CHUNKED + b"\r\n")
        await socket.send(chunks(b"data: " + used(seen) + b"\n\n"))
        await socket.reader.read()

    upstream.script = script
    await call(gateway, until=b"\n\n\r\n")
    record = await last(gateway)
    assert record.aborted_by == "client"
    known = {"cost_settled": True} if cost > 40 else {"cost_settled": False, "cost_unknown": "cut"}
    assert line(record) == {"cost": cost, **known}
    assert await left(gateway) == [100 - cost, 200 - cost]


async def test_a_call_that_never_reached_the_upstream_costs_nothing(gateway: Running, upstream: Upstream) -> None:
    assert upstream._server is not None
    upstream._server.close()
    assert b" 502 " in await call(gateway)
    assert line(await last(gateway)) == {"cost": 0, "cost_settled": True}
    assert await left(gateway) == [100, 200]


@pytest.mark.parametrize("path", ["/", "/one"])
@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda name: name.partition(",")[0])
async def test_a_call_for_which_there_is_no_place_at_the_upstream_costs_nothing(
    start: Start, upstream: Upstream, algorithm: str, path: str
) -> None:
    """Nor does one whose price is known beforehand: we refuse it, and it may come again."""
    wanted = {"url": upstream.url, "algorithm": algorithm, "shadow": ALGORITHMS[algorithm]}
    paced = 'url: "%(url)s", pace: {rate: 1, per: 1h, queue: 1, max_wait: 1ms}'
    gateway = await start(POLICIES.replace('url: "%(url)s"', paced) % wanted)
    upstream.script = always(answer(used(3)))
    assert b" 200 " in await call(gateway, "/one")
    for number in (2, 3):
        assert b'"code":"UPSTREAM_BUSY"' in await call(gateway, path)
        assert line(await last(gateway, number)) == {"cost": 0, "cost_settled": True}
    assert await left(gateway) == [99, 199]


async def test_a_call_without_a_place_to_be_sent_again_was_sent(start: Start, upstream: Upstream) -> None:
    """On a kept socket that was closed: who closes it may have read it, and counted it."""
    paced = 'url: "%(url)s", pace: {rate: 1, per: 1h, burst: 2, queue: 1, max_wait: 1ms}'
    wanted = {"url": upstream.url, "algorithm": "rolling_window, limit: 100, window: 7d", "shadow": "limit: 200"}
    gateway = await start(POLICIES.replace('url: "%(url)s"', paced) % wanted)
    upstream.script = always(answer(used(3)))
    assert b" 200 " in await call(gateway, "/one")

    async def hang_up(_request: Received, socket: Socket) -> None:
        socket.writer.close()

    upstream.script = hang_up
    assert b'"code":"UPSTREAM_BUSY"' in await call(gateway, "/one")
    assert len(upstream.received) == 2
    assert await left(gateway) == [98, 198]


async def test_a_refused_call_has_nothing_to_settle(gateway: Running, upstream: Upstream) -> None:
    upstream.script = always(answer(used(90)))
    await call(gateway)
    assert b" 429 " in await call(gateway)
    assert line(await last(gateway, 2)) == {"cost": 40}
    assert await left(gateway) == [10, 110]


async def test_plain_costs_are_as_ever(gateway: Running) -> None:
    await call(gateway, "/one")
    record = await last(gateway)
    assert record.heard is None
    assert line(record) == {"cost": 1}
    assert await left(gateway) == [99, 199]


async def test_without_the_store_the_share_is_settled(start: Start, upstream: Upstream, own_redis_server: Any) -> None:
    text = {"url": upstream.url, "algorithm": "fixed_window, limit: 100, window: 365d", "shadow": "limit: 200"}
    gateway = await start(POLICIES % text)
    await gateway.gateway.store.close()
    store = gateway.gateway.store = RedisStore(own_redis_server.url, timeout_us=PATIENT_US)
    await store.start()
    own_redis_server.freeze()
    upstream.script = always(answer(used(1)))
    with impatience(store._pipeline):
        answers = [await call(gateway) for _ in range(6)]
    assert [got.split(b" ")[1] for got in answers] == [b"200"] * 6, "six reserves are more than the limit"
    assert {record.store for record in gateway.records.all} == {"local"}
    own_redis_server.thaw()


@pytest.mark.parametrize("total", [3, 90])
async def test_a_store_that_lost_everything_meanwhile_gives_nothing_back(
    start: Start, upstream: Upstream, own_redis_server: Any, total: int
) -> None:
    """Killed and started again between the reserve and the settlement: nobody has more than the limit, or owes twice."""
    text = {"url": upstream.url, "algorithm": "rolling_window, limit: 100, window: 7d", "shadow": "limit: 200"}
    gateway = await start(POLICIES % text)
    await gateway.gateway.store.close()
    store = gateway.gateway.store = RedisStore(own_redis_server.url, timeout_us=PATIENT_US)
    await store.start()
    go_on = asyncio.Event()

    async def script(_request: Received, _socket: Socket) -> bytes:
        await go_on.wait()
        return answer(used(total))

    upstream.script = script
    under_way = asyncio.create_task(call(gateway))
    await upstream.until(lambda: len(upstream.received) == 1)
    own_redis_server.kill()
    await eventually(lambda: not store.up)
    own_redis_server.start()
    await eventually(lambda: store.up)
    go_on.set()
    assert b" 200 " in await under_way
    await last(gateway)
    assert await left(gateway) == ([100, 200] if total < 40 else [50, 150])
