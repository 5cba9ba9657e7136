"""Callers that do not read, read slowly, or stop: what they may hold of the gateway is bounded in size and time."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.listener.connection import Connection
from gateway.listener.door import UNSENT_BYTES
from gateway.settings import Bounds
from gateway.wire.body import HIGH_WATER_BYTES
from tests.app.conftest import ONE_ROUTE, Running, Start
from tests.fakes.upstream import Received, Socket, Upstream, always
from tests.fakes.waiting import eventually, pause
from tests.proxy.in_memory import NearEnd, Proxy

GET = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
NOTHING_BUT_A_HEAD = b"HTTP/1.1 204 No Content\r\nX: %b\r\n\r\n" % (b"x" * 2000)
A_LOT = 2**22
A_READ = 2**18  # what a loop reads at once


@asynccontextmanager
async def narrow(gateway: Running) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A caller whose kernel takes few bytes that it does not read; it reads nothing until asked to."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", gateway.port))
    reader, writer = await asyncio.open_connection(sock=sock, limit=2**16)
    await eventually(lambda: gateway.listener._connections)
    for connection in gateway.listener._connections:
        assert connection.transport is not None
        connection.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


def widen(writer: asyncio.StreamWriter) -> None:
    """From now on the kernel takes a lot at once."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**20)


