"""Upstream answers as raw bytes: passed on as they came, re-framed by us, or refused when they can be read two ways."""

import asyncio
import re
from dataclasses import replace
from email.utils import parsedate_to_datetime

import pytest

from gateway.settings import Bounds
from tests.app.conftest import ONE_ROUTE, Running, Start
from tests.fakes.upstream import Received, Script, Socket, Upstream, always
from tests.fakes.waiting import turns

GET = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
GET_CLOSE = b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
R = b"HTTP/1.1 200 OK\r\n"


def then_close(response: bytes) -> Script:
    """Send the bytes and close."""

    async def script(_request: Received, socket: Socket) -> None:
        await socket.send(response)

    return script


def split(answer: bytes) -> tuple[bytes, bytes]:
    """(head, body) of the last message in `answer`."""
    head, _, body = answer.partition(b"\r\n\r\n")
    return head + b"\r\n", body


PASSED_ON = [
    ("order, case, repeats", b"Content-Length: 0\r\nx-B: 2\r\nX-A: 1\r\nx-b: 3\r\n", b"x-B: 2\r\nX-A: 1\r\nx-b: 3\r\n"),
    (
        "cookies never folded",
        b"Content-Length: 0\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2, c\r\n",
        b"Set-Cookie: a=1\r\nSet-Cookie: b=2, c\r\n",
    ),
    ("latin-1", b"Content-Length: 0\r\nX: caf\xe9\r\n", b"X: caf\xe9\r\n"),
    ("content-encoding", b"Content-Length: 0\r\nContent-Encoding: gzip\r\n", b"Content-Encoding: gzip\r\n"),
    ("location", b"Content-Length: 0\r\nLocation: http://up/y\r\n", b"Location: http://up/y\r\n"),
    ("server and date", b"Content-Length: 0\r\nServer: s\r\nDate: d\r\n", b"Server: s\r\nDate: d\r\n"),
    ("retry-after", b"Content-Length: 0\r\nRetry-After: 120\r\n", b"Retry-After: 120\r\n"),
    (
        "odd values",
        b'Content-Length: 0\r\nX: a="b, c"; d\\e\r\nY: \xff\xfe\r\n',
        b'X: a="b, c"; d\\e\r\nY: \xff\xfe\r\n',
    ),
    (
        "cache fields",
        b'Content-Length: 0\r\nETag: W/"x"\r\nAge: 3\r\nVary: *\r\n',
        b'ETag: W/"x"\r\nAge: 3\r\nVary: *\r\n',
    ),
    ("via", b"Content-Length: 0\r\nVia: 1.1 up\r\n", b"Via: 1.1 up\r\n"),
]


@pytest.mark.parametrize(("lines", "expected"), [c[1:] for c in PASSED_ON], ids=[c[0] for c in PASSED_ON])
async def test_fields_pass_as_they_came(gateway: Running, upstream: Upstream, lines: bytes, expected: bytes) -> None:
    upstream.script = always(R + lines + b"\r\n")
    head, _ = split(await gateway.raw(GET_CLOSE))
    assert b"\r\n" + expected in head


@pytest.mark.parametrize("limits", [b"", b"X-RateLimit-Remaining: 3\r\n"])
async def test_what_the_upstream_calls_a_call_is_kept_beside_our_name_for_it(
    gateway: Running, upstream: Upstream, limits: bytes
) -> None:
    """SDKs and people quote it to its support; one that answers with the id that it was sent adds nothing."""

    async def answer(request: Received, _socket: Socket) -> bytes:
        name = b"req_up caf\xe9" if request.target == "/own" else request.fields("X-Request-Id")[0].encode()
        return R + b"%bX-Request-Id: %b\r\nContent-Length: 0\r\n\r\n" % (limits, name)

    upstream.script = answer
    own, _ = split(await gateway.raw(b"GET /own HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"))
    echoed, _ = split(await gateway.raw(GET_CLOSE))
    records = await gateway.records.wait(2)
    assert re.findall(rb"\r\nX-Upstream-Request-Id: (.*)\r\n", own) == [b"req_up caf\xe9"]
    assert b"Upstream" not in echoed
    for head, record in zip((own, echoed), records, strict=True):
        assert re.findall(rb"\r\nX-Request-Id: (.*)\r\n", head) == [record.request_id.encode()]
    assert [record.upstream_request_id for record in records] == ["req_up caf\udce9", ""]


