"""Mutated messages for the parsers: they refuse in one way only, and what they accept means the same to `h11`.

h11 is an independent parser in plain Python. What it refuses and we accept is listed in `WE_ACCEPT`, each with its
reason; anything else fails.
"""

import asyncio
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import h11
import pytest

from gateway.core.http.framing import BadFraming, ChunkedBody, CloseDelimited, Decoder, LengthBody
from gateway.wire.head import BadHead
from gateway.wire.request_head import RequestHead, RequestHeadParser
from gateway.wire.response_head import ResponseHead, ResponseHeadParser
from tests.proxy.mutations import Mutator

REQUESTS = (
    b"GET /a/b?c=d HTTP/1.1\r\nHost: a.example\r\nAccept: */*\r\n\r\n",
    b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\nhello worldGET /next HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n",
    b"PUT /a;v=1 HTTP/1.1\r\nhost: a:80\r\nTransfer-Encoding: chunked\r\nTrailer: T\r\n\r\n1\r\nx\r\n0\r\nT: 1\r\n\r\nrest",
    b"DELETE //a/../b HTTP/1.1\r\nHost: [::1]:8080\r\nX-Empty:\r\nX-Two: a\r\nX-Two: b\r\n\r\n",
    b"BREW /pot HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\n\r\n",
    b"GET /old HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    b"GET http://a.example/x?y HTTP/1.1\r\nHost: a.example\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
    b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n",
    b"POST /a HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
)
RESPONSES = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nT: 1\r\nU: 2\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    b"HTTP/1.1 404 Not Found\r\nServer: x\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.0 200 OK\r\nDate: now\r\n\r\nuntil the socket closes",
    b"HTTP/1.1 204 No Content\r\nX: y\r\n\r\n",
    b'HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nETag: "x"\r\n\r\n',
    b"HTTP/1.1 503 \r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno",
)
BODY_HEAD = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNKED_BODIES = (
    b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n",
    b"1;a=b\r\nx\r\n00\r\nT: 1\r\nU:\r\n\r\nGET / HTTP/1.1\r\n",
    b'a\r\n0\r\n\r\n12345\r\n1A \t;q="z"\r\nabcdefghijklmnopqrstuvwxyz\r\n0;end\r\n\r\n',
    b"0\r\n\r\n",
)
MESSAGES_A_SEED = 25_000
WE_ACCEPT = {
    r"body of .*: illegal chunk header: .*[ t];": "blanks before a chunk extension have to be removed (RFC 9112 §7.1.1)",
    r"body of .*: .*(Transfer-Encoding|Content-Length)": "framing fields among trailers mean nothing and are not forwarded",
    r"head of (204|304): .*Transfer-Encoding": "these end with their head, whatever it says (RFC 9112 §6.3)",
    r"head of [0-9]{3}: illegal header line: .*\\x0[bc]": "blanks of old in an answer's value stay there (RFC 9110 §5.5)",
}
"""What h11 says of which part, and why we differ."""


@dataclass
class Read:
    """What a parser made of the first message in some bytes."""

    start: tuple[Any, ...]  # method and target, or status
    framing: str
    body: bytes
    complete: bool
    rest: bytes  # behind the message, once that is complete


Reads = Callable[[bytes], Read | None]


def framing_of(decoder: Decoder) -> str:
    kinds: dict[type, str] = {ChunkedBody: "chunked", LengthBody: "length", CloseDelimited: "close"}
    return kinds.get(type(decoder), "none")


def through(decoder: Decoder, pieces: list[bytes]) -> tuple[bytes, bytes]:
    """Payload, and what lies behind it."""
    payload, rest = b"", b""
    for piece in pieces:
        if decoder.done:
            rest += piece
        else:
            found, rest = decoder.feed(piece)
            payload += b"".join(found)
    return payload, rest


