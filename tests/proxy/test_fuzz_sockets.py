"""Mutated requests on kept-alive sockets: whoever asked gets the answer to that, or a visible error.

Every message carries a token of its own, so that a byte that reaches the wrong caller is noticed. The upstream reads
with h11: what the gateway sends has to be exactly one strict request after the other.
"""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import count

import h11

from gateway.settings import Bounds
from tests.app.conftest import ONE_ROUTE, Running, Start
from tests.fakes.serving import serving
from tests.proxy.mutations import Mutator

TOKEN = re.compile(rb"token[a-p]{8}")
LANES = 16
HANGS_AFTER_S = 50
BODY_BYTES = 4096
ROUTE = ONE_ROUTE.replace("limit: 500", "limit: 1000000")
REQUESTS = (
    b"GET /TOKEN/1?a=b HTTP/1.1\r\nHost: a.example\r\nX-Token: TOKEN\r\n\r\n",
    b"POST /TOKEN/1 HTTP/1.1\r\nHost: a\r\nContent-Length: 13\r\n\r\nTOKEN",
    b"PUT /TOKEN/1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nD\r\nTOKEN\r\n3;x=y\r\nabc\r\n0\r\nT: 1\r\n\r\n",
    b"GET http://a/TOKEN/1 HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\n\r\n",
    b"POST /TOKEN/1 HTTP/1.1\r\nHost: a\r\nContent-Length: 52\r\n\r\nGET /TOKEN/hidden HTTP/1.1\r\nHost: a\r\nX: yyy\r\n\r\n",
    b"PATCH /TOKEN/1 HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
)
BEFORE = b"POST /TOKEN/0 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
BEHIND = b"GET /TOKEN/2 HTTP/1.1\r\nHost: a\r\n\r\n"
NONSENSE = (b"\0" * 60 + b"\r\n\r\n") * (3 * BODY_BYTES // 64)
"""Ends whatever the mutation has left open: longer than any body may be, and neither a chunk nor a head."""


def new_token(number: int) -> bytes:
    """Letters only, so that no mutation of a length makes one token another."""
    return b"token" + bytes(b"abcdefghijklmnop"[int(digit, 16)] for digit in f"{number:08x}")


@dataclass
class StrictUpstream:
    """Reads with h11. `answer` gives the bytes for a request and whether the socket closes behind them."""

    answer: Callable[[h11.Request], tuple[list[bytes], bool]]
    port: int = 0
    targets: list[bytes] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        async with serving(self._serve) as self.port:
            yield

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        waiting = b""
        while True:
            parser = h11.Connection(h11.SERVER)
            if waiting:  # no bytes at all would mean the end
                parser.receive_data(waiting)
            try:
                request = await next_request(parser, reader)
            except h11.RemoteProtocolError as error:
                self.wrong.append(f"{error}: {parser.trailing_data[0]!r}")
                return
            if request is None:
                return
            self.targets.append(request.target)
            pieces, closes = self.answer(request)
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
            if closes:
                return
            waiting = parser.trailing_data[0]


async def next_request(parser: h11.Connection, reader: asyncio.StreamReader) -> h11.Request | None:
    """The next whole request; None when there is none."""
    request = None
    while True:
        event = parser.next_event()
        if event is h11.NEED_DATA:
            data = await reader.read(65536)
            if not data:
                return None  # in the middle too: the caller may have left
            parser.receive_data(data)
        elif isinstance(event, h11.Request):
            request = event
        elif isinstance(event, h11.EndOfMessage):
            return request


async def in_lanes(messages: int, talk: Callable[[], Awaitable[None]]) -> None:
    """So many conversations, LANES at a time. Fails when they hang."""

    async def lane() -> None:
        for _ in range(messages // LANES):
            await talk()

    async with asyncio.timeout(HANGS_AFTER_S):
        await asyncio.gather(*(lane() for _ in range(LANES)))


async def test_requests(start: Start) -> None:
    upstream = StrictUpstream(echo)
    mutator, numbers = Mutator(1, REQUESTS), count()
    statuses: set[int] = set()
    async with upstream.listening():
        gateway = await start(
            ROUTE % {"url": f"http://127.0.0.1:{upstream.port}"}, bounds=replace(Bounds(), body_bytes=BODY_BYTES)
        )

        async def talk() -> None:
            token = new_token(next(numbers))
            sent = b"".join((BEFORE, next(mutator.messages(1)), BEHIND)).replace(b"TOKEN", token) + NONSENSE
            answers = answers_in(await say(gateway, mutator.split(sent)))
            statuses.update(status for status, _ in answers)
            check_order(token, sent, answers)

        await in_lanes(1600, talk)
    assert upstream.wrong == []
    assert statuses >= {200, 400, 413}


def echo(request: h11.Request) -> tuple[list[bytes], bool]:
    """Says what was asked for."""
    return [b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(request.target), request.target)], False


async def say(gateway: Running, pieces: list[bytes]) -> bytes:
    """All that comes back until the gateway closes, as it has to."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    for piece in pieces:
        writer.write(piece)
    got = b""
    with contextlib.suppress(ConnectionError):
        while more := await reader.read(65536):
            got += more
    writer.close()
    return got


def answers_in(got: bytes) -> list[tuple[int, bytes]]:
    """(status, body) of each answer; nothing else may be there."""
    answers = []
    while got:
        parser = h11.Connection(h11.CLIENT)
        parser.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
        parser.send(h11.EndOfMessage())
        parser.receive_data(got)
        status, body = read_answer(parser)
        answers.append((status, body))
        got = parser.trailing_data[0]
    return answers


def read_answer(parser: h11.Connection) -> tuple[int, bytes]:
    status, body = 0, b""
    while not isinstance(event := parser.next_event(), h11.EndOfMessage):
        assert event is not h11.NEED_DATA, "an answer that is not whole"
        if isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
    return status, body


def check_order(token: bytes, sent: bytes, answers: list[tuple[int, bytes]]) -> None:
    """What came before the mutation is answered first, what came behind it last, and all of it was asked for here."""
    assert answers[0] == (200, b"/%b/0" % token)
    bodies = [body for status, body in answers if status == 200]
    assert all(body in sent for body in bodies)
    assert all(found == token for body in bodies for found in TOKEN.findall(body) if body.startswith(b"/token"))
    assert b"/%b/2" % token not in bodies[:-1]
    assert all(status == 200 for status, _ in answers[:-1])
