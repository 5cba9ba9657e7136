"""A worker without sockets: the real stages between a caller and an upstream in memory, and recorded store replies.

Nothing waits and no system call is made, so what a call costs here is the Python code and the extensions it calls, and
nothing else. Store replies come from a real server while calls are warmed up; then the same bytes are played back.
"""

import asyncio
import itertools
import os
import re
import signal
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import hiredis

from gateway import policy
from gateway.app import Worker
from gateway.call import Gateway
from gateway.listener.connection import Connection
from gateway.settings import Drain, Logging, Settings
from gateway.store import redis
from gateway.store.embedded import EmbeddedServer, server_binary
from gateway.upstream.exchange import Exchange

ANSWER = (
    b"HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Sat, 21 Nov 2026 00:00:00 GMT\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\nConnection: keep-alive\r\n\r\n%b"
)
_LENGTH = re.compile(rb"\r\nContent-Length: (\d+)")
PIECE_BYTES = 64 * 1024
"""What a socket has at once."""


PATIENCE_US = 10_000_000
"""With the store: a machine that is too busy to run this for a moment is no outage."""
TURNS = 3
"""Of the event loop, between an answer and the next request: nobody answers faster than a network."""


class Wire(asyncio.Transport):
    """A transport whose other side is a function. `deliver` sends to `protocol`, if that is given; closing ends it."""

    def __init__(self, take: Callable[[bytes], None], protocol: asyncio.Protocol | None = None) -> None:
        super().__init__({"peername": ("127.0.0.1", 40_000)})
        self.write = take  # type: ignore[assignment,method-assign]
        self._protocol = protocol
        self._on_the_way: list[bytes] = []
        self._paused = False

    def deliver(self, data: bytes) -> None:
        """Let the protocol receive it, a piece in each turn of the loop, unless it has paused reading."""
        if len(data) <= PIECE_BYTES:
            self._protocol.data_received(data)  # type: ignore[union-attr]
            return
        self._on_the_way = [data[at : at + PIECE_BYTES] for at in range(0, len(data), PIECE_BYTES)][::-1]
        self._next_piece()

    def _next_piece(self) -> None:
        if self._on_the_way and not self._paused:
            self._protocol.data_received(self._on_the_way.pop())  # type: ignore[union-attr]
            asyncio.get_running_loop().call_soon(self._next_piece)

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        self._paused = False
        asyncio.get_running_loop().call_soon(self._next_piece)

    def close(self) -> None:
        if self._protocol is not None:
            asyncio.get_running_loop().call_soon(self._protocol.connection_lost, None)
            self._protocol = None

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...
    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None: ...
    def abort(self) -> None: ...


class Messages:
    """Counts bytes of messages that have a Content-Length, or no body."""

    def __init__(self) -> None:
        self._missing = 0

    def ends(self, data: bytes) -> bool:
        """Whether these bytes, the next ones, end a message; a head comes in one piece."""
        if not self._missing:
            head, _, body = data.partition(b"\r\n\r\n")
            length = _LENGTH.search(head)
            self._missing, data = int(length[1]) if length else 0, body
        self._missing -= len(data)
        return self._missing == 0


class RecordedStore:
    """Stands where the store's dialer does. While `live` it asks a real server and remembers what it said."""

    def __init__(self, path: str) -> None:
        self.live = True
        self._replies: dict[bytes, bytes] = {}
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(path)
        self._loop = asyncio.get_running_loop()

    async def connect(self, link: asyncio.Protocol) -> None:
        """Make `link` talk to us, as `gateway.store.dial.Dialer.connect` does."""
        answer = link.data_received
        link.connection_made(Wire(lambda commands: self._answer(answer, bytes(commands)), link))

    def watch(self, on_replaced: Callable[[str], None]) -> None: ...

    async def settled(self) -> None: ...

    async def close(self) -> None:
        self._socket.close()

    def _answer(self, answer: Callable[[bytes], None], commands: bytes) -> None:
        reply = None if self.live else self._replies.get(commands)
        if reply is None:
            reply = self._replies[commands] = self._ask(commands)
        self._loop.call_soon(answer, reply)

    def _ask(self, commands: bytes) -> bytes:
        self._socket.sendall(commands)
        waiting, reader, reply = _count(commands), hiredis.Reader(), b""
        while waiting:
            more = self._socket.recv(65536)
            reader.feed(more)
            reply += more
            while waiting and reader.gets() is not False:
                waiting -= 1
        return reply


def _count(commands: bytes) -> int:
    reader = hiredis.Reader()
    reader.feed(commands)
    return sum(1 for _ in iter(reader.gets, False))


