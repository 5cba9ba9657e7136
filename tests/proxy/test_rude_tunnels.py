"""Tunnels whose sides do not read, end half, or vanish: what one side does is done to the other, and nothing is stored."""

import asyncio
import contextlib
from array import array
from fcntl import ioctl
from termios import TIOCOUTQ

import pytest

from gateway.settings import Bounds
from gateway.upstream import tunnel as joined
from gateway.upstream.exchange import Exchange
from gateway.wire.response_head import ResponseHead
from gateway.wire.sockets import reset
from tests.app.conftest import ONE_ROUTE, Running, Start
from tests.app.trying import Begin, after
from tests.app.trying import begin as begin
from tests.fakes.upstream import Received, Socket, Upstream
from tests.fakes.waiting import eventually, pause, turns

pytestmark = pytest.mark.usefixtures("nothing_escapes")

UPGRADE = b"GET /t HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n"
MIB = 2**20


Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def tunnel(gateway: Running, upstream: Upstream) -> tuple[Ends, Ends]:
    """The caller's end and the upstream's."""
    far: asyncio.Future[Ends] = asyncio.get_running_loop().create_future()

    async def switch(_request: Received, socket: Socket) -> None:
        await socket.send(SWITCH)
        far.set_result((socket.reader, socket.writer))
        await over.wait()

    over = asyncio.Event()
    upstream.script = switch
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port, limit=2**12)
    writer.write(UPGRADE)
    await reader.readuntil(b"\r\n\r\n")
    return (reader, writer), await far


