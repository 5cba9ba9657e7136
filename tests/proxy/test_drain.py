"""A drain cuts nobody who had connected: not who waits to be accepted, nor who has not sent its request yet."""

import asyncio
import contextlib
import socket

from gateway.ending import Ending
from gateway.listener.connection import Connection
from gateway.listener.door import AT_ONCE
from tests.app.conftest import ONE_ROUTE, Running, Start
from tests.fakes.upstream import Received, Socket, Upstream, always
from tests.fakes.waiting import eventually
from tests.proxy.test_slow_callers import Trickle

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


async def test_so_may_who_was_promised_it_by_an_answer_under_way(gateway: Running, upstream: Upstream) -> None:
    """Its head said nothing of an end, and is gone: who believes it sends the next request right behind the body."""
    go_on = asyncio.Event()

    async def slow(_got: Received, socket: Socket) -> None:
        await socket.send(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf")
        await go_on.wait()
        await socket.send(b"done")

    upstream.script = slow
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(GET)
    assert b"Connection: close" not in await reader.readuntil(b"half")
    ending = Ending()
    ending.retire()
    drained = asyncio.create_task(ending.drain(gateway.gateway, gateway.listener))
    await eventually(lambda: not gateway.listener.accepting)
    upstream.script = always(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    go_on.set()
    await reader.readuntil(b"done")
    writer.write(GET)
    answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Connection: close" in answer
    assert await drained == 0
    writer.close()


async def test_who_waits_for_another_attempt_beyond_its_end_has_the_last_answer(
    start: Start, upstream: Upstream
) -> None:
    """Not at once only if the drain has begun before: the call was reset at the end of the grace, its answer with it."""
    upstream.script = always(b"HTTP/1.1 503 Down\r\nContent-Length: 4\r\n\r\ndown")
    retries = "retries:\n  slow: {attempts: 2, backoff: {schedule: [1h]}}\nroutes:"
    text = ONE_ROUTE.replace("routes:", retries).replace("upstream: up,", "upstream: up, retry: slow,")
    running = await start(text % {"url": upstream.url})
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
    writer.write(GET)
    pool = running.gateway.upstreams.pools()["up"]
    await eventually(lambda: pool.idle)
    ending = Ending()
    ending.retire()
    drained = asyncio.create_task(ending.drain(running.gateway, running.listener))
    answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 503 Down\r\n")
    assert answer.endswith(b"\r\n\r\ndown")
    assert await drained == 0
    (record,) = running.records.all
    assert (record.aborted_by, record.error_class, len(upstream.received)) == ("", "server_error", 1)
    writer.close()


async def test_who_has_no_turn_before_its_end_is_answered(start: Start, upstream: Upstream) -> None:
    """What the upstream has not heard of costs nothing; who was sent before gets the answer that it had: all of them
    were reset at the end of the grace, and charged."""
    upstream.script = always(b"HTTP/1.1 503 Down\r\nContent-Length: 4\r\n\r\ndown")
    paced = '{url: "%(url)s", pace: {rate: 1, per: 1h, max_wait: 2h}}'
    retries = "retries:\n  soon: {attempts: 2, backoff: {schedule: [1ms]}}\nroutes:"
    text = ONE_ROUTE.replace('{url: "%(url)s"}', paced).replace("routes:", retries)
    text = text.replace("upstream: up,", "upstream: up, retry: soon,")
    running = await start(text % {"url": upstream.url})
    waiting = [await asyncio.open_connection("127.0.0.1", running.port)]
    waiting[0][1].write(GET)
    await eventually(lambda: _in_line(running) == 1)
    waiting.append(await asyncio.open_connection("127.0.0.1", running.port))
    waiting[1][1].write(GET)
    await eventually(lambda: _in_line(running) == 2)
    running.listener.stop_accepting()
    running.gateway.waits.cut(0)
    sent, unsent = [await reader.read() for reader, _ in waiting]
    assert sent.startswith(b"HTTP/1.1 503 Down\r\n")
    assert b'"code":"UPSTREAM_BUSY"' in unsent
    assert b"\r\nRetry-After: 3600\r\n" in unsent
    costs = {record.error_class: record.costs for record in running.records.all}
    assert costs == {"server_error": None, "busy": {"tenant-10m": 0}}
    for _, writer in waiting:
        writer.close()
    assert len(upstream.received) == 1


def _in_line(running: Running) -> int:
    return sum(line.waiting for line in running.gateway.pacing._lines.values())


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


async def test_who_takes_its_answers_slowly_has_its_time_in_a_drain_too(start: Start, upstream: Upstream) -> None:
    """Its call is over, but what it was answered waits here: that socket is not idle."""
    gateway = await start((ONE_ROUTE % {"url": upstream.url}).replace("limit: 500", "limit: 1"))
    connection = Connection(gateway.listener, asyncio.get_running_loop())
    near = Trickle(connection)
    connection.connection_made(near)
    connection.data_received(GET * 2_000)
    await eventually(lambda: connection.write_paused)
    until_s = connection.deadline
    gateway.listener.stop_accepting()
    assert connection.deadline == until_s
    near.close()
    await eventually(lambda: connection.transport is None)


async def test_answers_announce_the_drain(gateway: Running) -> None:
    gateway.listener.retire()
    answer = await gateway.raw(GET)
    assert b"Connection: close" in answer
