"""Callers that pipeline by the thousand, send byte by byte, upload what nobody wants, or hang up: on real sockets."""

import asyncio
import contextlib
import socket

import pytest

from gateway.wire.sockets import reset
from tests.app.conftest import ONE_ROUTE, Running, Start
from tests.fakes.upstream import Received, Socket, Upstream
from tests.fakes.waiting import eventually, turns

pytestmark = pytest.mark.usefixtures("nothing_escapes")

MIB = 2**20
GET = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
LAST = b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


async def name_it(request: Received, _socket: Socket) -> bytes:
    """An answer that tells which request it belongs to."""
    said = f"<{request.method} {request.target} {request.body.decode()!r}>".encode()
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(said), said)


def requests(count: int) -> list[tuple[bytes, bytes]]:
    """Of all framings: (what is sent, how `name_it` answers it)."""
    made = []
    for number in range(count):
        kind = number % 3
        if kind == 0:
            made.append((b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number, f"<GET /{number} ''>".encode()))
        elif kind == 1:
            sent = b"POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello" % number
            made.append((sent, f"<POST /{number} 'hello'>".encode()))
        else:
            sent = (
                b"PUT /%d HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2;a\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"
            )
            made.append((sent % number, f"<PUT /{number} ".encode()))
    return made


async def say(gateway: Running, segments: list[bytes]) -> bytes:
    """Everything that comes back until the gateway closes; each segment is sent by itself."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    answer = asyncio.create_task(reader.read())
    for segment in segments:
        writer.write(segment)
        await writer.drain()
        await turns()
    got = await answer
    writer.close()
    return got


@pytest.mark.parametrize("how", ["at once", "one by one", "byte by byte"])
async def test_pipelined_requests_of_all_framings(start: Start, upstream: Upstream, how: str) -> None:
    """Each is answered, in order, once."""
    gateway = await start((ONE_ROUTE % {"url": upstream.url}).replace("limit: 500", "limit: 100000"))
    upstream.script = name_it
    asked = requests(1000 if how != "byte by byte" else 30)
    sent = [request for request, _ in asked] + [LAST]
    if how != "one by one":
        whole = b"".join(sent)
        sent = [whole] if how == "at once" else [whole[at : at + 1] for at in range(len(whole))]
    got = await say(gateway, sent)
    at = 0
    for _, answer in [*asked, (b"", b"<GET /last ''>")]:
        at = got.index(answer, at) + len(answer)
    assert got.count(b"HTTP/1.1 200 OK\r\n") == len(asked) + 1 == len(upstream.received)


async def test_a_hundred_uploads_that_are_refused(start: Start, upstream: Upstream) -> None:
    """Every caller reads its 429 although it sends on; the upstream hears of none; nothing is held afterwards."""
    gateway = await start((ONE_ROUTE % {"url": upstream.url}).replace("limit: 500", "limit: 1"))
    await gateway.raw(GET, until=b"ok")

    async def one(number: int) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        framing = b"Content-Length: %d" % MIB if number % 2 else b"Transfer-Encoding: chunked"
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\n%b\r\n\r\n" % framing)
        with contextlib.suppress(ConnectionError):
            for _ in range(16):
                writer.write(bytes(MIB // 16) if number % 2 else b"10000\r\n%b\r\n" % bytes(MIB // 16))
                await writer.drain()
        answer = await reader.readuntil(b"}")
        writer.close()
        return answer

    for answer in await asyncio.gather(*map(one, range(100))):
        assert answer.startswith(b"HTTP/1.1 429 ")
        assert b"\r\nRetry-After: " in answer
    assert len(upstream.received) == 1
    assert gateway.gateway.in_flight == 0
    await eventually(lambda: not gateway.listener.open_sockets)


@pytest.mark.parametrize("how", ["FIN", "RST"])
@pytest.mark.parametrize(
    "said",
    [b"", b"GE", b"GET / HTTP/1.1\r\nHost: a\r\n", GET, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc"],
    ids=["nothing", "half a word", "half a head", "a request", "half a body"],
)
async def test_hanging_up_before_we_have_looked(gateway: Running, upstream: Upstream, said: bytes, how: str) -> None:
    """All of it waits in the kernel already when the loop comes to it. A half-closed caller counts as gone."""
    socks = [socket.create_connection(("127.0.0.1", gateway.port)) for _ in range(20)]
    for sock in socks:
        sock.sendall(said)
        if how == "FIN":
            sock.shutdown(socket.SHUT_WR)
        else:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            sock.close()
    assert (await gateway.raw(GET, until=b"ok")).startswith(b"HTTP/1.1 200 ")  # who came after them
    await eventually(lambda: not gateway.listener.open_sockets and not gateway.gateway.in_flight)
    for sock in socks:
        sock.close()
    await upstream.until(lambda: upstream.open_sockets <= 1)


async def test_a_caller_that_resets_while_it_is_answered(gateway: Running, upstream: Upstream) -> None:
    async def a_lot(_request: Received, socket: Socket) -> None:
        await socket.send(b"HTTP/1.1 200 OK\r\nContent-Length: 67108864\r\n\r\n")
        while True:
            await socket.send(bytes(2**16))

    upstream.script = a_lot
    for _ in range(20):
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(GET * 3)
        await reader.readexactly(100_000)
        reset(writer.transport)  # type: ignore[arg-type]
    await upstream.until(lambda: upstream.open_sockets == 0)
    await eventually(lambda: not gateway.listener.open_sockets)
    assert [(record.status, record.aborted_by) for record in gateway.records.all] == [(200, "client")] * 20


async def test_what_follows_the_last_request_is_not_one(gateway: Running, upstream: Upstream) -> None:
    """`Connection: close` means it (RFC 9112 §9.6)."""
    got = await say(gateway, [LAST + GET * 100])
    assert got.count(b"HTTP/1.1 ") == 1
    assert len(upstream.received) == 1
