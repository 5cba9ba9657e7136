"""Mutated answers from a real upstream socket: each caller gets its own answer, whole or visibly cut, and the next caller
too, on whatever socket was kept. Nothing hangs, nothing crashes (the fixture insists on both)."""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count

from tests.app.conftest import ONE_ROUTE, Running, Start
from tests.fakes.serving import serving
from tests.fakes.waiting import eventually
from tests.proxy.mutations import Mutator
from tests.proxy.test_fuzz_sockets import TOKEN, new_token

LANES = 16
ROUNDS = 125  # of each lane on each of the two loops: 4,000 mutated answers, and a good one behind each
SILENCE_S = 0.05  # how long the upstream waits for a request behind a bad answer: it may never have been finished
HANGS_AFTER_S = 60
ANSWERS = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-Token: TOKEN\r\nContent-Length: 13\r\n\r\nTOKEN",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nd\r\nTOKEN\r\n5;x=y\r\nhello\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: T\r\n\r\nD\r\nTOKEN\r\n0\r\nT: TOKEN\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"d\r\nTOKEN\r\n" * 9 + b"0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 117\r\n\r\n" + b"TOKEN" * 9,
    b"HTTP/1.1 103 Early Hints\r\nLink: <TOKEN>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\nTOKEN",
    b"HTTP/1.1 404 Not Found\r\nSet-Cookie: a=TOKEN\r\nSet-Cookie: b=2\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.0 200 OK\r\nX-Token: TOKEN\r\n\r\nTOKEN until the socket closes",
    b"HTTP/1.1 204 No Content\r\nX-Token: TOKEN\r\n\r\n",
    b'HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nETag: "TOKEN"\r\n\r\n',
    b"HTTP/1.1 503 TOKEN\r\nRetry-After: 1\r\nConnection: close, X-Token\r\nX-Token: 1\r\nContent-Length: 2\r\n\r\nno",
    b'HTTP/1.1 200 OK\r\nRateLimit: "a";r=1;t=1\r\nX-RateLimit-Remaining: 1\r\nContent-Length: 13\r\n\r\nTOKEN',
)
METHODS = (b"GET", b"GET", b"HEAD", b"POST", b"PUT")
REPEATABLE = METHODS[:3]  # may be sent again when the upstream has just closed the socket that was kept


@dataclass
class Liar:
    """An upstream that answers `/bad/…` with what it was told to, all at once, and `/good/…` as it should."""

    answers: dict[bytes, bytes] = field(default_factory=dict)
    port: int = 0
    sockets: int = 0
    requests: int = 0

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        async with serving(self._serve) as self.port:
            yield

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.sockets += 1
        patience_s = None
        while True:
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), patience_s)
            self.requests += 1
            await reader.readexactly(content_length(head))
            writer.write(self._answer(head))
            patience_s = SILENCE_S if head.split(b" ", 2)[1].startswith(b"/bad/") else None

    def _answer(self, head: bytes) -> bytes:
        _, kind, token = head.split(b" ", 2)[1].split(b"/")
        return self.answers[token] if kind == b"bad" else good_answer(head.split(b" ", 1)[0], token)


def good_answer(method: bytes, token: bytes) -> bytes:
    body = b"" if method == b"HEAD" else b"good " + token
    return b"HTTP/1.1 200 OK\r\nX-Token: %b\r\nContent-Length: %d\r\n\r\n%b" % (token, 5 + len(token), body)


def content_length(head: bytes) -> int:
    found = re.search(rb"(?i)\r\ncontent-length:[ \t]*(\d+)", head)
    return int(found[1]) if found else 0


@dataclass
class Caller:
    """One caller, on a kept-alive socket for as long as the gateway keeps it."""

    gateway: Running
    streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, method: bytes, target: bytes) -> tuple[int, bytes, bytes | None]:
        """(status, everything of the answer, its body; None when it was cut)."""
        reader, writer = self.streams = self.streams or await asyncio.open_connection("127.0.0.1", self.gateway.port)
        body = b"hello" if method in (b"POST", b"PUT") else b""
        length = b"Content-Length: %d\r\n" % len(body) if body else b""
        writer.write(b"%b %b HTTP/1.1\r\nHost: a\r\n%b\r\n%b" % (method, target, length, body))
        everything, status = b"", 100
        while status < 200:
            head = await reader.readuntil(b"\r\n\r\n")
            status = int(head.split(b" ", 2)[1])
            everything += head
        found = b"" if method == b"HEAD" or status in (204, 304) else await read_body(reader, head)
        if found is None or b"\r\nconnection: close\r\n" in head.lower():
            assert await reader.read() == b""
            self.leave()
        return status, everything + (found or b""), found

    def leave(self) -> None:
        if self.streams is not None:
            self.streams[1].close()
            self.streams = None


async def read_body(reader: asyncio.StreamReader, head: bytes) -> bytes | None:
    """A body by its framing, which is ours and so in one form; None when the socket closes before its end."""
    lower = head.lower()
    try:
        if b"\r\ntransfer-encoding: chunked\r\n" in lower:
            assert b"\r\ncontent-length:" not in lower
            return await read_chunks(reader)
        assert lower.count(b"\r\ncontent-length:") == 1
        return await reader.readexactly(content_length(head))
    except asyncio.IncompleteReadError:
        return None


async def read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        body += await reader.readexactly(size)
        assert await reader.readexactly(2) == b"\r\n"
    while await reader.readuntil(b"\r\n") != b"\r\n":
        pass
    return body


async def test_answers(start: Start) -> None:
    upstream, mutator, numbers = Liar(), Mutator(7, ANSWERS), count()
    outcomes: Counter[int | str] = Counter()
    problems: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: problems.append(context))
    async with upstream.listening():
        gateway = await start(
            ONE_ROUTE.replace("limit: 500", "limit: 1000000") % {"url": f"http://127.0.0.1:{upstream.port}"}
        )

        async def lane() -> None:
            caller = Caller(gateway)
            for _ in range(ROUNDS):
                await hear(caller, upstream, mutator, numbers, outcomes)
            caller.leave()

        async with asyncio.timeout(HANGS_AFTER_S):
            await asyncio.gather(*(lane() for _ in range(LANES)))
        await eventually(lambda: not gateway.listener.open_sockets and not gateway.gateway.in_flight)
    assert problems == []
    assert min(outcomes[200], outcomes[502], outcomes["cut"]) > 20, outcomes
    assert upstream.sockets < upstream.requests * 0.8  # sockets were kept wherever that was safe


async def hear(
    caller: Caller, upstream: Liar, mutator: Mutator, numbers: "count[int]", outcomes: Counter[int | str]
) -> None:
    """A mutated answer, which may be anything but another caller's; then a good one, exactly."""
    token = new_token(next(numbers))
    upstream.answers[token] = next(mutator.messages(1)).replace(b"TOKEN", token)
    status, everything, body = await caller.ask(METHODS[mutator.below(len(METHODS))], b"/bad/" + token)
    outcomes[status if body is not None else "cut"] += 1
    assert set(TOKEN.findall(everything)) <= {token}
    token = new_token(next(numbers))
    method = REPEATABLE[mutator.below(len(REPEATABLE))]
    status, everything, body = await caller.ask(method, b"/good/" + token)
    assert (status, body) == (200, b"" if method == b"HEAD" else b"good " + token)
    assert set(TOKEN.findall(everything)) == {token}
