"""Breakers and pauses as callers and upstreams see them: who is let through, what the others are told, what counts."""

import asyncio
import json

import pytest

from gateway.core.guards import Change, Reason, State
from gateway.core.guards.breaker import Circuit
from gateway.guards import permits
from tests.app.breaking import (
    BAD,
    GUARD,
    call,
    changes,
    closed_for_all,
    policies,
    ready_to_probe,
    told,
)
from tests.app.conftest import Start
from tests.fakes.patience import impatience
from tests.fakes.redis_server import RedisServer
from tests.fakes.stores import patient
from tests.fakes.upstream import OK, Received, Socket, Upstream, always
from tests.fakes.waiting import eventually


@pytest.mark.parametrize("scope", ["shared", "local"])
async def test_it_opens_and_tells_until_when_then_one_probe_closes_it(
    start: Start, upstream: Upstream, scope: str
) -> None:
    gateway = await start(policies(upstream, scope))
    seen = changes(gateway)
    upstream.script = always(BAD)
    for _ in range(3):
        status, _, body = await call(gateway)
        assert (status, body) == (503, b"bad")
    status, fields, body = await call(gateway)
    problem = json.loads(body)
    assert (status, problem["code"], problem["title"]) == (503, "CIRCUIT_OPEN", "The circuit is open")
    assert 1 <= int(fields["Retry-After"]) == problem["retry_after"] <= 30
    assert "error=destination_unavailable" in fields["Proxy-Status"]
    assert fields["Cache-Control"] == "no-store"
    assert len(upstream.received) == 3
    record = gateway.records.all[-1]
    assert (record.response_source, record.verdict) == ("breaker", "held")
    assert (record.breaker, record.breaker_state) == ("connection", "open")

    upstream.script = always(OK)
    await ready_to_probe(gateway)
    assert (await call(gateway))[0] == 200
    assert gateway.records.all[-1].breaker_state == "half_open"
    assert (await call(gateway))[0] == 200
    assert gateway.records.all[-1].breaker_state == "closed"
    assert [change.state for _, change in seen] == [State.OPEN, State.HALF_OPEN, State.CLOSED]
    assert seen[0][1] == Change(State.OPEN, Reason.CONSECUTIVE_FAILURES, 3, 3, 0, 30_000_000)


async def test_an_open_breaker_charges_no_limit_and_touches_no_socket(start: Start, upstream: Upstream) -> None:
    gateway = await start(policies(upstream))
    upstream.script = always(BAD)
    for _ in range(3):
        await call(gateway)
    accepted = upstream.accepted
    for _ in range(20):
        assert (await call(gateway))[0] == 503
    assert upstream.accepted == accepted
    upstream.script = always(OK)
    await ready_to_probe(gateway)
    _, fields, _ = await call(gateway)
    assert fields["X-RateLimit-Remaining"] == "96"


async def test_an_open_breaker_asks_nobody_while_others_go_on_beside_it(start: Start, upstream: Upstream) -> None:
    gateway = await start(policies(upstream).replace("limit: 100", "limit: 5000"))
    upstream.script = always(BAD)
    for _ in range(3):
        await call(gateway)
    upstream.script = always(OK)
    accepted, reached = upstream.accepted, len(upstream.received)
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    for connection, end in (("c1", b"}"), ("c2", b"\r\n\r\nok")) * 150:
        writer.write(f"GET /x HTTP/1.1\r\nHost: a\r\nX-Connection-Id: {connection}\r\n\r\n".encode())
        await reader.readuntil(end)
    writer.close()
    assert [request.fields("X-Connection-Id") for request in upstream.received[reached:]] == [["c2"]] * 150
    assert upstream.accepted - accepted <= 1


async def test_a_probe_whose_answer_streams_closes_it_when_the_answer_begins(start: Start, upstream: Upstream) -> None:
    gateway = await start(policies(upstream))
    upstream.script = always(BAD)
    for _ in range(3):
        await call(gateway)
    await ready_to_probe(gateway)
    go_on = asyncio.Event()

    async def stream(_request: Received, socket: Socket) -> bytes:
        await socket.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nha")
        await go_on.wait()
        return b"lf"

    upstream.script = stream
    raw = b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-Connection-Id: c1\r\n\r\n"
    probe = asyncio.ensure_future(gateway.raw(raw))
    closed = asyncio.Event()
    gateway.gateway.breakers.on_change = lambda _guard, change: closed.set()
    await closed.wait()
    await closed_for_all(gateway)
    go_on.set()
    assert (await probe).endswith(b"half")


