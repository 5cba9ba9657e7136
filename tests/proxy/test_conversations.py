"""Mutated conversations through the whole gateway: nothing hangs, crashes, crosses over, or is forwarded ambiguously.

What is forwarded is read by h11, which is strict and not ours. The seeds are fixed, so a failure can be had again.
"""

import asyncio
import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import h11
import pytest

from tests.app.conftest import ONE_ROUTE, Running, Start
from tests.fakes.upstream import Upstream
from tests.fakes.waiting import eventually
from tests.proxy.in_memory import NearEnd, Proxy, digest
from tests.proxy.mutations import Mutator

HEADS = [
    b"GET /a/b?c=d HTTP/1.1\r\nHost: a\r\nAccept: */*\r\nCookie: x=y; z=w\r\n\r\n",
    b"POST /p HTTP/1.1\r\nHost: a:8080\r\nContent-Length: 5\r\nContent-Type: text/plain\r\n\r\n",
    b"PUT /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n",
    b"GET http://a/x HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, X-Y\r\nX-Y: 1\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    b"HEAD / HTTP/1.0\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n",
    b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    b"PATCH /x HTTP/1.1\r\nHost: [::1]:80\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
]
CHUNKED = b"5\r\nhello\r\n3;x=y\r\nabc\r\n0\r\nX: y\r\n\r\n"
REQUESTS = [
    HEADS[0], HEADS[1] + b"hello", HEADS[2] + CHUNKED, HEADS[3], HEADS[4], HEADS[5], HEADS[7] + b"hello",
    HEADS[1] + b"hello" + HEADS[0], HEADS[2] + CHUNKED + HEADS[1] + b"hello", HEADS[0] * 3,
]  # fmt: skip
R = b"HTTP/1.1 200 OK\r\n"
ANSWERS = [
    R + b"Content-Length: 5\r\nContent-Type: text/plain\r\n\r\nhello",
    R + b"Transfer-Encoding: chunked\r\nTrailer: X\r\n\r\n" + CHUNKED,
    R + b"Server: x\r\n\r\nuntil the end",
    b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + R + b"Content-Length: 2\r\nSet-Cookie: a=b\r\n\r\nok",
    b"HTTP/1.1 204 No Content\r\nX: y\r\n\r\n",
    b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nETag: \"x\"\r\n\r\n",
    b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nX-RateLimit-Remaining: 5\r\nRateLimit: \"a\";r=1;t=2\r\n\r\n",
]  # fmt: skip


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


def seen_by_h11(data: bytes) -> h11.Request | None:
    """The one request that an independent parser sees in a head."""
    parser = h11.Connection(h11.SERVER)
    parser.receive_data(data)
    event = parser.next_event()
    return event if isinstance(event, h11.Request) else None


def answers_in(near: NearEnd, methods: list[bytes]) -> list[tuple[int, bytes, bool]]:
    """(status, body, complete) of every final answer that h11 sees in what the caller got; nothing may be left over."""
    parser = h11.Connection(h11.CLIENT)
    # Control characters inside values pass as they came (RFC 9110 §5.5 allows it); h11 would refuse these two.
    parser.receive_data(near.written.translate(bytes.maketrans(b"\x0b\x0c", b"  ")))
    parser.receive_data(b"")
    answers: list[tuple[int, bytes, bool]] = []
    for method in [*methods, b"GET"]:
        if parser.our_state is not h11.IDLE:
            break
        parser.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
        parser.send(h11.EndOfMessage())
        answer = _one_answer(parser, near)
        if answer is None:
            break
        answers.append(answer)
        if parser.our_state is h11.DONE and parser.their_state is h11.DONE:
            parser.start_next_cycle()
    assert not parser.trailing_data[0], bytes(near.written)
    return answers


def _one_answer(parser: h11.Connection, near: NearEnd) -> tuple[int, bytes, bool] | None:
    status, body = 0, b""
    while True:
        try:
            event = parser.next_event()
        except h11.RemoteProtocolError as error:
            if "ConnectionClosed" not in str(error) and "peer" not in str(error):
                raise AssertionError(bytes(near.written)) from error
            return (status, body, False) if status else None
        if isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            return status, body, True
        elif isinstance(event, h11.ConnectionClosed) or event in (h11.NEED_DATA, h11.PAUSED):
            return (status, body, False) if status else None


