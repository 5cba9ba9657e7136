"""Upstreams that answer early, never read, speak unasked, or come byte by byte, on real sockets."""

import asyncio

import pytest

from gateway.wire.sockets import reset
from tests.app.conftest import ONE_ROUTE, Running, Start
from tests.fakes.upstream import OK, Received, Socket, Upstream, answer_ok
from tests.fakes.waiting import turns

pytestmark = pytest.mark.usefixtures("nothing_escapes")

GET = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"
MIB = 2**20
WITH_TIMEOUTS = ONE_ROUTE.replace('{url: "%(url)s"}', '{url: "%(url)s", timeouts: {%(timeouts)s}}')


async def whole_answer(reader: asyncio.StreamReader) -> bytes:
    """A head and the body its length declares."""
    head = await reader.readuntil(b"\r\n\r\n")
    return head + await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split(b"\r")[0]))


async def send_all(writer: asyncio.StreamWriter, size: int) -> None:
    """Until it is sent or the gateway has closed."""
    try:
        for _ in range(size // 2**16):
            writer.write(bytes(2**16))
            await writer.drain()
    except ConnectionError:
        return


@pytest.mark.parametrize("way", ["and closes", "and resets", "and reads on", "and never reads"])
async def test_an_answer_in_the_middle_of_an_upload(gateway: Running, upstream: Upstream, way: str) -> None:
    """The caller gets it whole, whatever becomes of the rest of its body, and the next call has a socket of its own."""
    refusal = b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n%b\r\nbig"
    over = asyncio.Event()

    async def early(_request: Received, socket: Socket) -> bytes | None:
        await socket.send(refusal % (b"" if way == "and reads on" else b"Connection: close\r\n"))
        if way == "and resets":
            await over.wait()
            socket.reset()
        elif way == "and reads on":
            await socket.reader.readexactly(8 * MIB)
            return None
        elif way == "and never reads":
            await over.wait()
        return None

    upstream.script, upstream.read_body = early, False
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(POST % (8 * MIB))
    sending = asyncio.create_task(send_all(writer, 8 * MIB))
    answer = await whole_answer(reader)
    assert answer.startswith(b"HTTP/1.1 413 Too Large\r\n")
    assert answer.endswith(b"\r\n\r\nbig")
    over.set()
    await sending
    writer.close()
    await gateway.records.wait(1)
    upstream.script, upstream.read_body = answer_ok, True
    assert (await gateway.raw(GET, until=b"ok")).startswith(b"HTTP/1.1 200 ")
    assert [request.connection for request in upstream.received] == [0, 1]


async def test_a_refusal_that_arrives_with_a_reset(gateway: Running, upstream: Upstream) -> None:
    """Closing with unread input resets: what the upstream said before is heard all the same."""

    async def rude(_request: Received, socket: Socket) -> None:
        await socket.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
        socket.reset()

    upstream.script, upstream.read_body = rude, False
    for _ in range(10):
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(POST % (4 * MIB))
        sending = asyncio.create_task(send_all(writer, 4 * MIB))
        assert (await whole_answer(reader))[9:12] == b"413"
        await sending
        writer.close()


async def test_an_upstream_that_never_reads(start: Start, upstream: Upstream) -> None:
    """It has its idle time, then the caller is told."""

    async def never(_request: Received, socket: Socket) -> None:
        socket.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await upstream.until(lambda: False)

    upstream.script, upstream.read_body = never, False
    gateway = await start(WITH_TIMEOUTS % {"url": upstream.url, "timeouts": "idle: 300ms"})
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(POST % (64 * MIB))
    sending = asyncio.create_task(send_all(writer, 64 * MIB))
    assert (await whole_answer(reader)).startswith(b"HTTP/1.1 504 ")
    await sending
    writer.close()
    [record] = await gateway.records.wait(1)
    assert (record.status, record.error_class) == (504, "timeout")
    assert gateway.gateway.upstreams.pools()["up"].active == 0


@pytest.mark.parametrize(
    "unasked",
    [
        b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison",
        b"H",
        b"\r\n",
        b"\x15\x03\x01\x00\x02\x01\x00",
    ],
    ids=["a 408", "an answer", "one byte", "an empty line", "a TLS alert"],
)
@pytest.mark.parametrize("then_close", [False, True])
async def test_bytes_on_an_idle_socket(gateway: Running, upstream: Upstream, unasked: bytes, then_close: bool) -> None:
    """Whatever they are, nobody gets them, and no request is sent behind them."""

    async def speaks(_request: Received, socket: Socket) -> None:
        await socket.send(OK)
        while not upstream_may_speak.is_set():
            await upstream_may_speak.wait()
        await socket.send(unasked)
        if not then_close:
            await socket.reader.read()

    upstream_may_speak = asyncio.Event()
    upstream.script = speaks
    await gateway.raw(GET, until=b"ok")
    upstream_may_speak.set()
    await upstream.until(lambda: upstream.open_sockets == 0)
    upstream.script = answer_ok
    answers = [await gateway.raw(GET, until=b"ok") for _ in range(3)]
    assert all(answer.startswith(b"HTTP/1.1 200 OK\r\n") and answer.endswith(b"\r\n\r\nok") for answer in answers)
    assert [request.connection for request in upstream.received] == [0, 1, 1, 1]


HELLO = b"HTTP/1.1 200 OK\r\n%b\r\n\r\n%b"


@pytest.mark.parametrize(
    ("answer", "end"),
    [
        (HELLO % (b"Content-Length: 11", b"hello world"), b"\r\n\r\nhello world"),
        (
            b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
            + HELLO % (b"Transfer-Encoding: chunked", b"5;x=y\r\nhello\r\n6\r\n world\r\n0\r\nX-T: 1\r\n\r\n"),
            b"0\r\nX-T: 1\r\n\r\n",
        ),
    ],
    ids=["sized", "interim and chunked"],
)
async def test_an_answer_byte_by_byte(gateway: Running, upstream: Upstream, answer: bytes, end: bytes) -> None:
    """It comes out whole, once, and the socket is used again."""

    async def slowly(_request: Received, socket: Socket) -> bytes | None:
        if len(upstream.received) > 1:
            return OK
        for number in range(len(answer) - 1):
            await socket.send(answer[number : number + 1])
            await turns()
        return answer[-1:]

    upstream.script = slowly
    got = await gateway.raw(GET, until=end)
    assert got.count(b"HTTP/1.1 200 OK\r\n") == 1
    assert got.startswith(b"HTTP/1.1 103 " if b"103" in answer else b"HTTP/1.1 200 ")
    payload = got.partition(b" 200 OK\r\n")[2].partition(b"\r\n\r\n")[2].partition(b"\r\n0\r\n")[0]
    assert bytes(byte for byte in payload if byte in b"helo wrd") == b"hello world"  # without what frames the chunks
    assert (await gateway.raw(GET, until=b"ok")).startswith(b"HTTP/1.1 200 ")
    assert upstream.accepted == 1


@pytest.mark.parametrize("where", ["before the head", "inside the head", "behind the head", "inside the body"])
async def test_a_reset_of_the_upstream(gateway: Running, upstream: Upstream, where: str) -> None:
    """Never a whole answer that is none; never a second request."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
    sent = {
        "before the head": b"",
        "inside the head": answer[:20],
        "behind the head": answer,
        "inside the body": answer + bytes(500),
    }[where]

    async def breaks(_request: Received, socket: Socket) -> None:
        if sent:
            await socket.send(sent)
        reset(socket.writer.transport)  # type: ignore[arg-type]

    upstream.script = breaks
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    try:
        got = await reader.read()
    except ConnectionResetError:
        got = b""
    writer.close()
    assert got.count(b"HTTP/1.1 ") <= 1
    if not got.startswith(b"HTTP/1.1 502 "):
        assert got.partition(b"\r\n\r\n")[2].count(b"\0") < 1000
    assert len(upstream.received) == 1
    [record] = await gateway.records.wait(1)
    assert record.error_class == "reset"
