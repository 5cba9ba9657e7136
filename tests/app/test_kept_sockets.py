"""Sockets to upstreams that are kept and used again, and what happens when one was closed meanwhile."""

import pytest

from tests.app.conftest import Running
from tests.app.forwarding import GET, status_of
from tests.fakes.upstream import OK, Received, Socket, Upstream, always

POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"


async def test_sockets_are_kept_and_used_again(gateway: Running, upstream: Upstream) -> None:
    for _ in range(5):
        await gateway.raw(GET, until=b"ok")
    assert upstream.accepted == 1


@pytest.mark.parametrize(
    ("says", "accepted"), [(b"timeout=0", 2), (b"max=99, Timeout=00", 2), (b"timeout=5, max=99", 1), (b"max=0", 1)]
)
async def test_a_socket_that_the_upstream_is_about_to_close_is_not_used_again(
    gateway: Running, upstream: Upstream, says: bytes, accepted: int
) -> None:
    """A POST that crosses the close on its way would be lost: who calls every five seconds meets Node's close each time."""
    upstream.script = always(OK.replace(b"\r\n\r\n", b"\r\nKeep-Alive: %b\r\n\r\n" % says, 1))
    for _ in range(2):
        await gateway.raw(POST, until=b"ok")
    assert upstream.accepted == accepted


async def close_after_answer(_request: Received, socket: Socket) -> None:
    """Answers, and closes the socket only when the next request has arrived on it: the keep-alive race."""
    await socket.send(OK)
    await socket.reader.readuntil(b"\r\n\r\n")
    socket.reset()


async def test_the_keep_alive_race_is_tried_again_once(gateway: Running, upstream: Upstream) -> None:
    upstream.script = close_after_answer
    await gateway.raw(GET, until=b"ok")
    answer = await gateway.raw(GET, until=b"ok")
    assert status_of(answer) == 200
    records = await gateway.records.wait(2)
    assert records[1].attempts is not None
    assert [attempt.get("error_class") for attempt in records[1].attempts] == ["reset", None]
    assert upstream.accepted == 2


async def test_a_post_is_never_sent_twice(gateway: Running, upstream: Upstream) -> None:
    upstream.script = close_after_answer
    await gateway.raw(GET, until=b"ok")
    answer = await gateway.raw(POST, until=b"}")
    assert status_of(answer) == 502
    assert upstream.accepted == 1


async def test_a_fresh_socket_that_fails_is_not_tried_again(gateway: Running, upstream: Upstream) -> None:
    async def reset(_request: Received, socket: Socket) -> None:
        socket.reset()

    upstream.script = reset
    assert status_of(await gateway.raw(GET, until=b"}")) == 502
    assert len(upstream.received) == 1


async def test_a_request_with_trailers_gets_a_socket_of_its_own(gateway: Running, upstream: Upstream) -> None:
    post = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-T: 1\r\n\r\n"
    await gateway.raw(post, until=b"ok")
    await gateway.raw(GET, until=b"ok")
    assert [request.connection for request in upstream.received] == [0, 1]
    assert upstream.received[0].body.endswith(b"0\r\nX-T: 1\r\n\r\n")