def run(loop: asyncio.AbstractEventLoop, folder: Path, seed: int, count: int, corpus: list[bytes], kind: str) -> Proxy:
    async def all_of_it() -> Proxy:
        proxy = Proxy(folder)
        mutator = Mutator(seed, corpus)
        for _ in range(count // 20):
            await asyncio.gather(*(kinds[kind](proxy, mutator) for _ in range(20)))
            assert proxy.crashes == []
            assert proxy.gateway.in_flight == 0
            assert proxy.listener.open_sockets == 0
        proxy.close()
        return proxy

    kinds = {"requests": talk, "answers": hear}
    problems: list[object] = []
    loop.set_exception_handler(lambda _loop, context: problems.append(context))
    proxy = loop.run_until_complete(asyncio.wait_for(all_of_it(), 50))
    assert problems == []
    return proxy


async def talk(proxy: Proxy, mutator: Mutator) -> None:
    """One mutated conversation: every answer names a request that this caller made, in order."""
    before = len(proxy.far.requests)
    near = await proxy.say(mutator.split(next(mutator.messages(1))))
    forwarded = {digest(request) for request in proxy.far.requests[before:]}
    for status, body in answers_to_any_method(bytes(near.written)):
        assert status >= 400 or not body or body in forwarded


def answers_to_any_method(written: bytes) -> list[tuple[int, bytes]]:
    """(status, body) of each answer; one to a HEAD is known by the bytes behind it, which are no body."""
    answers = []
    while written:
        head, separator, rest = written.partition(b"\r\n\r\n")
        assert separator
        assert head.startswith(b"HTTP/1.1 "), head
        status = int(head[9:12])
        length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
        size = int(length[1]) if length and status >= 200 else 0
        if size and (rest.startswith(b"HTTP/1.1 ") or not rest):  # the answer to a HEAD
            size = 0
        answers.append((status, rest[:size]))
        written = rest[size:]
    return answers


@pytest.mark.parametrize("seed", range(2))
def test_conversations(loop: asyncio.AbstractEventLoop, tmp_path: Path, seed: int) -> None:
    """Every byte that reaches the upstream belongs to exactly one well-framed request (`FarEnd` insists on it)."""
    proxy = run(loop, tmp_path, seed, 6_000, REQUESTS, "requests")
    assert len(proxy.far.requests) > 1_800
    assert len(proxy.records) > 5_400


ASK = b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n"
NEXT = b"GET /next-%d HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


async def hear(proxy: Proxy, mutator: Mutator) -> None:
    """A mutated answer, then another caller's good one on whatever socket the pool has kept."""
    number = len(proxy.far.scripts)
    proxy.far.scripts[b"/%d" % number] = mutator.split(next(mutator.messages(1)))
    first = answers_in(await proxy.say([ASK % number]), [b"GET"])
    assert len(first) <= 1
    after = await proxy.say([NEXT % number])
    [request] = [r for r in proxy.far.requests[-40:] if r.startswith(b"GET /next-%d " % number)]
    assert [(status, body) for status, body, _ in answers_in(after, [b"GET"])] == [(200, digest(request))]


@pytest.mark.parametrize("seed", range(2))
def test_answers(loop: asyncio.AbstractEventLoop, tmp_path: Path, seed: int) -> None:
    """The caller sees at most one answer, whole or visibly cut, and the next caller sees its own."""
    run(loop, tmp_path, seed, 3_000, ANSWERS, "answers")


async def test_over_real_sockets(start: Start, upstream: Upstream) -> None:
    """The same over the real thing: no traceback (the fixture insists), no answer without its request, no slot kept."""
    gateway = await start(ONE_ROUTE.replace("limit: 500", "limit: 1000000") % {"url": upstream.url})
    mutator = Mutator(99, REQUESTS)
    for _ in range(12):
        await asyncio.gather(*(conversation(gateway, mutator.split(next(mutator.messages(1)))) for _ in range(100)))
    await eventually(lambda: not gateway.listener.open_sockets and not gateway.gateway.in_flight)
    assert (await gateway.raw(HEADS[0], until=b"ok")).startswith(b"HTTP/1.1 200 OK\r\n")
    for request in upstream.received:
        assert seen_by_h11(request.head) is not None


async def conversation(gateway: Running, segments: list[bytes]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    with contextlib.suppress(ConnectionError):
        for segment in segments:
            writer.write(segment)
            await writer.drain()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.15):
                while await reader.read(65536):
                    pass
    writer.close()