async def test_nothing_is_invented(gateway: Running, upstream: Upstream) -> None:
    """Only the promised fields are added: no Server or Content-Type that the upstream did not send."""
    upstream.script = always(b"HTTP/1.1 203 Some Reason\r\nContent-Length: 0\r\n\r\n")
    head, _ = split(await gateway.raw(GET, until=b"\r\n\r\n"))
    lines = head.decode().splitlines()
    assert lines[0] == "HTTP/1.1 203 Some Reason"
    assert {line.partition(":")[0] for line in lines[1:]} == {
        "Content-Length", "Date", "RateLimit-Policy", "RateLimit", "X-RateLimit-Limit", "X-RateLimit-Remaining",
        "X-RateLimit-Reset", "X-Request-Id",
    }  # fmt: skip


@pytest.mark.parametrize("lines", [b"", b"RateLimit: 100;w=60\r\n"])
@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
async def test_who_passes_on_an_answer_without_a_date_says_when_it_came(
    gateway: Running, upstream: Upstream, lines: bytes, version: bytes
) -> None:
    """RFC 9110 §6.6.1. One that says when it was made, however, keeps that, also if nobody can read it."""
    asked = b"GET /x HTTP/%b\r\nHost: a\r\nConnection: close\r\n\r\n" % version
    upstream.script = always(R + lines + b"Content-Length: 0\r\n\r\n")
    [came] = re.findall(rb"\r\nDate: (.*)\r\n", await gateway.raw(asked))
    assert abs(parsedate_to_datetime(came.decode()).timestamp() - gateway.gateway.wall_clock()) < 60
    upstream.script = always(R + lines + b"date: long ago\r\nContent-Length: 0\r\n\r\n")
    assert re.findall(rb"(?i)\r\ndate: (.*)\r\n", await gateway.raw(asked)) == [b"long ago"]


@pytest.mark.parametrize(
    "line", [b"Keep-Alive: timeout=5", b"Connection: X-Own", b"Proxy-Authenticate: Basic", b"Upgrade: h2c"]
)
async def test_what_belongs_to_that_hop_is_removed(gateway: Running, upstream: Upstream, line: bytes) -> None:
    upstream.script = always(R + line + b"\r\nX-Own: 1\r\nContent-Length: 0\r\n\r\n")
    head, _ = split(await gateway.raw(GET, until=b"\r\n\r\n"))
    assert line not in head
    assert (b"X-Own" in head) is (line != b"Connection: X-Own")


