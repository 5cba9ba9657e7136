"""Upgraded calls: a tunnel, byte for byte, counted and logged once at its end."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import Server, ServerConnection, serve

from gateway.settings import HeaderSettings
from tests.app.conftest import ONE_ROUTE, Running, Start
from tests.fakes.upstream import Received, Socket, Upstream, always

SLOTS = (
    ONE_ROUTE.replace("limits:\n", "limits:\n  slots: {algorithm: concurrency, limit: 1, lease: 60s, key: [tenant]}\n", 1)
    .replace("limits: [tenant-10m]", "limits: [tenant-10m, slots]")
)  # fmt: skip


@pytest.fixture
async def echo() -> AsyncIterator[Server]:
    """A real WebSocket server that sends everything back."""

    async def back(socket: ServerConnection) -> None:
        async for message in socket:
            await socket.send(message)

    async with serve(back, "127.0.0.1", 0, max_size=None, subprotocols=["chat"]) as server:
        yield server


def port(server: Server) -> int:
    return next(iter(server.sockets)).getsockname()[1]


async def test_websocket_frames_of_any_size(start: Start, echo: Server) -> None:
    gateway = await start(ONE_ROUTE % {"url": f"http://127.0.0.1:{port(echo)}"})
    uri = f"ws://127.0.0.1:{gateway.port}/ws?x=1"
    async with connect(uri, subprotocols=["chat"], compression="deflate", max_size=None) as socket:
        assert socket.subprotocol == "chat"
        for message in ("hello", "", "x" * 3_000_000, b"\x00\xff" * 70_000):
            await socket.send(message)
            assert await socket.recv() == message
    [record] = await gateway.records.wait(1)
    assert (record.status, record.method, record.response_source) == (101, "GET", "upstream")
    assert record.bytes_out > 3_000
    assert gateway.listener.open_sockets == 0


SWITCH = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"
SWITCHED = (
    b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: x\r\nX-Request-Id: theirs\r\n"
    b'RateLimit: "tenant-10m";r=1;t=4\r\nX-RateLimit-Remaining: 3\r\nX-RateLimit-Reset: 9\r\n\r\nend'
)


async def test_a_switch_is_asked_for_by_connection(gateway: Running, upstream: Upstream) -> None:
    """RFC 9110 §7.8; `Proxy-Connection` says nothing here."""
    asked = SWITCH.replace(b"Connection: Upgrade", b"Proxy-Connection: Upgrade\r\nConnection: X")
    await gateway.raw(asked, until=b"ok")
    assert upstream.received[0].fields("Upgrade") == upstream.received[0].fields("Connection") == []


async def test_the_head_of_a_switch_has_what_every_answer_has(start: Start, upstream: Upstream) -> None:
    """Each field once, and both sides' limits in one list that can be read."""
    headers = HeaderSettings(proxy_status="always", server_timing=True)
    gateway = await start(ONE_ROUTE % {"url": upstream.url}, headers=headers)

    async def switch(_request: Received, socket: Socket) -> None:
        await socket.send(SWITCHED)
        socket.writer.close()

    upstream.script = switch
    head = (await gateway.raw(SWITCH, until=b"end")).decode()
    [record] = await gateway.records.wait(1)
    lines = head.partition("\r\n\r\n")[0].split("\r\n")[1:]
    told = [line for line in lines if not line.startswith("Server-Timing: gw;dur=")]
    assert len(lines) == len(told) + 1
    assert sorted(told) == [
        "Connection: Upgrade",
        "Proxy-Status: gw-test; received-status=101",
        'RateLimit-Policy: "tenant-10m";q=500;w=600',
        'RateLimit: "tenant-10m";r=499;t=600',
        'RateLimit: "up-tenant-10m";r=1;t=4',
        "Upgrade: x",
        "X-RateLimit-Remaining: 3",
        "X-RateLimit-Reset: 9",
        f"X-Request-Id: {record.request_id}",
        "X-Upstream-Request-Id: theirs",
    ]
    assert (record.upstream_limit_remaining, record.upstream_limit_reset_s) == (1, 4)


async def test_a_tunnel_holds_its_slot_until_it_ends(start: Start, echo: Server) -> None:
    gateway = await start(SLOTS % {"url": f"http://127.0.0.1:{port(echo)}"})
    ask = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    async with connect(f"ws://127.0.0.1:{gateway.port}/", subprotocols=["chat"]):
        answer = await gateway.raw(ask)
        assert answer.startswith(b"HTTP/1.1 429 ")
        assert b"CONCURRENCY_LIMIT_EXCEEDED" in answer
    await gateway.records.wait(2)
    async with connect(f"ws://127.0.0.1:{gateway.port}/", subprotocols=["chat"]):
        pass


async def test_any_protocol_and_early_bytes(gateway: Running, upstream: Upstream) -> None:
    """What either side sends right behind its head is not lost."""

    async def script(request: Received, socket: Socket) -> None:
        fields = b"Connection: Upgrade\r\nContent-Length: 5\r\nUpgrade: raw\r\n"  # a length means nothing here: RFC 9110 §8.6
        await socket.send(b"HTTP/1.1 101 Switching\r\n" + fields + b"\r\nearly-up")
        while data := await socket.reader.read(100):
            await socket.send(data.upper())

    upstream.script = script
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\nearly-down")
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: raw\r\n")
    assert await reader.readexactly(18) == b"early-upEARLY-DOWN"
    writer.write_eof()
    assert await reader.read() == b""
    writer.close()
    [record] = await gateway.records.wait(1)
    assert (record.bytes_in, record.bytes_out) == (10, 18)


async def test_an_upgrade_that_is_declined_is_an_answer_like_any_other(gateway: Running, upstream: Upstream) -> None:
    ask = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    answer = await gateway.raw(ask + b"GET /next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert answer.count(b"HTTP/1.1 200 OK") == 2
    assert upstream.received[0].fields("Upgrade") == ["websocket"]
    assert [request.target for request in upstream.received] == ["/", "/next"]


async def test_an_upgrade_with_a_body_is_not_an_upgrade(gateway: Running, upstream: Upstream) -> None:
    ask = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 2\r\n\r\nab"
    await gateway.raw(ask, until=b"ok")
    assert upstream.received[0].fields("Upgrade") == []


async def test_an_upgrade_that_is_required_is_named(gateway: Running, upstream: Upstream) -> None:
    """A 426 without `Upgrade` would be none (RFC 9110 §15.5.22)."""
    fields = b"Upgrade: websocket\r\nConnection: Upgrade, X-Hop\r\nX-Hop: 1\r\nSec-WebSocket-Version: 13\r\n"
    upstream.script = always(b"HTTP/1.1 426 Upgrade Required\r\n" + fields + b"Content-Length: 0\r\n\r\n")
    answer = await gateway.raw(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", until=b"\r\n\r\n")
    lines = answer.split(b"\r\n")
    assert {b"Upgrade: websocket", b"Connection: Upgrade", b"Sec-WebSocket-Version: 13"} <= {*lines}
    assert b"X-Hop" not in answer
