"""Breakers and pauses as callers and upstreams see them: who is let through, what the others are told, what counts."""

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest

from gateway.core.guards import Breaker, Change, Guard, Pausing, Reason, State
from tests.app.conftest import Running, Start
from tests.app.test_rate_limit_answers import parse
from tests.fakes.upstream import OK, Received, Socket, Upstream, always
from tests.fakes.waiting import eventually

POLICIES = """
version: 1
keys:
  tenant: {from: header, name: X-Tenant-Id, on_missing: anonymous}
  connection: {from: header, name: X-Connection-Id, on_missing: skip}
limits:
  tenant-10m: {algorithm: rolling_window, limit: 100, window: 10m, key: [tenant]}
breakers:
  connection: {key: [connection], scope: %(scope)s, %(numbers)s, open_for: 30s, half_open_calls: %(probes)s}
upstreams:
  up: {url: "%(url)s", learn_limits: {from: [Retry-After], scope: connection, max: 15m}}
routes:
  - {name: all, match: {path_prefix: /}, upstream: up, limits: [%(limits)s], breaker: connection}
"""
IN_A_ROW = "consecutive_failures: 3"
BAD = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 3\r\n\r\nbad"
GUARD = Guard(Breaker("connection", ("connection",)), "breaker:connection:{=c1}")
PAUSE = Guard(Pausing("up", 900_000_000), "pause:up:{=c1}")

Answer = tuple[int, dict[str, str], bytes]


def policies(
    upstream: Upstream,
    scope: str = "shared",
    numbers: str = IN_A_ROW,
    probes: int = 1,
    limits: str = "tenant-10m",
) -> str:
    return POLICIES % {"url": upstream.url, "scope": scope, "numbers": numbers, "probes": probes, "limits": limits}


async def call(gateway: Running, connection: str = "c1", method: str = "GET") -> Answer:
    """One call, and the record of it complete, so that what it says has reached the breaker."""
    seen = len(gateway.records.all)
    head = [f"{method} /x HTTP/1.1", "Host: a", "Connection: close", f"X-Connection-Id: {connection}", "", ""]
    answer = parse(await gateway.raw("\r\n".join(head).encode()))
    await gateway.records.wait(seen + 1)
    await told(gateway)
    return answer


async def told(gateway: Running) -> None:
    """Until the breakers have heard what was sent to them."""
    telling = gateway.gateway.breakers._telling | gateway.gateway.pauses._telling
    if telling:
        await asyncio.wait(telling)


def changes(gateway: Running) -> list[tuple[str, Change]]:
    """Collects what breakers do."""
    seen: list[tuple[str, Change]] = []
    gateway.gateway.breakers.on_change = lambda guard, change: seen.append((guard.key, change))
    return seen


async def ready_to_probe(gateway: Running) -> None:
    """As if the time for which it is open were over."""
    store = gateway.gateway.breakers.own if GUARD_IS_OWN(gateway) else gateway.gateway.store
    await store.force(GUARD, State.OPEN, 1)


def GUARD_IS_OWN(gateway: Running) -> bool:
    return not gateway.gateway.policies.breakers["connection"].shared


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


async def closed_for_all(gateway: Running) -> None:
    """Until the store says so."""
    while (await gateway.gateway.store.guards([GUARD]))[1][0].state is not State.CLOSED:
        await asyncio.sleep(0)


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


async def reset(_request: Received, socket: Socket) -> None:
    socket.reset()


async def cut(_request: Received, socket: Socket) -> None:
    await socket.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
    socket.writer.close()


