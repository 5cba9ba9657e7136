"""Upstreams that answer early, late, twice or wrongly: no second attempt, no lost answer, no socket used again."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gateway.core.upstream import Upstream as Known
from gateway.upstream.exchange import Exchange
from gateway.upstream.failure import UpstreamFailed
from gateway.upstream.pool import Pool
from gateway.wire.response_head import ResponseHeadParser
from gateway.wire.sockets import peer_of
from tests.app.conftest import ONE_ROUTE, Running, Start
from tests.fakes.upstream import OK, Received, Socket, Upstream, always, answer_ok
from tests.fakes.waiting import turns

GET = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
TOO_LATE = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"


async def test_a_timeout_on_a_kept_socket_is_not_tried_again(gateway: Running, upstream: Upstream) -> None:
    """A slow upstream is not a stale socket: a second attempt would double its load and the caller's wait."""

    async def then_silence(_request: Received, socket: Socket) -> bytes:
        if len(upstream.received) > 1:
            gateway.time_is_over()
            await socket.reader.read()
        return OK

    upstream.script = then_silence
    await gateway.raw(GET, until=b"ok")
    assert (await gateway.raw(GET, until=b"}")).startswith(b"HTTP/1.1 504 ")
    assert len(upstream.received) == 2


@pytest.mark.parametrize("broken", [b"garbage\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", b"HTTP/1.1 2"])
async def test_a_broken_answer_on_a_kept_socket_is_not_asked_for_again(
    gateway: Running, upstream: Upstream, broken: bytes
) -> None:
    async def then_broken(_request: Received, socket: Socket) -> bytes | None:
        if len(upstream.received) == 1:
            return OK
        await socket.send(broken)
        return None

    upstream.script = then_broken
    await gateway.raw(GET, until=b"ok")
    assert (await gateway.raw(GET, until=b"}")).startswith(b"HTTP/1.1 502 ")
    assert len(upstream.received) == 2


GOOD_BYE = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        (GET, b"200"),
        (GET.replace(b"GET", b"POST"), b"408"),
        (GET.replace(b"GET", b"PUT").replace(b"\r\n\r\n", b"\r\nContent-Length: 2\r\n\r\nhi"), b"200"),
    ],
)
async def test_what_is_said_to_nobody_on_a_kept_socket(
    gateway: Running, upstream: Upstream, asked: bytes, status: bytes
) -> None:
    """It was idle for too long, says the upstream, while a request is on its way to it."""

    async def then_good_bye(request: Received, _socket: Socket) -> bytes:
        return GOOD_BYE if request.connection == 0 and len(upstream.received) > 1 else OK

    upstream.script = then_good_bye
    await gateway.raw(GET, until=b"ok")
    assert (await gateway.raw(asked, until=b"\r\n\r\n")).startswith(b"HTTP/1.1 %b " % status)
    assert [one.connection for one in upstream.received] == ([0, 0, 1] if status == b"200" else [0, 0])


async def test_a_408_on_a_fresh_socket_is_an_answer(gateway: Running, upstream: Upstream) -> None:
    upstream.script = always(GOOD_BYE)
    assert (await gateway.raw(GET, until=b"\r\n\r\n")).startswith(b"HTTP/1.1 408 ")
    assert len(upstream.received) == 1


async def test_an_early_answer_that_ends_with_the_socket(gateway: Running, upstream: Upstream) -> None:
    """The upstream has said all it wants to say, whatever the caller still sends."""

    async def early(_request: Received, socket: Socket) -> None:
        await socket.send(b"HTTP/1.1 403 Forbidden\r\n\r\nno")
        socket.writer.write_eof()
        await socket.reader.read()

    upstream.script, upstream.read_body = early, False
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 50000000\r\n\r\n" + bytes(1000))
    answer = await reader.readuntil(b"0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert answer.endswith(b"2\r\nno\r\n0\r\n\r\n")
    writer.close()


async def test_a_socket_with_an_unsent_request_is_not_used_again(gateway: Running, upstream: Upstream) -> None:
    """An answer that came before the request was sent leaves the rest of it in the way of the next."""
    size = 30 * 2**20

    async def early(_request: Received, socket: Socket) -> bytes | None:
        if len(upstream.received) == 1:
            await socket.send(OK)
            await socket.reader.read()
            return None
        return OK

    upstream.script, upstream.read_body = early, False
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size + bytes(2**20))
    await reader.readuntil(b"ok")
    await gateway.raw(GET, until=b"ok")
    assert [request.connection for request in upstream.received] == [0, 1]
    writer.close()


