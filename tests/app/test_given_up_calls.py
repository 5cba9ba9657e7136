"""Calls that were given up keep their slots for as long as their upstream may be at work on them, if the policy says so."""

import asyncio

import pytest

from tests.app.conftest import Running, Start
from tests.fakes.upstream import OK, Received, Socket, Upstream, always
from tests.fakes.waiting import eventually

POLICIES = """
version: 1
limits:
  parallel: {algorithm: concurrency, limit: 1, key: []}
upstreams:
  up: {url: "%s"%s}
routes:
  - {name: all, upstream: up, limits: [parallel]}
"""
GET = b"GET / HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n\r\n"
GOES_ON = ", goes_on: 1h"


async def never(_request: Received, socket: Socket) -> None:
    await socket.reader.read()


async def started(start: Start, upstream: Upstream, goes_on: str) -> Running:
    return await start(POLICIES % (upstream.url, goes_on))


async def status(running: Running) -> bytes:
    return (await running.raw(GET))[9:12]


async def leave(running: Running, upstream: Upstream) -> None:
    """A caller that goes while the upstream works on its call."""
    upstream.script = never
    _, writer = await asyncio.open_connection("127.0.0.1", running.port)
    writer.write(GET)
    await upstream.until(lambda: bool(upstream.received))
    writer.close()
    await running.records.wait(1)
    upstream.script = always(OK)


@pytest.mark.parametrize(("goes_on", "then"), [("", b"200"), (GOES_ON, b"429")])
async def test_a_caller_that_left(start: Start, upstream: Upstream, goes_on: str, then: bytes) -> None:
    running = await started(start, upstream, goes_on)
    await leave(running, upstream)
    assert running.gateway.leases.slots() == ({"parallel": 1} if goes_on else {})
    assert await status(running) == then


@pytest.mark.parametrize(("goes_on", "then"), [("", b"200"), (GOES_ON, b"429")])
async def test_an_answer_that_came_too_late(start: Start, upstream: Upstream, goes_on: str, then: bytes) -> None:
    running = await started(start, upstream, goes_on)

    async def too_late(request: Received, socket: Socket) -> None:
        running.time_is_over()
        await never(request, socket)

    upstream.script = too_late
    assert await status(running) == b"504"
    upstream.script = always(OK)
    assert await status(running) == then


async def test_the_slot_comes_back_when_the_upstream_is_done(start: Start, upstream: Upstream) -> None:
    running = await started(start, upstream, ", goes_on: 100ms")
    await leave(running, upstream)
    await eventually(lambda: not running.gateway.leases.slots())
    assert await status(running) == b"200"


async def test_whose_answer_ended_gives_its_slot_back_at_once(start: Start, upstream: Upstream) -> None:
    running = await started(start, upstream, GOES_ON)
    upstream.script = always(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")
    assert [await status(running) for _ in range(2)] == [b"500", b"500"]


async def test_what_was_never_sent_gives_its_slot_back_at_once(start: Start) -> None:
    running = await start(POLICIES % ("http://127.0.0.1:1", GOES_ON))
    assert [await status(running) for _ in range(2)] == [b"502", b"502"]