async def pipeline(writer: asyncio.StreamWriter, size: int) -> None:
    """Send requests, `size` bytes of them, each as soon as the one before is taken."""
    with contextlib.suppress(ConnectionError):
        for _ in range(size // (len(GET) * 500)):
            writer.write(GET * 500)
            await writer.drain()


async def until_paused(gateway: Running) -> None:
    await eventually(lambda: any(connection.write_paused for connection in gateway.listener._connections))


@pytest.mark.parametrize("kind", ["answers", "refusals", "bodiless answers"])
async def test_pipelined_requests_whose_answers_are_never_read(start: Start, upstream: Upstream, kind: str) -> None:
    """Not one answer more is made than fits into the buffers, whoever makes it."""
    policies = ONE_ROUTE % {"url": upstream.url}
    gateway = await start(policies.replace("limit: 500", "limit: 1" if kind == "refusals" else "limit: 100000"))
    upstream.script = always(NOTHING_BUT_A_HEAD if kind == "bodiless answers" else answer_of(1000))
    async with narrow(gateway) as (_, writer):
        sending = asyncio.create_task(pipeline(writer, A_LOT))
        await until_paused(gateway)
        await pause(0.5, "it may not take more")
        sending.cancel()
        [connection] = gateway.listener._connections
        assert connection.transport is not None
        assert connection.transport.get_write_buffer_size() < 2 * HIGH_WATER_BYTES
        assert len(connection._buffer) < 2 * A_READ
        assert len(gateway.records.all) < A_LOT / len(GET) / 4


class Trickle(NearEnd):
    """A caller that always has more requests to send, and takes an answer only now and then (`take`)."""

    def write(self, data: bytes) -> None:
        super().write(data)
        if len(self.written) > HIGH_WATER_BYTES and not self._connection.write_paused:
            self._connection.pause_writing()

    def take(self) -> None:
        self.written.clear()
        self._connection.resume_writing()


async def test_what_waits_is_bounded_however_often_the_caller_reads_a_little(start: Start, upstream: Upstream) -> None:
    gateway = await start((ONE_ROUTE % {"url": upstream.url}).replace("limit: 500", "limit: 1"))
    await gateway.raw(GET, until=b"ok")
    connection = Connection(gateway.listener, asyncio.get_running_loop())
    near = Trickle(connection)
    connection.connection_made(near)
    most = 0
    for _ in range(20):
        while near.reading:
            connection.data_received(GET * (A_READ // len(GET)))
            most = max(most, len(connection._buffer))
        near.take()
        await eventually(lambda: connection.write_paused)
    assert A_READ < most < 2 * A_READ
    near.close()
    await eventually(lambda: connection.transport is None)


def answer_of(size: int) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (size, bytes(size))


async def test_pipelining_goes_on_when_the_caller_reads_again(start: Start, upstream: Upstream) -> None:
    gateway = await start((ONE_ROUTE % {"url": upstream.url}).replace("limit: 500", "limit: 1"))
    count = 2000
    async with narrow(gateway) as (reader, writer):
        writer.write(GET * count + b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        await until_paused(gateway)
        widen(writer)
        got = b""
        while more := await reader.read(65536):
            got += more
        assert got.count(b"HTTP/1.1 200 OK") == 1
        assert got.count(b"HTTP/1.1 429 ") == count


@pytest.mark.usefixtures("swept_often")
async def test_a_caller_that_never_reads_the_last_answer(start: Start, upstream: Upstream) -> None:
    """Closing politely must not mean waiting for ever."""
    upstream.script = always(answer_of(HIGH_WATER_BYTES - 4096))
    bounds = replace(Bounds(), body_time_us=100_000)
    gateway = await start(ONE_ROUTE % {"url": upstream.url}, bounds=bounds)
    async with narrow(gateway) as (_, writer):
        writer.write(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        await gateway.records.wait(1)
        await eventually(lambda: not gateway.listener.open_sockets)


@pytest.mark.usefixtures("swept_often")
async def test_a_trickle_is_not_reading(start: Start, upstream: Upstream) -> None:
    """A few bytes now and then do not buy more time; the answer is cut, the upstream let go."""
    upstream.script = always(answer_of(32 * 2**20))
    gateway = await start(ONE_ROUTE % {"url": upstream.url}, bounds=replace(Bounds(), body_time_us=1_000_000))
    async with narrow(gateway) as (reader, writer):
        writer.write(GET)
        await until_paused(gateway)
        while gateway.listener.open_sockets:
            with contextlib.suppress(ConnectionError):
                await reader.read(1)
            await pause(0.05, "a few bytes now and then")
    [record] = await gateway.records.wait(1)
    assert (record.status, record.aborted_by) == (200, "client")
    assert record.error_detail == "the caller did not read its answer"
    await upstream.until(lambda: upstream.open_sockets == 0)


@pytest.mark.usefixtures("swept_often")
async def test_the_kernel_holds_little_for_a_caller_that_does_not_read(start: Start, upstream: Upstream) -> None:
    """Its own bound is 4 MiB a socket; what it takes from us counts as sent."""
    upstream.script = always(answer_of(32 * 2**20))
    gateway = await start(ONE_ROUTE % {"url": upstream.url}, bounds=replace(Bounds(), body_time_us=100_000))
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", gateway.port))
        sock.send(GET)
        [record] = await gateway.records.wait(1)
    assert (record.status, record.aborted_by) == (200, "client")
    assert record.bytes_out < UNSENT_BYTES + 16 * HIGH_WATER_BYTES


@pytest.mark.usefixtures("swept_often")
async def test_an_idle_socket_is_closed_also_after_a_slow_answer(start: Start, upstream: Upstream) -> None:
    upstream.script = always(answer_of(2**21))
    gateway = await start(ONE_ROUTE % {"url": upstream.url}, bounds=replace(Bounds(), idle_time_us=1_000_000))
    async with narrow(gateway) as (reader, writer):
        writer.write(GET)
        await until_paused(gateway)
        widen(writer)
        with contextlib.suppress(ConnectionError):
            while await reader.read(65536):
                pass
    await eventually(lambda: not gateway.listener.open_sockets)


@pytest.mark.parametrize(
    "body", [b"5\r\nhelloX\r\n", b"3e9\r\n" + bytes(1001) + b"\r\n"], ids=["malformed", "too large"]
)
async def test_the_answer_to_a_bad_body_survives_the_rest_of_it(start: Start, upstream: Upstream, body: bytes) -> None:
    """Closing a socket with unread input resets it: a caller that is still sending would never see why it was refused."""
    gateway = await start(ONE_ROUTE % {"url": upstream.url}, bounds=replace(Bounds(), body_bytes=1000))
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
    got = b""
    while b"}" not in got:
        writer.write(bytes(2**16))
        got += await reader.read(65536)
    assert got.startswith(b"HTTP/1.1 4")
    for _ in range(64):
        writer.write(bytes(2**16))
    await writer.drain()
    assert await reader.read() == b""
    writer.close()


async def test_a_declared_body_over_the_bound_is_refused_before_it_is_sent(start: Start, upstream: Upstream) -> None:
    """Nothing is charged, no upstream is asked, and `100 Continue` is not said."""
    gateway = await start(ONE_ROUTE % {"url": upstream.url}, bounds=replace(Bounds(), body_bytes=1000))
    answer = await gateway.raw(
        b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1001\r\n\r\n", until=b"}"
    )
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"RateLimit" not in answer
    assert upstream.accepted == 0


@pytest.mark.usefixtures("swept_often")
@pytest.mark.parametrize("body", [b"abc", b""])
async def test_a_body_is_owed_from_when_it_is_asked_for(start: Start, upstream: Upstream, body: bytes) -> None:
    """Not while the call waits for its turn, and the caller for `100 Continue`."""
    policies = ONE_ROUTE % {"url": upstream.url}
    paced = policies.replace(f'url: "{upstream.url}"', f'url: "{upstream.url}", pace: {{rate: 1, per: 4s}}')
    assert paced != policies
    gateway = await start(paced, bounds=replace(Bounds(), body_time_us=3_000_000))
    await gateway.raw(GET, until=b"ok")
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(body)
    answer = await reader.readuntil(b"ok" if body else b"}")
    assert answer.startswith(b"HTTP/1.1 200 " if body else b"HTTP/1.1 408 ")
    writer.close()


@pytest.mark.usefixtures("swept_often")
async def test_who_does_not_wait_to_be_asked_owes_the_body_from_its_first_byte(
    start: Start, upstream: Upstream
) -> None:
    """Callers wait for `100 Continue` for as long as they like, and then send all the same (RFC 9110 §10.1.1)."""
    policies = ONE_ROUTE % {"url": upstream.url}
    paced = policies.replace(f'url: "{upstream.url}"', f'url: "{upstream.url}", pace: {{rate: 1, per: 5s}}')
    gateway = await start(paced, bounds=replace(Bounds(), body_time_us=3_000_000))
    await gateway.raw(GET, until=b"ok")
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
    await pause(3.5, "longer than a body may pause")
    writer.write(b"a")
    await pause(0.3, "the listener looks who is late")
    writer.write(b"bc")
    answer = await reader.readuntil(b"ok")  # on a host that was held up, the call's turn came before the body
    assert answer.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n").startswith(b"HTTP/1.1 200 ")
    assert upstream.received[-1].body == b"abc"
    writer.close()


async def test_an_answer_that_only_its_end_completes_is_reset(gateway: Running, upstream: Upstream) -> None:
    """An HTTP/1.0 caller takes a regular close for the end of the body."""

    async def script(_request: Received, socket: Socket) -> None:
        await socket.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")

    upstream.script = script
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(b"GET / HTTP/1.0\r\n\r\n")
    assert await reader.readuntil(b"\r\n\r\n")
    with pytest.raises(ConnectionResetError):
        await reader.read()
    writer.close()


async def test_what_came_before_the_break_is_passed_on(gateway: Running, upstream: Upstream) -> None:
    async def script(_request: Received, socket: Socket) -> None:
        await socket.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")

    upstream.script = script
    answer = await gateway.raw(GET)
    assert answer.endswith(b"\r\n\r\nhello")
    [record] = await gateway.records.wait(1)
    assert record.aborted_by == "upstream"


@pytest.mark.usefixtures("swept_often")
async def test_an_empty_line_behind_a_request_does_not_keep_a_socket_for_ever(start: Start, upstream: Upstream) -> None:
    """RFC 9112 §2.2 lets callers send one, and it is no beginning of a request."""
    gateway = await start(ONE_ROUTE % {"url": upstream.url}, bounds=replace(Bounds(), idle_time_us=1_000_000))
    assert (await gateway.raw(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n\r\n")).endswith(b"\r\n\r\nok")


async def test_an_answer_that_is_complete_is_the_upstreams_no_more(tmp_path: Path) -> None:
    """However slowly the caller takes it: nothing is owed by then that the upstream could be late with."""
    proxy, loop = Proxy(tmp_path), asyncio.get_running_loop()
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
    proxy.far.scripts[b"/x"] = [chunked, b"0\r\n\r\n"]
    connection = Connection(proxy.listener, loop)
    near = NearEnd(connection)
    connection.connection_made(near)
    connection.data_received(GET)
    connection.pause_writing()
    [exchange] = proxy.pool._busy
    await eventually(lambda: exchange.body is not None and exchange.body.complete)
    assert near.written.endswith(b"hello\r\n")
    if exchange.deadline < float("inf"):
        exchange.expired()
    connection.resume_writing()
    await eventually(lambda: proxy.records)
    assert (near.written.endswith(b"0\r\n\r\n"), proxy.records[0].error_class) == (True, "")
    near.close()
    proxy.close()