class Caller:
    """One keep-alive connection; sends the next request when the answer to the last one is there.

    `heads` says what to send, over and over; `on_answer` is called with each answer, before the next request.
    """

    def __init__(self, connection: Connection, heads: Iterator[bytes], on_answer: Callable[[bytes], None]) -> None:
        self._heads = heads
        self._on_answer = on_answer
        self._left = 0
        self._loop = asyncio.get_running_loop()
        self._done: asyncio.Future[None] = self._loop.create_future()
        self._answers, self._begun = Messages(), b""
        self._wire = Wire(self._take, connection)
        connection.connection_made(self._wire)

    async def call(self, times: int) -> None:
        """Make so many calls, one after the other."""
        self._left, self._done = times, self._loop.create_future()
        self._wire.deliver(next(self._heads))
        await self._done

    def _take(self, answer: bytes) -> None:
        self._begun = self._begun or answer
        if not self._answers.ends(answer):
            return
        self._on_answer(self._begun)
        self._begun = b""
        self._left -= 1
        self._loop.call_soon(self._next, TURNS)

    def _next(self, turns: int) -> None:
        """When the call's own end is over too."""
        if turns:
            self._loop.call_soon(self._next, turns - 1)
        elif self._left:
            self._wire.deliver(next(self._heads))
        else:
            self._done.set_result(None)


@asynccontextmanager
async def gateway_with(
    policy_file: str,
    heads: Iterator[bytes],
    on_answer: Callable[[bytes], None],
    *,
    answer_bytes: int = 1011,
    ticking: bool = False,
) -> AsyncIterator[tuple[Caller, RecordedStore]]:
    """A caller in front of a whole worker, and the store behind it. The policy's upstream is named `up`.

    ticking  time passes by how often it is asked for, not by how fast this machine is
    """
    with tempfile.TemporaryDirectory(prefix="gateway-cost-") as folder, _quiet():
        server = EmbeddedServer(server_binary(), Path(folder))
        server.start()
        recorded = RecordedStore(server.url.removeprefix("unix://"))
        redis.Dialer = lambda _url: recorded  # type: ignore[assignment,misc]
        file = Path(folder) / "policy.yaml"
        file.write_text(policy_file)
        try:
            async with _serving(file, answer_bytes, ticking=ticking) as connection:
                yield Caller(connection, heads, on_answer), recorded
        finally:
            server.stop()


@contextmanager
def _quiet() -> Iterator[None]:
    """The log goes to standard error; let that be nowhere meanwhile. Every line is made and written all the same."""
    kept = os.dup(2)
    with open(os.devnull, "wb") as nowhere:  # noqa: PTH123
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


@asynccontextmanager
async def _serving(file: Path, answer_bytes: int, *, ticking: bool) -> AsyncIterator[Connection]:
    """A running worker, put together as always, and one caller's connection to it."""
    settings = replace(Settings(), logging=Logging(access="stderr", pretty=False), drain=Drain(delay_us=0))
    settings = replace(settings, store=replace(settings.store, timeout_us=PATIENCE_US))
    ready = asyncio.Event()
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        url = "redis://127.0.0.1:9"
        worker = Worker(
            settings,
            policy.load([file]),
            listen_socket=nobody,
            admin_socket=None,
            store_url=url,
            on_ready=lambda _store_up: ready.set(),
        )
        running = asyncio.create_task(worker.run())
        await asyncio.wait((running, asyncio.create_task(ready.wait())), return_when=asyncio.FIRST_COMPLETED)
        if not ready.is_set():
            raise SystemExit("the worker did not start")
        listener, gateway = worker.listener, worker.gateway
        gateway.on_crash = _show
        if ticking:
            _let_tick(gateway)
        _keep_one_socket(gateway.upstreams.pools()["up"], ANSWER % (answer_bytes, b"x" * answer_bytes))
        connection = Connection(listener, asyncio.get_running_loop())
        yield connection
        if not worker.store.up:
            raise SystemExit("calls were decided without the store: what they cost is not what was asked for")
        connection.connection_lost(None)
        os.kill(os.getpid(), signal.SIGINT)
        await running


def _let_tick(gateway: Gateway) -> None:
    """Clocks that go on by a microsecond each time they are read, everywhere in the gateway and for good."""
    ticks, began, began_wall = itertools.count(1), time.monotonic(), float(int(time.time()))
    clocks = {
        time.monotonic: lambda: began + next(ticks) / 1e6,
        time.time: lambda: began_wall + next(ticks) / 1e6,
    }
    gateway.clock, gateway.wall_clock = clocks[time.monotonic], clocks[time.time]
    places = [module for name, module in sys.modules.items() if name.startswith("gateway.")]
    for place, known in itertools.product((*places, time), list(clocks)):
        if getattr(place, known.__name__, None) is known:
            setattr(place, known.__name__, clocks[known])


def _keep_one_socket(pool: Any, answer: bytes) -> None:
    """Give the pool one idle socket, whose other side answers each request when it has all of it."""
    loop, requests = asyncio.get_running_loop(), Messages()
    exchange = Exchange(pool, loop)
    wire = Wire(lambda data: requests.ends(data) and loop.call_soon(wire.deliver, answer) and None, exchange)
    exchange.connection_made(wire)
    pool.keep(exchange)


def _show(crash: BaseException, _record: object) -> None:
    raise SystemExit(f"a call crashed: {crash!r}") from crash
