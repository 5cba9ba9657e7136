"""What of a call counts for the breaker of its connection, and what does not; by which counts it opens."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from gateway.core.guards import Change, Reason, State
from tests.app.breaking import (
    BAD,
    GUARD,
    call,
    changes,
    policies,
    told,
)
from tests.app.conftest import Start
from tests.fakes.upstream import OK, Received, Socket, Upstream, always
from tests.fakes.waiting import pause


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
        await pause(0.01, "longer than the millisecond that is slow")
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
