"""How calls travel: streamed both ways within bounded memory, cancelled with their caller, bounded in every phase."""

import asyncio
import contextlib
import hashlib
from collections.abc import Coroutine
from dataclasses import replace
from socket import socketpair
from typing import Any

import pytest

from gateway.core.preview.explain import explain
from gateway.policy.sent import sent
from gateway.settings import Bounds
from gateway.wire.asked import asked
from tests.app.conftest import ONE_ROUTE, Running, Start
from tests.app.forwarding import GET, WITH_TIMEOUTS, R, connected, status_of
from tests.fakes.upstream import OK, Received, Socket, Upstream, always
from tests.fakes.waiting import eventually, hold_up, turns

# Uploads


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_large_upload_arrives_byte_for_byte(gateway: Running, upstream: Upstream, chunked: bool) -> None:
    size, piece = 8 * 2**20, bytes(range(256)) * 256
    seen = hashlib.sha256()

    async def script(request: Received, socket: Socket) -> bytes:
        if not chunked:
            left = size
            while left:
                data = await socket.reader.read(min(left, 65536))
                seen.update(data)
                left -= len(data)
            return OK
        while length := int((await socket.reader.readuntil(b"\r\n")), 16):
            seen.update((await socket.reader.readexactly(length + 2))[:-2])
        await socket.reader.readexactly(2)
        return OK

    upstream.script, upstream.read_body = script, False
    reader, writer = await connected(gateway)
    framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % size
    writer.write(b"POST /up HTTP/1.1\r\nHost: a\r\n" + framing + b"\r\n\r\n")
    for _ in range(size // len(piece)):
        writer.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
        await writer.drain()
    if chunked:
        writer.write(b"0\r\n\r\n")
    assert status_of(await reader.readuntil(b"ok")) == 200
    writer.close()
    assert seen.digest() == hashlib.sha256(piece * (size // len(piece))).digest()
    assert (await gateway.records.wait(1))[0].bytes_in == size


async def test_an_upstream_that_does_not_read_stops_the_caller(gateway: Running, upstream: Upstream) -> None:
    """Back-pressure: what the gateway holds for a stalled upload is bounded."""
    go = asyncio.Event()

    async def script(_request: Received, socket: Socket) -> bytes:
        await go.wait()
        left = 64 * 2**20
        while left:
            left -= len(await socket.reader.read(min(left, 2**20)))
        return OK

    upstream.script, upstream.read_body = script, False
    reader, writer = await connected(gateway)
    writer.transport.set_write_buffer_limits(high=0)
    writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (64 * 2**20))
    sent = 0
    while sent < 64 * 2**20:
        writer.write(bytes(2**20))
        sent += 2**20
        try:
            await asyncio.wait_for(writer.drain(), 0.3)
        except TimeoutError:
            break
    assert sent < 32 * 2**20  # socket buffers of the kernel and 64 KiB of ours, not the whole body
    go.set()
    writer.write(bytes(64 * 2**20 - sent))
    assert status_of(await reader.readuntil(b"ok")) == 200
    writer.close()


async def test_continue_is_sent_after_admission(gateway: Running, upstream: Upstream) -> None:
    reader, writer = await connected(gateway)
    writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(b"abc")
    assert status_of(await reader.readuntil(b"ok")) == 200
    writer.close()
    assert upstream.received[0].body == b"abc"
    assert upstream.received[0].fields("Expect") == []


async def test_continue_stands_in_no_answer(gateway: Running, upstream: Upstream) -> None:
    """However late the loop gets to sending the body: here when an upstream that does not wait for it has answered."""
    begun, loop = asyncio.Event(), asyncio.get_running_loop()

    async def later(pumping: Coroutine[Any, Any, None]) -> None:
        await begun.wait()
        await pumping

    def busy(loop: asyncio.AbstractEventLoop, given: Any, **options: Any) -> "asyncio.Task[Any]":
        return asyncio.Task(later(given) if given.__qualname__ == "Upload._pump" else given, loop=loop, **options)

    async def script(_request: Received, socket: Socket) -> None:
        await socket.send(R + b"Content-Length: 6\r\n\r\nabc")
        await begun.wait()
        await turns()
        await socket.send(b"def")
        await socket.reader.read()

    upstream.script, upstream.read_body = script, False
    reader, writer = await connected(gateway)
    loop.set_task_factory(busy)
    writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
    got = await reader.readuntil(b"abc")
    begun.set()
    got += await reader.read()
    loop.set_task_factory(None)
    writer.close()
    assert got.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")
    assert got.endswith(b"\r\n\r\nabcdef")


async def test_a_refused_upload_is_never_sent(start: Start, upstream: Upstream) -> None:
    gateway = await start((ONE_ROUTE % {"url": upstream.url}).replace("limit: 500", "limit: 1"))
    await gateway.raw(GET, until=b"ok")
    answer = await gateway.raw(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1000000\r\n\r\n")
    assert status_of(answer) == 429
    assert b"100 Continue" not in answer


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_over_the_bound_is_refused(start: Start, upstream: Upstream, chunked: bool) -> None:
    gateway = await start(ONE_ROUTE % {"url": upstream.url}, bounds=replace(Bounds(), body_bytes=1000))
    body = b"3e9\r\n%b\r\n0\r\n\r\n" % bytes(1001) if chunked else bytes(1001)
    framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: 1001"
    answer = await gateway.raw(b"POST / HTTP/1.1\r\nHost: a\r\n" + framing + b"\r\n\r\n" + body)
    assert status_of(answer) == 413
    assert upstream.received == []


async def test_an_answer_before_the_end_of_the_upload(gateway: Running, upstream: Upstream) -> None:
    upstream.script, upstream.read_body = always(b"HTTP/1.1 401 No\r\nContent-Length: 2\r\n\r\nno"), False
    reader, writer = await connected(gateway)
    writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nabc")
    answer = await reader.read()
    writer.close()
    assert status_of(answer) == 401
    assert b"Connection: close" in answer


# Downloads


async def test_events_flow_without_buffering(gateway: Running, upstream: Upstream) -> None:
    go = asyncio.Event()

    async def script(_request: Received, socket: Socket) -> None:
        await socket.send(R + b"Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for number in range(3):
            await socket.send(b"9\r\ndata: %d\n\n\r\n" % number)
            go.clear()
            await go.wait()
        await socket.send(b"0\r\n\r\n")

    upstream.script = script
    reader, writer = await connected(gateway)
    writer.write(GET)
    for number in range(3):
        assert (await reader.readuntil(b"data: %d\n\n\r\n" % number)).endswith(b"%d\n\n\r\n" % number)
        go.set()
    assert await reader.readuntil(b"0\r\n\r\n") == b"0\r\n\r\n"
    writer.close()


async def test_a_caller_that_does_not_read_stops_the_upstream(gateway: Running, upstream: Upstream) -> None:
    size = 64 * 2**20
    sent = 0

    async def script(_request: Received, socket: Socket) -> None:
        nonlocal sent
        await socket.send(R + b"Content-Length: %d\r\n\r\n" % size)
        while sent < size:
            await socket.send(bytes(2**18))
            sent += 2**18

    upstream.script = script
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port, limit=2**16)
    writer.write(GET)
    await reader.readuntil(b"\r\n\r\n")
    pool = gateway.gateway.upstreams.pools()["up"]
    await eventually(lambda: any(exchange.body is not None and exchange.body.paused for exchange in pool._busy))
    assert sent < size / 2
    got = 0
    while got < size:
        got += len(await reader.read(2**20))
    assert got == size
    writer.close()


# Callers that leave


async def test_a_caller_that_leaves_takes_the_attempt_with_it(gateway: Running, upstream: Upstream) -> None:
    async def never(_request: Received, socket: Socket) -> None:
        await socket.reader.read()

    upstream.script = never
    _, writer = await connected(gateway)
    writer.write(GET)
    await upstream.until(lambda: len(upstream.received) == 1)
    writer.close()
    await upstream.until(lambda: upstream.open_sockets == 0)
    [record] = await gateway.records.wait(1)
    assert (record.status, record.aborted_by) == (499, "client")
    assert gateway.gateway.in_flight == 0


async def test_a_caller_that_leaves_in_the_middle_of_an_answer(gateway: Running, upstream: Upstream) -> None:
    async def endless(_request: Received, socket: Socket) -> None:
        await socket.send(R + b"Transfer-Encoding: chunked\r\n\r\n")
        while not socket.writer.is_closing():
            await socket.send(b"400\r\n%b\r\n" % bytes(1024))
            await turns()

    upstream.script = endless
    reader, writer = await connected(gateway)
    writer.write(GET)
    await reader.read(1000)
    writer.close()
    await upstream.until(lambda: upstream.open_sockets == 0)
    [record] = await gateway.records.wait(1)
    assert (record.status, record.aborted_by) == (200, "client")


# Upstreams in trouble


async def test_a_refused_connection(start: Start, upstream: Upstream) -> None:
    async with Upstream() as gone:
        url = gone.url
    gateway = await start(ONE_ROUTE % {"url": url})
    answer = await gateway.raw(GET, until=b"}")
    assert status_of(answer) == 502
    assert b'"UPSTREAM_UNREACHABLE"' in answer
    assert b"error=connection_refused" in answer
    assert b"retry" not in answer.lower()  # nobody knows when


async def test_a_name_that_does_not_resolve(start: Start) -> None:
    gateway = await start(ONE_ROUTE % {"url": "http://no-such-host.invalid"})
    answer = await gateway.raw(GET, until=b"}")
    assert status_of(answer) in (502, 504)
    assert b'"UPSTREAM_DNS"' in answer
    assert b'"The name of the upstream does not lead to an address that may be used."' in answer


@pytest.mark.parametrize("timeouts", ["first_byte: 100ms", "total: 1s"])
async def test_a_silent_upstream(start: Start, upstream: Upstream, timeouts: str) -> None:
    async def never(_request: Received, socket: Socket) -> None:
        await socket.reader.read()

    upstream.script = never
    gateway = await start(WITH_TIMEOUTS % {"url": upstream.url, "timeouts": timeouts})
    answer = await gateway.raw(GET, until=b"}")
    assert status_of(answer) == 504
    assert b'"UPSTREAM_TIMEOUT"' in answer
    assert b"error=http_response_timeout" in answer
    await upstream.until(lambda: upstream.open_sockets == 0)


async def test_an_answer_that_lay_in_the_socket_while_this_process_was_held_up_is_in_time(
    start: Start, upstream: Upstream
) -> None:
    """Held up while it reads another socket, as by a pause of the whole host: uvloop then runs the timers before it
    looks at the sockets again."""
    loop = asyncio.get_running_loop()
    other, bell = socketpair()

    async def answered(_request: Received, socket: Socket) -> None:
        def be_held_up() -> None:
            loop.remove_reader(other)
            socket.writer.write(OK)
            hold_up(1)

        loop.add_reader(other, be_held_up)
        bell.send(b"!")
        await socket.reader.read()

    upstream.script = answered
    gateway = await start(WITH_TIMEOUTS % {"url": upstream.url, "timeouts": "first_byte: 500ms"})
    with other, bell:
        assert status_of(await gateway.raw(GET, until=b"ok")) == 200


@pytest.mark.parametrize("timeouts", ["idle: 100ms", "total: 1s"])
async def test_an_answer_that_stalls_is_cut(start: Start, upstream: Upstream, timeouts: str) -> None:
    async def stall(_request: Received, socket: Socket) -> None:
        await socket.send(R + b"Content-Length: 100\r\n\r\nhello")
        await socket.reader.read()

    upstream.script = stall
    gateway = await start(WITH_TIMEOUTS % {"url": upstream.url, "timeouts": timeouts})
    reader, writer = await connected(gateway)
    writer.write(GET)
    with contextlib.suppress(ConnectionResetError):
        assert (await reader.read()).endswith(b"hello")
    writer.close()
    [record] = await gateway.records.wait(1)
    assert (record.aborted_by, record.error_class) == ("upstream", "timeout")


# Traces


TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.mark.parametrize(
    ("parents", "continued"),
    [
        ([f"00-{TRACE}-00f067aa0ba902b7-01"], True),
        ([f"cc-{TRACE}-00f067aa0ba902b7-01-later"], True),
        ([], False),
        ([f"00-{TRACE}-0000000000000000-01"], False),
        ([f"00-{TRACE}-00f067aa0ba902b7-01", f"00-{TRACE}-00f067aa0ba902b8-01"], False),
    ],
)
async def test_tracestate_goes_with_its_trace_or_not_at_all(
    gateway: Running, upstream: Upstream, parents: list[str], continued: bool
) -> None:
    reader, writer = await connected(gateway)
    fields = "".join([f"traceparent: {parent}\r\n" for parent in parents])
    for _ in range(2):  # the second one meets what was remembered of the first
        writer.write(f"GET /x HTTP/1.1\r\nHost: a\r\n{fields}tracestate: a=1\r\nTraceState: b=2\r\n\r\n".encode())
        assert status_of(await reader.readuntil(b"ok")) == 200
    writer.close()
    for request in upstream.received:
        (parent,) = request.fields("traceparent")
        version, trace, _, flags = parent.split("-")
        assert (version, trace == TRACE, flags) == ("00", continued, "01" if continued else "00")
        assert request.fields("tracestate") == (["a=1", "b=2"] if continued else [])


# What operators are told of it


async def test_what_explain_shows_is_what_is_sent(gateway: Running, upstream: Upstream) -> None:
    fields = [
        ("Host", "api.example"), ("X-Tenant-Id", "acme"), ("Connection", "X-Gone"), ("X-Gone", "1"),
        ("Authorization", "Bearer s3cret"), ("X-Forwarded-For", "6.6.6.6"), ("Accept", "*/*"), ("accept", "text/html"),
    ]  # fmt: skip
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields)
    await gateway.raw(f"GET /x?a=1 HTTP/1.1\r\n{lines}\r\n".encode(), until=b"ok")
    [received] = upstream.received
    request, policies = asked("GET", "/x?a=1", fields), gateway.gateway.policies
    explanation = explain(policies, request, request.http_host)
    shown = sent(explanation, request, "127.0.0.1", policies, gateway.gateway.settings)
    assert shown is not None
    line, *really = received.head.decode().split("\r\n")[:-2]
    assert shown["line"] == line
    of_each = len(shown["of_each_call"])
    assert [f"{name}: {value}" for name, value in shown["fields"]] == [
        "Authorization: ***" if one.startswith("Authorization:") else one for one in really[:-of_each]
    ]
    assert [one.partition(":")[0] for one in really[-of_each:]] == shown["of_each_call"]