async def flood(writer: asyncio.StreamWriter, most: int) -> int:
    """How many bytes are taken by an other side that does not read."""
    sent = 0
    with contextlib.suppress(TimeoutError):
        while sent < most:
            writer.write(bytes(MIB // 4))
            await asyncio.wait_for(writer.drain(), 0.3)
            sent += MIB // 4
    return sent


@pytest.mark.parametrize("side", ["caller", "upstream"])
async def test_a_side_that_does_not_read_stops_the_other(gateway: Running, upstream: Upstream, side: str) -> None:
    near, far = await tunnel(gateway, upstream)
    (_, writer), (reader, other) = (near, far) if side == "upstream" else (far, near)
    reader._transport.pause_reading()  # type: ignore[attr-defined]
    sent = await flood(writer, 64 * MIB)
    assert sent < 32 * MIB  # what kernels hold, not what we do
    writer.transport.abort()
    other.transport.abort()
    await gateway.records.wait(1)


@pytest.mark.parametrize("side", ["caller", "upstream"])
async def test_a_side_that_ends_may_still_receive(gateway: Running, upstream: Upstream, side: str) -> None:
    near, far = await tunnel(gateway, upstream)
    (reader, writer), (other_reader, other) = (near, far) if side == "caller" else (far, near)
    writer.write(b"last words")
    writer.write_eof()
    assert await other_reader.read() == b"last words"
    other.write(b"heard")
    other.write_eof()
    assert await reader.read() == b"heard"
    writer.close()
    other.close()
    [record] = await gateway.records.wait(1)
    assert {record.bytes_in, record.bytes_out} == {10, 5}


@pytest.mark.parametrize("side", ["caller", "upstream"])
async def test_a_side_that_resets_takes_the_other_along(gateway: Running, upstream: Upstream, side: str) -> None:
    near, far = await tunnel(gateway, upstream)
    (_, writer), (reader, other) = (near, far) if side == "caller" else (far, near)
    reset(writer.transport)  # type: ignore[arg-type]
    with contextlib.suppress(ConnectionError):
        assert await reader.read() == b""
    other.close()
    await gateway.records.wait(1)
    assert gateway.gateway.in_flight == 0
    await eventually(lambda: not gateway.listener.open_sockets)


async def test_an_upstream_that_has_gone_before_the_sockets_are_joined(
    begin: Begin, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its 101 answers a second attempt: such answers are passed on some turns of the loop after they came."""
    whole = Exchange._final

    def and_gone(exchange: Exchange, head: ResponseHead) -> None:
        whole(exchange, head)
        if head.upgrade:
            exchange.abort()

    monkeypatch.setattr(Exchange, "_final", and_gone)
    gateway = (await begin()).running
    upstream.script = after(1, SWITCH)
    with contextlib.suppress(ConnectionError):
        await gateway.raw(UPGRADE)
    [record] = await gateway.records.wait(1)
    assert (record.status, record.aborted_by, len(record.attempts or ())) == (101, "upstream", 2)
    await eventually(lambda: not gateway.listener.open_sockets)


@pytest.fixture
async def impatient(start: Start, upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> Running:
    """A gateway that looks after sockets all the time, and waits for nobody to read what was left."""
    monkeypatch.setattr(joined, "LOOK_S", 0.01)
    return await start(ONE_ROUTE % {"url": upstream.url}, bounds=Bounds(body_time_us=20_000))


@pytest.mark.parametrize("side", ["caller", "upstream"])
async def test_a_side_that_vanishes_while_the_other_does_not_read(
    impatient: Running, upstream: Upstream, side: str
) -> None:
    """Nothing is read from it then, so nothing is heard of it; and the other one never takes what is left."""
    near, far = await tunnel(impatient, upstream)
    (_, writer), (reader, other) = (near, far) if side == "caller" else (far, near)
    reader._transport.pause_reading()  # type: ignore[attr-defined]
    await flood(writer, 64 * MIB)
    reset(writer.transport)  # type: ignore[arg-type]
    [record] = await impatient.records.wait(1)
    assert (record.status, record.aborted_by, record.error_class) == (101, "client", "client_closed")
    assert record.error_detail
    await eventually(lambda: not impatient.listener.open_sockets)
    other.transport.abort()


@pytest.mark.parametrize("side", ["caller", "upstream"])
async def test_a_side_that_vanishes_when_it_has_said_all(impatient: Running, upstream: Upstream, side: str) -> None:
    near, far = await tunnel(impatient, upstream)
    (_, writer), (reader, other) = (near, far) if side == "caller" else (far, near)
    writer.write_eof()
    assert await reader.read() == b""
    reset(writer.transport)  # type: ignore[arg-type]
    [record] = await impatient.records.wait(1)
    assert (record.status, record.aborted_by) == (101, "")
    other.close()


async def test_who_reads_slowly_gets_all_that_was_left(impatient: Running, upstream: Upstream) -> None:
    (reader, writer), (_, far) = await tunnel(impatient, upstream)
    far.write(bytes(16 * MIB))
    far.close()
    size = 0
    while data := await reader.read(MIB // 4):
        size += len(data)
        await turns()
    assert size == 16 * MIB
    writer.close()
    [record] = await impatient.records.wait(1)
    assert (record.aborted_by, record.bytes_out) == ("", 16 * MIB)


async def test_what_came_before_a_reset_is_read_as_long_as_somebody_takes_it(
    gateway: Running, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that closes its socket with something unread in it resets it, behind its last words."""
    monkeypatch.setattr(joined, "LOOK_S", 0.1)
    (reader, writer), (_, far) = await tunnel(gateway, upstream)
    sock = far.get_extra_info("socket")
    far.write(bytes(64 * MIB))
    size, arrived = 0, 64 * MIB
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(MIB // 8):
            size += len(data)
            await pause(0.01, "who reads is slow, and reads all the time")
            if size > MIB and arrived == 64 * MIB:
                unsent = array("i", [0])
                ioctl(sock.fileno(), TIOCOUTQ, unsent)
                arrived -= far.transport.get_write_buffer_size() + unsent[0]
                reset(far.transport)  # type: ignore[arg-type]
    assert size >= arrived > MIB
    writer.close()
    await gateway.records.wait(1)


@pytest.mark.parametrize("stuck", [False, True])
async def test_a_drain_cuts_both_sides_and_says_so(gateway: Running, upstream: Upstream, stuck: bool) -> None:
    (_, writer), (reader, far) = await tunnel(gateway, upstream)
    if stuck:
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        await flood(writer, 64 * MIB)
    gateway.gateway.cut_at = gateway.gateway.clock()
    assert await gateway.listener.wait_closed(0) == 1
    [record] = gateway.records.all  # who has told it to end goes on at once
    assert (record.status, record.aborted_by, record.error_class) == (101, "gateway", "drained")
    for one in (writer, far):
        one.transport.abort()