async def test_bytes_right_behind_a_switch_are_the_tunnels(gateway: Running, upstream: Upstream) -> None:
    async def script(_request: Received, socket: Socket) -> None:
        socket.writer.transport.set_write_buffer_limits(high=0)
        await socket.send(b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n")
        for number in range(50):
            await socket.send(b"%03d" % number)

    upstream.script = script
    for _ in range(20):
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n")
        answer = await reader.read()
        assert answer.endswith(b"\r\n\r\n" + b"".join(b"%03d" % number for number in range(50)))
        writer.close()


async def test_a_tunnel_is_a_socket_in_use(start: Start, upstream: Upstream) -> None:
    """It counts for `max_sockets` until it ends; the socket is then free for another."""
    url = f'{{url: "{upstream.url}", max_sockets: 1}}'
    gateway = await start(ONE_ROUTE.replace('{url: "%(url)s"}', url))

    async def switch(_request: Received, socket: Socket) -> None:
        await socket.send(b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n")
        await socket.reader.read()

    upstream.script = switch
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n")
    assert (await gateway.raw(GET, until=b"}")).startswith(b"HTTP/1.1 503 ")
    writer.close()
    await gateway.records.wait(2)
    upstream.script = answer_ok
    assert (await gateway.raw(GET, until=b"ok")).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("lines", [b"Content-Length: 5\r\n", b"Connection: X-A, X-B\r\nx-a: 1\r\nX-B: 2\r\n"])
async def test_what_an_interim_answer_does_not_have(gateway: Running, upstream: Upstream, lines: bytes) -> None:
    """A length, and what its Connection says is meant for this hop (RFC 9110 §7.6.1)."""

    async def script(_request: Received, socket: Socket) -> bytes:
        return b"HTTP/1.1 103 Early Hints\r\n%bLink: </a>\r\n\r\n" % lines + OK

    upstream.script = script
    answer = await gateway.raw(GET, until=b"ok")
    assert answer.startswith(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n")


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[Pool, Exchange, socket.socket]]:
    """A pool, an exchange of it, and the upstream's end of the exchange's socket."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        parser = ResponseHeadParser(asyncio.get_running_loop())
        pool = Pool(Known("up", "http", *server.getsockname(), authority="a"), parser)
        exchange = await pool.open()
        there, _ = server.accept()
        with there:
            yield pool, exchange, there
        exchange.release()
        pool.close()


async def used_once(exchange: Exchange, there: socket.socket) -> None:
    """It has served a call, and is kept."""
    exchange.send(b"GET / HTTP/1.1\r\n\r\n", "GET")
    there.sendall(OK)
    await exchange.answered()
    exchange.release()


def reset_after(there: socket.socket, said: bytes) -> None:
    """The upstream says this and resets, before anybody can read it."""
    there.sendall(said)
    there.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    there.close()


@asynccontextmanager
async def reset_by(said: bytes) -> AsyncIterator[Exchange]:
    """An exchange in the middle of an upload, whose upstream says this and resets before anybody can read it."""
    async with connected() as (_, exchange, there):
        exchange.send(b"POST / HTTP/1.1\r\nContent-Length: 9000000\r\n\r\n", "POST")
        await turns()
        reset_after(there, said)
        exchange.write(bytes(1000))
        yield exchange


async def test_what_an_upstream_said_before_a_write_failed_is_heard() -> None:
    async with reset_by(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig") as exchange:
        await exchange.answered()
        assert exchange.head is not None
        assert (exchange.head.status, exchange.whole) == (413, b"big")


async def test_half_of_it_is_a_body_that_was_cut() -> None:
    async with reset_by(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbi") as exchange:
        await exchange.answered()
        assert exchange.body is not None
        assert await exchange.body.read() == b"bi"
        assert exchange.body.failure is not None


async def test_who_says_nothing_before_is_reset() -> None:
    async with reset_by(b"HTTP/1.1 413 Too La") as exchange:
        with pytest.raises(UpstreamFailed, match="reset"):
            await exchange.answered()


async def test_what_came_before_a_request_is_no_answer_to_it() -> None:
    async with connected() as (pool, exchange, there):
        await used_once(exchange, there)
        assert pool.take() is exchange
        reset_after(there, TOO_LATE)
        exchange.send(b"GET / HTTP/1.1\r\n\r\n", "GET")
        with pytest.raises(UpstreamFailed) as failed:
            await exchange.answered()
        assert failed.value.reused


@pytest.mark.parametrize(
    "said", [OK, TOO_LATE, b"\r\n", b""], ids=["an answer", "its time is over", "noise", "the end"]
)
async def test_a_socket_on_which_something_came_that_nobody_has_read_yet_is_not_used_again(said: bytes) -> None:
    """A loop that is busy hears of it only after the next caller's request would have been sent."""
    async with connected() as (pool, exchange, there):
        await used_once(exchange, there)
        there.sendall(said)
        if said != OK:
            there.shutdown(socket.SHUT_WR)
        assert pool.take() is None
        assert (pool.idle, pool.active) == (0, 0)


@pytest.mark.parametrize(
    ("peer", "text"),
    [
        (("192.0.2.1", 80), "192.0.2.1:80"),
        (("2001:db8::1", 80, 0, 0), "[2001:db8::1]:80"),
        ("/run/api.sock", "/run/api.sock"),
        ("", ""),
        (None, ""),
    ],
)
def test_the_address_of_an_upstream_is_written_as_in_a_url(peer: object, text: str) -> None:
    assert peer_of(asyncio.BaseTransport(extra={"peername": peer})) == text