async def test_a_probe_that_becomes_a_tunnel_closes_it_when_the_tunnel_begins(start: Start, upstream: Upstream) -> None:
    gateway = await start(policies(upstream))
    upstream.script = always(BAD)
    for _ in range(3):
        await call(gateway)
    await ready_to_probe(gateway)

    async def echo(_request: Received, socket: Socket) -> None:
        await socket.send(b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n")
        while data := await socket.reader.read(100):
            await socket.send(data)

    upstream.script = echo
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: raw\r\nX-Connection-Id: c1\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n")
    await closed_for_all(gateway)
    writer.write(b"still")
    assert await reader.readexactly(5) == b"still"
    writer.close()
    [*_, record] = await gateway.records.wait(4)
    assert (record.status, record.breaker_state) == (101, "half_open")


async def test_a_probe_whose_answer_is_broken_from_the_start_has_failed(start: Start, upstream: Upstream) -> None:
    gateway = await start(policies(upstream))
    upstream.script = always(BAD)
    for _ in range(3):
        await call(gateway)
    await ready_to_probe(gateway)
    seen = changes(gateway)
    upstream.script = always(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nno size\r\n")
    status, _, _ = await call(gateway)
    assert status == 502
    assert [change.state for _, change in seen] == [State.HALF_OPEN, State.OPEN]


async def test_other_connections_do_not_notice(start: Start, upstream: Upstream) -> None:
    gateway = await start(policies(upstream))

    async def by_connection(request: Received, _socket: Socket) -> bytes:
        return BAD if request.fields("X-Connection-Id") == ["c1"] else OK

    upstream.script = by_connection
    for _ in range(3):
        await call(gateway)
    assert (await call(gateway))[0] == 503
    assert (await call(gateway, "c2"))[0] == 200
    assert gateway.records.all[-1].breaker_state == "closed"


async def test_operations_can_have_a_breaker_each(start: Start, upstream: Upstream) -> None:
    text = policies(upstream).replace("key: [connection], scope", "key: [connection, operation], scope")
    operations = "operations: [{name: read, match: {method: GET}}], breaker: connection"
    gateway = await start(text.replace("breaker: connection}", f"{operations}}}"))

    async def by_method(request: Received, _socket: Socket) -> bytes:
        return BAD if request.method == "GET" else OK

    upstream.script = by_method
    for _ in range(3):
        await call(gateway)
    assert json.loads((await call(gateway))[2])["code"] == "CIRCUIT_OPEN"
    assert (await call(gateway, method="PUT"))[0] == 200
    assert set(await gateway.gateway.store.troubled()) == {"breaker:connection:{=c1}:=read"}


async def test_another_gateway_sees_it_on_its_next_call(start: Start, upstream: Upstream) -> None:
    one, other = await start(policies(upstream)), await start(policies(upstream))
    upstream.script = always(BAD)
    for _ in range(3):
        await call(one)
    assert json.loads((await call(other))[2])["code"] == "CIRCUIT_OPEN"


async def test_failures_of_several_gateways_add_up(start: Start, upstream: Upstream) -> None:
    one, other = await start(policies(upstream)), await start(policies(upstream))
    upstream.script = always(BAD)
    for gateway in (one, other, one):
        await call(gateway)
    assert json.loads((await call(other))[2])["code"] == "CIRCUIT_OPEN"


async def test_of_200_at_once_exactly_as_many_probes_as_permitted_reach_the_upstream(
    start: Start, upstream: Upstream
) -> None:
    gateway, other = [await start(policies(upstream, probes=3, limits="")) for _ in range(2)]
    upstream.script = always(BAD)
    for _ in range(3):
        await call(gateway)
    await ready_to_probe(gateway)
    let_go = asyncio.Event()
    before = len(upstream.received)

    async def wait_first(_request: Received, _socket: Socket) -> bytes:
        await let_go.wait()
        return OK

    upstream.script = wait_first
    raw = b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-Connection-Id: c1\r\n\r\n"
    calls = [asyncio.ensure_future(one.raw(raw)) for one in (gateway, other) * 100]
    await eventually(lambda: len(gateway.records.all) + len(other.records.all) >= 3 + 197)
    let_go.set()
    statuses = [int((await one).split()[1]) for one in calls]
    assert (statuses.count(200), statuses.count(503)) == (3, 197)
    assert len(upstream.received) - before == 3


async def test_a_caller_that_leaves_while_probing_gives_its_permit_back(start: Start, upstream: Upstream) -> None:
    gateway = await start(policies(upstream))
    upstream.script = always(BAD)
    for _ in range(3):
        await call(gateway)
    await ready_to_probe(gateway)
    arrived, never = asyncio.Event(), asyncio.Event()

    async def hang(_request: Received, _socket: Socket) -> None:
        arrived.set()
        await never.wait()

    upstream.script = hang
    _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(b"GET /x HTTP/1.1\r\nHost: a\r\nX-Connection-Id: c1\r\n\r\n")
    await arrived.wait()
    assert json.loads((await call(gateway))[2])["code"] == "CIRCUIT_OPEN"
    writer.close()
    await gateway.records.wait(5)
    await told(gateway)
    upstream.script = always(OK)
    assert (await call(gateway))[0] == 200
    never.set()


async def test_a_permit_of_which_nobody_heard_lapses_within_seconds(
    start: Start, upstream: Upstream, own_redis_server: RedisServer
) -> None:
    """The store was frozen when it was asked, and gives the permit when it wakes up, when nobody waits for it any more."""
    gateway = await start(policies(upstream))
    await gateway.gateway.store.close()
    store = gateway.gateway.store = patient(own_redis_server.url)
    await store.start()
    await ready_to_probe(gateway)
    own_redis_server.freeze()
    try:
        with impatience(store._pipeline):
            assert (await call(gateway))[0] == 200
    finally:
        own_redis_server.thaw()
    await eventually(lambda: store.up)
    now_us, (circuit,) = await store.guards([GUARD])
    assert isinstance(circuit, Circuit)
    assert circuit.state is State.HALF_OPEN
    (lapses_us,) = circuit.probes
    assert lapses_us <= now_us + 5_000_000


async def test_a_slow_probe_keeps_its_permit(start: Start, upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(permits, "RENEW_S", 0.001)
    gateway = await start(policies(upstream))
    await ready_to_probe(gateway)
    let_go = asyncio.Event()

    async def hang(_request: Received, socket: Socket) -> None:
        await let_go.wait()
        await socket.send(OK)

    async def lapses_us() -> int:
        _, (circuit,) = await gateway.gateway.store.guards([GUARD])
        assert isinstance(circuit, Circuit)
        return sum(circuit.probes)

    upstream.script = hang
    probing = asyncio.create_task(call(gateway))
    first_us = await eventually(lapses_us)

    async def later() -> bool:
        return await lapses_us() > first_us

    await eventually(later)
    let_go.set()
    assert (await probing)[0] == 200
    await closed_for_all(gateway)


async def test_without_the_store_a_breaker_goes_on_in_each_worker(start: Start, upstream: Upstream) -> None:
    gateway = await start(policies(upstream))
    await gateway.gateway.store.close()
    upstream.script = always(BAD)
    for _ in range(3):
        assert (await call(gateway))[2] == b"bad"
    assert json.loads((await call(gateway))[2])["code"] == "CIRCUIT_OPEN"
    assert gateway.records.all[-1].store == "local"


async def test_a_caller_without_the_key_part_has_no_breaker(start: Start, upstream: Upstream) -> None:
    gateway = await start(policies(upstream))
    upstream.script = always(BAD)
    for number in range(5):
        answer = await gateway.raw(b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert answer.endswith(b"bad")
        await gateway.records.wait(number + 1)
    assert gateway.records.all[-1].breaker == ""


async def test_a_route_without_limits_is_still_unlimited(start: Start, upstream: Upstream) -> None:
    gateway = await start(policies(upstream, limits=""))
    _, fields, _ = await call(gateway)
    record = gateway.records.all[-1]
    assert (record.verdict, record.store, record.breaker_state) == ("unlimited", "redis", "closed")
    assert "RateLimit" not in fields
    await gateway.gateway.store.close()
    await call(gateway)
    record = gateway.records.all[-1]
    assert (record.verdict, record.store, record.breaker_state) == ("unlimited", "local", "closed")


async def test_limits_that_allow_without_the_store_leave_the_breaker_in_force(start: Start, upstream: Upstream) -> None:
    gateway = await start(policies(upstream).replace("key: [tenant]}", "key: [tenant], on_store_error: allow}"))
    await gateway.gateway.store.close()
    upstream.script = always(BAD)
    for _ in range(3):
        assert (await call(gateway))[2] == b"bad"
        assert gateway.records.all[-1].verdict == "skipped"
    assert json.loads((await call(gateway))[2])["code"] == "CIRCUIT_OPEN"