BODIES = [
    ("length", R + b"Content-Length: 5\r\n\r\nhello", b"hello"),
    ("chunked", R + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", b"5\r\nhello\r\n0\r\n\r\n"),
    ("extension dropped", R + b"Transfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\n\r\n", b"5\r\nhello\r\n0\r\n\r\n"),
    ("trailers", R + b"Trailer: X\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX: y\r\n\r\n", b"1\r\na\r\n0\r\nX: y\r\n\r\n"),
    ("unsafe trailers", R + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nSet-Cookie: x\r\n\r\n", b"1\r\na\r\n0\r\n\r\n"),
    ("empty chunked", R + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"0\r\n\r\n"),
    ("binary", R + b"Content-Length: 4\r\n\r\n\x00\xff\r\n", b"\x00\xff\r\n"),
    ("gzip untouched", R + b"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\n\x1f\x8b\x00", b"\x1f\x8b\x00"),
    ("404", b"HTTP/1.1 404 Nope\r\nContent-Length: 2\r\n\r\nno", b"no"),
    ("204", b"HTTP/1.1 204 No Content\r\n\r\n", b""),
    ("304 with length", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", b""),
    ("zero", R + b"Content-Length: 0\r\n\r\n", b""),
]  # fmt: skip


@pytest.mark.parametrize(("response", "body"), [c[1:] for c in BODIES], ids=[c[0] for c in BODIES])
async def test_bodies_arrive_as_they_were_framed(
    gateway: Running, upstream: Upstream, response: bytes, body: bytes
) -> None:
    upstream.script = always(response)
    _, got = split(await gateway.raw(GET_CLOSE))
    assert got == body


@pytest.mark.parametrize(
    ("response", "line"),
    [
        (b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", b"Content-Length"),  # RFC 9110 §8.6
        (R + b"Trailer: X-Sum\r\nContent-Length: 2\r\n\r\nok", b"Trailer"),  # there can be none
    ],
    ids=["the length of nothing", "trailers without chunks"],
)
async def test_what_such_a_body_cannot_have_is_left_out(
    gateway: Running, upstream: Upstream, response: bytes, line: bytes
) -> None:
    upstream.script = always(response)
    assert line not in (await gateway.raw(GET_CLOSE)).partition(b"\r\n\r\n")[0]


async def test_every_piece_of_a_body_is_counted(gateway: Running, upstream: Upstream) -> None:
    go_on = [asyncio.Event() for _ in range(4)]

    async def script(_request: Received, socket: Socket) -> None:
        await socket.send(R + b"Content-Length: 20\r\n\r\n")
        for event in go_on:
            await socket.send(b"piece")
            await event.wait()

    upstream.script = script
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(GET_CLOSE)
    await reader.readuntil(b"\r\n\r\n")
    for event in go_on:
        assert await reader.readexactly(5) == b"piece"
        event.set()
    writer.close()
    assert (await gateway.records.wait(1))[0].bytes_out == 20


async def test_head_has_no_body_whatever_it_says(gateway: Running, upstream: Upstream) -> None:
    upstream.script = always(R + b"Content-Length: 500\r\n\r\n")
    head, body = split(await gateway.raw(b"HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"))
    assert b"\r\nContent-Length: 500\r\n" in head
    assert body == b""
    upstream.script = always(R + b"Transfer-Encoding: chunked\r\n\r\n")
    answer = await gateway.raw(b"HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert split(answer)[1] == b""


async def test_a_body_that_ends_with_the_socket_is_reframed(gateway: Running, upstream: Upstream) -> None:
    upstream.script = then_close(R + b"\r\nhello")
    _, body = split(await gateway.raw(GET, until=b"0\r\n\r\n"))
    assert body == b"5\r\nhello\r\n0\r\n\r\n"
    head, body = split(await gateway.raw(b"GET / HTTP/1.0\r\n\r\n"))
    assert b"Transfer-Encoding" not in head
    assert body == b"hello"


async def test_chunked_for_an_old_caller_ends_with_the_socket(gateway: Running, upstream: Upstream) -> None:
    upstream.script = always(R + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n")
    head, body = split(await gateway.raw(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"))
    assert b"Transfer-Encoding" not in head
    assert b"Connection: close" in head
    assert body == b"hello"


async def test_early_hints_pass_and_continue_does_not(gateway: Running, upstream: Upstream) -> None:
    upstream.script = always(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
        + R
        + b"Content-Length: 0\r\n\r\n"
    )
    answer = await gateway.raw(GET_CLOSE)
    assert answer.startswith(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n")
    answer = await gateway.raw(b"GET / HTTP/1.0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")


MALFORMED = [
    b"",
    b"\x00\x01\x02\r\n\r\n",
    b"SSH-2.0-x\r\n\r\n",
    b"HTTP/2.0 200 OK\r\n\r\n",
    b"HTTP/1.1 99 Low\r\nContent-Length: 0\r\n\r\n",
    R + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    R + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    R + b"Content-Length: +5\r\n\r\nhello",
    R + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    R + b"X: a\nContent-Length: 0\r\n\r\n",
    R + b"X : a\r\nContent-Length: 0\r\n\r\n",
    R + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    R + b"Content-Length\t: 2\r\n\r\nok",
    R + b"X: " + b"a" * 70_000 + b"\r\n\r\n",
    R + b"".join(b"X-%d: y\r\n" % n for n in range(300)) + b"\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\n\r\n" * 50 + R + b"Content-Length: 0\r\n\r\n",
]


@pytest.mark.parametrize("response", MALFORMED, ids=range(len(MALFORMED)))
async def test_an_answer_that_can_be_read_two_ways_is_not_passed_on(
    gateway: Running, upstream: Upstream, response: bytes
) -> None:
    upstream.script = then_close(response)
    answer = await gateway.raw(GET_CLOSE)
    assert b"HTTP/1.1 502 Bad Gateway\r\n" in answer
    assert b"application/problem+json" in answer


@pytest.mark.parametrize(
    "said",
    [
        b"\x15\x03\x01",
        b"220 ready\r\n",
        b"HTTP/2 200\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        R + b"X: y\r\r\n",
    ],
)
async def test_what_cannot_become_an_answer_is_not_waited_for(
    gateway: Running, upstream: Upstream, said: bytes
) -> None:
    async def script(_request: Received, socket: Socket) -> None:
        await socket.send(said)
        await asyncio.Event().wait()

    upstream.script = script
    assert (await gateway.raw(GET_CLOSE)).startswith(b"HTTP/1.1 502 ")


async def test_the_size_of_an_answers_head_is_a_setting(start: Start, upstream: Upstream) -> None:
    gateway = await start(ONE_ROUTE % {"url": upstream.url}, bounds=replace(Bounds(), response_header_bytes=500))
    upstream.script = always(R + b"X: " + b"a" * 400 + b"\r\nContent-Length: 0\r\n\r\n")
    assert (await gateway.raw(GET_CLOSE)).startswith(b"HTTP/1.1 200 ")
    upstream.script = always(R + b"X: " + b"a" * 500 + b"\r\nContent-Length: 0\r\n\r\n")
    assert (await gateway.raw(GET_CLOSE)).startswith(b"HTTP/1.1 502 ")


CUT = [
    R + b"Content-Length: 10\r\n\r\nhello",
    R + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    R + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhelloX\r\n0\r\n\r\n",
    R + b"Transfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n",
]


@pytest.mark.parametrize("response", CUT, ids=range(len(CUT)))
async def test_a_body_that_breaks_off_is_never_made_to_look_complete(
    gateway: Running, upstream: Upstream, response: bytes
) -> None:
    async def script(_request: Received, socket: Socket) -> None:
        await socket.send(response[:60])
        await turns()
        await socket.send(response[60:])

    upstream.script = script
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(GET_CLOSE)
    try:
        answer = await reader.read()
    except ConnectionResetError:
        answer = b""
    writer.close()
    assert not answer.endswith(b"0\r\n\r\n")
    assert len(answer.partition(b"\r\n\r\n")[2]) < 10 or b"chunked" in answer or b"502" in answer
    [record] = await gateway.records.wait(1)
    assert record.aborted_by == "upstream" or record.status == 502


async def test_bytes_on_an_idle_socket_never_reach_a_caller(gateway: Running, upstream: Upstream) -> None:
    """An answer nobody asked for must not be taken for the next caller's."""
    evil = R + b"Content-Length: 4\r\n\r\nevil"
    sockets: list[Socket] = []

    async def script(_request: Received, socket: Socket) -> bytes:
        sockets.append(socket)
        return R + b"Content-Length: 2\r\n\r\nok"

    upstream.script = script
    await gateway.raw(GET, until=b"ok")
    await sockets[0].send(evil)
    await upstream.until(lambda: upstream.open_sockets == 0)
    for _ in range(3):
        assert (await gateway.raw(GET, until=b"ok")).endswith(b"ok")
    assert upstream.accepted == 2


async def test_more_than_one_answer_ends_the_socket(gateway: Running, upstream: Upstream) -> None:
    upstream.script = always((R + b"Content-Length: 2\r\n\r\nok") * 2)
    for _ in range(3):
        assert (await gateway.raw(GET_CLOSE)).endswith(b"ok")
    assert upstream.accepted == 3
