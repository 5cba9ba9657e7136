"""Callers that vanish in the middle of their calls leave nothing behind: no task, no slot, no socket, no descriptor."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from benchmarks.proxy_leavers import PHASES, Phase, leave, measure
from gateway.settings import Listen, Tls
from tests.app.conftest import Running, Start
from tests.fakes.upstream import OK, Received, Socket, Upstream
from tests.fakes.waiting import eventually
from tests.proxy.test_tls_of_ours import CA, issue, trusting

pytestmark = pytest.mark.usefixtures("nothing_escapes")

COUNT = 40
POLICIES = """
version: 1
limits: {slots: {algorithm: concurrency, limit: 40, lease: 60s, key: []}}
upstreams: {up: {url: "%s"}}
routes: [{name: all, match: {path_prefix: /}, upstream: up, limits: [slots]}]
"""
GET = b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


async def play(request: Received, socket: Socket) -> bytes | None:
    """What the phases want of an upstream, by their target."""
    if request.target == "/hold":
        await socket.reader.read(1)
        return None
    if request.target == "/tunnel":
        await socket.send(b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n")
        await socket.reader.readexactly(1000)
        await socket.send(bytes(1000))
        await socket.reader.read(1)
        return None
    if request.method == "POST":
        await socket.reader.readexactly(1_000_000)
    if request.target == "/x":
        await socket.send(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        return None
    await socket.send(b"HTTP/1.1 200 OK\r\nContent-Length: 67108864\r\n\r\n")
    while True:
        await socket.send(bytes(2**16))


Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]
TRUSTING = trusting(CA)
Dial = Callable[[Running], Awaitable[Ends]]


async def dial_plain(gateway: Running) -> Ends:
    return await asyncio.open_connection("127.0.0.1", gateway.port, limit=2**12)


async def dial_tls(gateway: Running) -> Ends:
    host = {"ssl": TRUSTING, "server_hostname": "localhost"}
    return await asyncio.open_connection("127.0.0.1", gateway.port, limit=2**12, **host)  # type: ignore[arg-type]


async def ask(gateway: Running, dial: Dial) -> bytes:
    """The answer to one more call."""
    reader, writer = await dial(gateway)
    writer.write(GET)
    answer = await reader.read()
    writer.close()
    return answer


async def arrive(gateway: Running, phase: Phase, dial: Dial) -> list[Ends]:
    async def one() -> Ends:
        reader, writer = await dial(gateway)
        writer.write(phase.sent)
        await reader.readexactly(phase.seen)
        return reader, writer

    return list(await asyncio.gather(*(one() for _ in range(COUNT))))


def held(gateway: Running, upstream: Upstream) -> dict[str, int]:
    """Everything that a call may hold, as it is now."""
    return {
        "calls": gateway.gateway.in_flight,
        "sockets": gateway.listener.open_sockets,
        "upstream sockets": upstream.open_sockets,
        "tasks": len(asyncio.all_tasks()),
        "descriptors": len(list(Path("/proc/self/fd").iterdir())),
    }


async def comes_back(now: Callable[[], dict[str, int]], base: dict[str, int]) -> None:
    """Closing a socket tells nobody when it is done: look until it is so, or fail with what is left."""
    await eventually(lambda: not any(count > base[name] for name, count in now().items()), f"no more than {base}")


@pytest.mark.parametrize("name", PHASES)
@pytest.mark.parametrize("dial", [dial_plain, dial_tls])
async def test_everything_is_given_back(
    start: Start, upstream: Upstream, tmp_path: Path, dial: Dial, name: str
) -> None:
    files = Tls(tmp_path / "gateway.pem", tmp_path / "gateway.key")
    issue(files, "localhost")
    listen = Listen("127.0.0.1", 0, files if dial is dial_tls else None)
    gateway, phase = await start(POLICIES % upstream.url, listen=listen), PHASES[name]
    upstream.script, upstream.read_body = play, False
    await ask(gateway, dial)
    await upstream.until(lambda: upstream.open_sockets == 0)
    base = held(gateway, upstream)

    callers = await arrive(gateway, phase, dial)
    if phase.is_call:
        await upstream.until(lambda: len(upstream.received) == 1 + COUNT)
        assert (await ask(gateway, dial)).startswith(b"HTTP/1.1 429 ")
    leave(callers)
    await comes_back(lambda: held(gateway, upstream), base)

    callers = await arrive(gateway, PHASES["before the answer"], dial)
    await upstream.until(lambda: [request.target for request in upstream.received[-COUNT:]] == ["/hold"] * COUNT)
    leave(callers)  # there were COUNT slots to be had again


def test_a_worker_says_that_it_holds_nothing_any_more() -> None:
    """The same in a process of its own, by its admin API, its metrics and its descriptors."""
    assert asyncio.run(measure(250))