def read_message(data: bytes, parse: Callable[[bytes], RequestHead | ResponseHead], mutator: Mutator) -> Read | None:
    """As a connection does it; None when there is no whole head. Raises BadHead or BadFraming."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = parse(data[: end + 4])
    start = (head.status,) if isinstance(head, ResponseHead) else (head.method, head.target)
    framing = framing_of(head.body)
    payload, rest = through(head.body, mutator.split(data[end + 4 :]))
    return Read(start, framing, payload, head.body.done or framing == "close", rest if head.body.done else b"")


def after_a_get() -> h11.Connection:
    """h11 as a client that has asked."""
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
    connection.send(h11.EndOfMessage())
    return connection


def h11_reads(connection: h11.Connection, data: bytes) -> Read | None:
    """The same by h11. Raises h11.RemoteProtocolError."""
    connection.receive_data(data)
    head = connection.next_event()
    if not isinstance(head, (h11.Request, h11.Response, h11.InformationalResponse)):
        return None
    start = (
        (head.method.decode(), origin_form(head.target.decode()))
        if isinstance(head, h11.Request)
        else (head.status_code,)
    )
    body, complete = bytearray(), isinstance(head, h11.InformationalResponse)
    while not isinstance(head, h11.InformationalResponse):
        event = connection.next_event()
        if not isinstance(event, h11.Data):
            complete = isinstance(event, h11.EndOfMessage)
            break
        body += event.data
    framing = h11_framing(head)
    rest = connection.trailing_data[0] if complete else b""
    return Read(start, framing, bytes(body), complete or framing == "close", rest)


def h11_framing(head: Any) -> str:
    fields = dict(head.headers)
    if not isinstance(head, h11.Request) and (head.status_code < 200 or head.status_code in (204, 304)):
        return "none"
    if b"transfer-encoding" in fields:
        return "chunked"
    length = fields.get(b"content-length")
    if length is not None:
        return "length" if int(length) else "none"
    return "none" if isinstance(head, h11.Request) else "close"


def origin_form(target: str) -> str:
    """The same by regular expression: what is left of an absolute-form without scheme and authority."""
    match = re.fullmatch(r"(?i:https?)://[^/?]*(.*)", target)
    return target if match is None else match[1] if match[1].startswith("/") else "/" + match[1]


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """The C parser wants one; it never runs."""
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


def compare(messages: Iterable[bytes], ours: Reads, theirs: Reads) -> None:
    """Fails at the first message that we accept and h11 reads differently, or refuses for a reason not listed."""
    accepted = refused = 0
    for data in messages:
        try:
            read = ours(data)
        except (BadHead, BadFraming):
            refused += 1
            continue
        if read is None or not read.complete:
            continue  # what is wrong with it may be noticed later
        accepted += 1
        try:
            expected = theirs(data)
        except h11.RemoteProtocolError as error:
            said = f"{where_wrong(data, theirs)} of {read.start[0]}: {error}"
            assert any(re.match(kind, said) for kind in WE_ACCEPT), f"{said}\n{data!r}"
        else:
            assert read == expected, data
    assert min(accepted, refused) > MESSAGES_A_SEED // 20, "the mutations are too mild or too wild to prove anything"


def where_wrong(data: bytes, theirs: Reads) -> str:
    """Which part of a message h11 refuses."""
    try:
        theirs(data[: data.index(b"\r\n\r\n") + 4])
    except h11.RemoteProtocolError:
        return "head"
    return "body"


@pytest.mark.parametrize("seed", range(6))
def test_requests(loop: asyncio.AbstractEventLoop, seed: int) -> None:
    parser, mutator = RequestHeadParser(loop), Mutator(seed, REQUESTS)
    compare(
        mutator.messages(MESSAGES_A_SEED),
        lambda data: read_message(data, parser.parse, mutator),
        lambda data: h11_reads(h11.Connection(h11.SERVER), data),
    )


@pytest.mark.parametrize("seed", range(6))
def test_responses(loop: asyncio.AbstractEventLoop, seed: int) -> None:
    parser, mutator = ResponseHeadParser(loop), Mutator(seed, RESPONSES)
    compare(
        mutator.messages(MESSAGES_A_SEED),
        lambda data: read_message(data, lambda head: parser.parse(head, "GET"), mutator),
        lambda data: h11_reads(after_a_get(), data),
    )


@pytest.mark.parametrize("seed", range(3))
def test_chunked_bodies(seed: int) -> None:
    mutator = Mutator(seed, CHUNKED_BODIES)

    def ours(data: bytes) -> Read:
        body = ChunkedBody()
        payload, rest = through(body, mutator.split(data[len(BODY_HEAD) :]))
        return Read(("POST", "/"), "chunked", payload, body.done, rest)

    messages = (BODY_HEAD + message for message in mutator.messages(MESSAGES_A_SEED))
    compare(messages, ours, lambda data: h11_reads(h11.Connection(h11.SERVER), data))
