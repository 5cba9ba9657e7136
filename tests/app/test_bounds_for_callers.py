"""How long callers may take, and how many there may be at once."""

import asyncio
import contextlib
from dataclasses import replace

import pytest

from gateway.settings import Bounds
from tests.app.conftest import ONE_ROUTE, Start
from tests.app.forwarding import GET, connected, status_of
from tests.fakes.upstream import OK, Received, Socket, Upstream


async def test_a_head_that_never_ends(start: Start, upstream: Upstream) -> None:
    gateway = await start(ONE_ROUTE % {"url": upstream.url}, bounds=replace(Bounds(), header_time_us=100_000))
    assert status_of(await gateway.raw(b"GET / HTTP/1.1\r\nHost: a\r\n")) == 408


@pytest.mark.usefixtures("swept_often")
async def test_a_silent_socket_is_closed(start: Start, upstream: Upstream) -> None:
    gateway = await start(ONE_ROUTE % {"url": upstream.url}, bounds=replace(Bounds(), header_time_us=100_000))
    reader, writer = await connected(gateway)
    with contextlib.suppress(ConnectionResetError):
        assert await reader.read() == b""
    writer.close()


@pytest.mark.usefixtures("swept_often")
async def test_an_idle_socket_is_closed(start: Start, upstream: Upstream) -> None:
    gateway = await start(ONE_ROUTE % {"url": upstream.url}, bounds=replace(Bounds(), idle_time_us=100_000))
    reader, writer = await connected(gateway)
    writer.write(GET)
    await reader.readuntil(b"ok")
    with contextlib.suppress(ConnectionResetError):
        assert await reader.read() == b""
    writer.close()


@pytest.mark.usefixtures("swept_often")
@pytest.mark.parametrize("size", [3, 100_000])
async def test_a_body_that_stops(start: Start, upstream: Upstream, size: int) -> None:
    """However much came before: who was fast may not rest for longer than others."""
    gateway = await start(ONE_ROUTE % {"url": upstream.url}, bounds=replace(Bounds(), body_time_us=100_000))
    answer = await gateway.raw(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n" + bytes(size))
    assert status_of(answer) == 408
    assert b"Connection: close" in answer


async def test_more_sockets_than_allowed(start: Start, upstream: Upstream) -> None:
    gateway = await start(ONE_ROUTE % {"url": upstream.url}, bounds=replace(Bounds(), sockets_per_ip=2))
    held = [await connected(gateway) for _ in range(2)]
    reader, writer = await connected(gateway)
    writer.write(GET)
    with contextlib.suppress(ConnectionResetError):
        assert await reader.read() == b""
    for _, socket in [*held, (reader, writer)]:
        socket.close()
    assert upstream.received == []


async def test_more_calls_than_allowed(start: Start, upstream: Upstream) -> None:
    go = asyncio.Event()

    async def held(_request: Received, _socket: Socket) -> bytes:
        await go.wait()
        return OK

    upstream.script = held
    gateway = await start(ONE_ROUTE % {"url": upstream.url}, bounds=replace(Bounds(), calls_in_flight=1))
    first = asyncio.create_task(gateway.raw(GET, until=b"ok"))
    await upstream.until(lambda: len(upstream.received) == 1)
    answer = await gateway.raw(GET, until=b"}")
    assert status_of(answer) == 503
    assert b"Retry-After: 1\r\n" in answer
    go.set()
    assert status_of(await first) == 200