OUTCOMES: dict[str, tuple[Callable[[Received, Socket], Awaitable[bytes | None]], bool]] = {
    "400": (always(b"HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n"), False),
    "401": (always(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n"), False),
    "403": (always(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n"), False),
    "429": (always(b"HTTP/1.1 429 Slow\r\nContent-Length: 0\r\n\r\n"), False),
    "500": (always(b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n"), True),
    "504": (always(b"HTTP/1.1 504 Late\r\nContent-Length: 0\r\n\r\n"), True),
    "reset": (reset, True),
    "no HTTP": (always(b"What?\r\n\r\n"), True),
    "cut body": (cut, True),
}


@pytest.mark.parametrize("what", OUTCOMES)
async def test_what_counts_as_a_failure(start: Start, upstream: Upstream, what: str) -> None:
    gateway = await start(policies(upstream))
    upstream.script, counts = OUTCOMES[what]
    for _ in range(3):
        await call(gateway)
    kept = (await gateway.gateway.store.guards([GUARD]))[1][0]
    assert kept.state is (State.OPEN if counts else State.CLOSED)
    assert (await call(gateway))[0] == (503 if counts else gateway.records.all[0].status)


async def test_an_upstream_that_cannot_be_reached_counts(start: Start, upstream: Upstream) -> None:
    gateway = await start(policies(upstream).replace(upstream.url, "http://127.0.0.1:1"))
    statuses = [(await call(gateway))[0] for _ in range(4)]
    assert statuses == [502, 502, 502, 503]


async def test_bodies_of_callers_and_refusals_of_ours_do_not_count(start: Start, upstream: Upstream) -> None:
    gateway = await start(policies(upstream).replace("limit: 100", "limit: 1"))
    broken = b"POST /x HTTP/1.1\r\nHost: a\r\nX-Connection-Id: c1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"
    for number in range(5):
        await gateway.raw(broken)
        await gateway.records.wait(number + 1)
        assert (await call(gateway))[0] in (200, 429)
        gateway.records.all.pop()
    kept = (await gateway.gateway.store.guards([GUARD]))[1][0]
    assert (kept.state, kept.in_a_row) == (State.CLOSED, 0)


@pytest.mark.parametrize("begun", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nha"])
async def test_callers_that_leave_before_or_inside_the_answer_do_not_count(
    start: Start, upstream: Upstream, begun: bytes
) -> None:
    gateway = await start(policies(upstream))
    never = asyncio.Event()

    async def hang(_request: Received, socket: Socket) -> None:
        await socket.send(begun)
        await never.wait()

    upstream.script = hang
    for number in range(1, 6):
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(b"GET /x HTTP/1.1\r\nHost: a\r\nX-Connection-Id: c1\r\n\r\n")
        await upstream.until(lambda number=number: len(upstream.received) == number)
        if begun:
            await reader.readuntil(b"ha")
        writer.close()
        await gateway.records.wait(number)
    await told(gateway)
    assert {record.aborted_by for record in gateway.records.all} == {"client"}
    kept = (await gateway.gateway.store.guards([GUARD]))[1][0]
    assert (kept.state, kept.in_a_row) == (State.CLOSED, 0)
    never.set()


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


async def test_a_share_of_failures_opens_it(start: Start, upstream: Upstream) -> None:
    gateway = await start(policies(upstream, numbers="failure_rate: 50%, minimum_calls: 6"))
    seen = changes(gateway)
    for script in (always(OK), always(BAD)):
        upstream.script = script
        for _ in range(3):
            await call(gateway)
    assert [change for _, change in seen] == [Change(State.OPEN, Reason.FAILURE_RATE, 6, 3, 0, 30_000_000)]
    assert (await call(gateway))[0] == 503


async def test_successes_alone_are_told_too(start: Start, upstream: Upstream) -> None:
    gateway = await start(policies(upstream, numbers="failure_rate: 50%"))
    for _ in range(5):
        await call(gateway)
    await gateway.gateway.breakers.close()
    assert (await gateway.gateway.store.guards([GUARD]))[1][0].tallies.totals() == (5, 0, 0)


async def test_slow_calls_open_it(start: Start, upstream: Upstream) -> None:
    """Slow is what takes longer than nothing at all."""
    gateway = await start(policies(upstream, numbers="slow_call: {duration: 1ms, rate: 100%}, minimum_calls: 2"))
    seen = changes(gateway)

    async def take_time(_request: Received, _socket: Socket) -> bytes:
        await asyncio.sleep(0.01)
        return OK

    upstream.script = take_time
    for _ in range(2):
        await call(gateway)
    await gateway.gateway.breakers.close()
    assert [change.reason for _, change in seen] == [Reason.SLOW_CALLS]
    assert (await call(gateway))[0] == 503


async def test_breakers_that_count_failures_in_a_row_are_not_told_of_successes(
    start: Start, upstream: Upstream, redis_client: "object"
) -> None:
    gateway = await start(policies(upstream))
    await redis_client.config_resetstat()
    for _ in range(5):
        await call(gateway)
    await gateway.gateway.breakers.close()
    stats = await redis_client.info("commandstats")
    assert stats["cmdstat_evalsha"]["calls"] == 5


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


async def test_a_pause_refuses_until_it_is_over_and_reaches_nobody(start: Start, upstream: Upstream) -> None:
    gateway = await start(policies(upstream))
    await gateway.gateway.store.pause(PAUSE, 40_000_000)
    waits = set()
    for _ in range(20):
        status, fields, body = await call(gateway)
        problem = json.loads(body)
        assert (status, problem["code"]) == (429, "UPSTREAM_RATE_LIMITED")
        waits.add(int(fields["Retry-After"]))
    assert min(waits) >= 40 - 1
    assert max(waits) <= 44
    assert len(waits) > 1, "spread, so that not all come back at once"
    assert upstream.received == []
    assert gateway.records.all[-1].response_source == "pause"
    assert (await call(gateway, "c2"))[0] == 200
    await gateway.gateway.store.pause(PAUSE, 0)
    assert (await call(gateway))[1]["X-RateLimit-Remaining"] == "98"


def asking(*fields: str, status: int = 429) -> bytes:
    """An answer with these fields."""
    return "\r\n".join([f"HTTP/1.1 {status} Wait", "Content-Length: 0", *fields, "", ""]).encode()


async def test_what_one_call_is_told_all_heed(start: Start, upstream: Upstream) -> None:
    one, other = await start(policies(upstream)), await start(policies(upstream))
    told_of: list[tuple[str, int]] = []
    for gateway in (one, other):
        gateway.gateway.pauses.on_pause = lambda guard, wait_us: told_of.append((guard.key, wait_us))
    upstream.script = always(asking("Retry-After: 60"))
    status, fields, _ = await call(one)
    assert (status, fields["Retry-After"]) == (429, "60")
    for gateway in (one, other) * 5:
        status, fields, body = await call(gateway)
        assert json.loads(body)["code"] == "UPSTREAM_RATE_LIMITED"
        assert 59 <= int(fields["Retry-After"]) <= 66
    assert len(upstream.received) == 1
    assert told_of == [(PAUSE.key, 60_000_000)]


async def test_an_answer_with_nothing_left_pauses_too_and_any_other_does_not(start: Start, upstream: Upstream) -> None:
    learn = "learn_limits: {from: [Retry-After, RateLimit], scope: connection}"
    gateway = await start(
        policies(upstream).replace("learn_limits: {from: [Retry-After], scope: connection, max: 15m}", learn)
    )
    upstream.script = always(asking('RateLimit: "up";r=7;t=30', "Retry-After: 60", status=200))
    for _ in range(3):
        assert (await call(gateway))[0] == 200
    upstream.script = always(asking('RateLimit: "up";r=0;t=30', status=200))
    assert (await call(gateway))[0] == 200
    assert (await call(gateway))[0] == 429
    assert (await call(gateway, "c2"))[0] == 200


async def test_a_pause_learned_while_the_store_is_down_holds_in_this_worker(start: Start, upstream: Upstream) -> None:
    gateway = await start(policies(upstream))
    await gateway.gateway.store.close()
    upstream.script = always(asking("Retry-After: 60"))
    await call(gateway)
    assert json.loads((await call(gateway))[2])["code"] == "UPSTREAM_RATE_LIMITED"


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
