"""A drain cuts nobody who had connected: not who waits to be accepted, nor who has not sent its request yet."""

import asyncio
import contextlib
import socket

from gateway.listener.door import AT_ONCE
from tests.app.conftest import Running
from tests.fakes.upstream import Upstream, always
from tests.fakes.waiting import eventually

GET = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"


async def ask(sock: socket.socket) -> bytes:
    reader, writer = await asyncio.open_connection(sock=sock)
    writer.write(GET)
    answer = await reader.read()
    writer.close()
    return answer


async def test_who_waits_in_the_queue_is_served(gateway: Running) -> None:
    """The kernel has accepted them already; we have not: this test keeps the loop from running."""
    waiting = [socket.create_connection(("127.0.0.1", gateway.port)) for _ in range(2 * AT_ONCE)]
    gateway.listener.stop_accepting()
    for sock in waiting:
        sock.setblocking(False)
    answers = await asyncio.gather(*map(ask, waiting))
    assert all(answer.startswith(b"HTTP/1.1 200 OK\r\n") and b"Connection: close" in answer for answer in answers)


async def test_a_new_socket_may_still_send_its_request(gateway: Running) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    await eventually(lambda: gateway.listener.open_sockets)
    gateway.listener.stop_accepting()
    writer.write(GET)
    assert (await reader.read()).startswith(b"HTTP/1.1 200 OK\r\n")
    writer.close()


async def test_a_kept_socket_may_send_one_more_request(gateway: Running) -> None:
    """Who writes on it in the moment in which it is closed would see its call cut."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(GET)
    await reader.readuntil(b"ok")
    gateway.listener.stop_accepting()
    writer.write(GET)
    answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Connection: close" in answer
    writer.close()


async def test_kept_sockets_do_not_hold_up_the_end(gateway: Running) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(GET)
    await reader.readuntil(b"ok")
    gateway.listener.stop_accepting()
    assert await gateway.listener.wait_closed(30) == 0
    assert await reader.read() == b""
    writer.close()


async def test_a_socket_that_says_nothing_does_not_hold_up_the_end(gateway: Running) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    await eventually(lambda: gateway.listener.open_sockets)
    gateway.listener.stop_accepting()
    assert await gateway.listener.wait_closed(30) == 0
    with contextlib.suppress(ConnectionError):
        assert await reader.read() == b""
    writer.close()


async def test_who_asks_ahead_gets_the_last_answer_whole(gateway: Running, upstream: Upstream) -> None:
    """Closed before what was sent ahead is read, its socket would be reset, and what is on its way of the answer lost."""
    size = 256 * 1024
    upstream.script = always(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (size, bytes(size)))
    gateway.listener.retire()
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    sock.connect(("127.0.0.1", gateway.port))
    reader, writer = await asyncio.open_connection(sock=sock, limit=1024)
    writer.write(GET * 10_000)
    await gateway.records.wait(1)
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    assert b"Connection: close" in head
    assert len(body) == size
    assert len(upstream.received) == 1


async def test_answers_announce_the_drain(gateway: Running) -> None:
    gateway.listener.retire()
    answer = await gateway.raw(GET)
    assert b"Connection: close" in answer
