"""What runs out on our side: places for one caller's sockets, and file descriptors."""

import asyncio
import contextlib
import json
import os
import resource
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.listener.connection import Connection
from gateway.settings import Bounds
from tests.app.conftest import ONE_ROUTE, Running, Start
from tests.fakes.upstream import OK, Received, Socket, Upstream
from tests.proxy.memory_socket import MemoryTransport

GET = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
SPARE = 40


def come(gateway: Running, address: str) -> tuple[Connection, MemoryTransport]:
    """A caller from any address; the machine that runs the tests has only few of them."""
    connection = Connection(gateway.listener, asyncio.get_running_loop())
    transport = MemoryTransport()
    transport._extra["peername"] = (address, 1234, 0, 0) if ":" in address else (address, 1234)  # type: ignore[attr-defined]
    connection.connection_made(transport)
    return connection, transport


@pytest.mark.parametrize(
    ("addresses", "refused"),
    [
        (["2001:db8::1", "2001:db8::2", "2001:db8::ffff:ffff:ffff:ffff"], True),
        (["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"], False),
        (["192.0.2.1", "192.0.2.1", "192.0.2.1"], True),
        (["192.0.2.1", "192.0.2.1", "192.0.2.2"], False),
        (["192.0.2.1", "::ffff:192.0.2.1", "::ffff:192.0.2.1"], True),
        (["::ffff:192.0.2.1", "::ffff:192.0.2.1", "::ffff:192.0.2.2"], False),
        (["fe80::1%eth0", "fe80::2%eth0", "fe80::3%eth0"], True),
    ],
)
async def test_what_counts_as_one_address(
    start: Start, upstream: Upstream, addresses: list[str], refused: bool
) -> None:
    gateway = await start(ONE_ROUTE % {"url": upstream.url}, bounds=replace(Bounds(), sockets_per_ip=2))
    callers = [come(gateway, address) for address in addresses]
    assert [transport.closed for _, transport in callers] == [False, False, refused]
    for connection, _ in callers:
        connection.connection_lost(None)
    again, transport = come(gateway, addresses[-1])
    assert not transport.closed
    again.connection_lost(None)


@contextlib.contextmanager
def no_descriptors_left() -> Iterator[None]:
    """Not one more file can be opened in this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken: list[int] = []
    highest = max(int(entry.name) for entry in Path("/proc/self/fd").iterdir())
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + SPARE, hard))
    try:
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.dup(0))
        yield
    finally:
        for number in taken:
            os.close(number)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_no_descriptor_for_a_socket_to_the_upstream(gateway: Running, upstream: Upstream) -> None:
    """That says nothing of the upstream: the caller is told to come again, and the next call is as good as ever."""

    async def once(_request: Received, socket: Socket) -> None:
        await socket.send(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))

    upstream.script = once
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(GET)
    await reader.readuntil(b"ok")
    await upstream.until(lambda: upstream.open_sockets == 0)
    with no_descriptors_left():
        writer.write(GET)
        head = await reader.readuntil(b"\r\n\r\n")
        problem = json.loads(await reader.readuntil(b"}"))
    assert head.startswith(b"HTTP/1.1 503 ")
    assert b"Retry-After: 1\r\n" in head
    assert problem["code"] == "UPSTREAM_BUSY"
    writer.write(GET)
    assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200 ")
    writer.close()
