"""A worker without sockets: the real stages between a caller and an upstream in memory, and recorded store replies.

Nothing waits and no system call is made, so what a call costs here is the Python code and the extensions it calls, and
nothing else. Store replies come from a real server while calls are warmed up; then the same bytes are played back.
"""

import asyncio
import itertools
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import hiredis

from benchmarks.wires import Caller, Messages, Wire
from gateway import policy
from gateway.app import Worker
from gateway.call import Gateway
from gateway.listener.connection import Connection
from gateway.settings import Drain, Logging, Settings
from gateway.store import redis
from gateway.store.embedded.server import EmbeddedServer, server_binary
from gateway.upstream.exchange import Exchange

ANSWER = (
    b"HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Sat, 21 Nov 2026 00:00:00 GMT\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\nConnection: keep-alive\r\n\r\n%b"
)
PATIENCE_US = 10_000_000
"""With the store: a machine that is too busy to run this for a moment is no outage."""


class RecordedStore:
    """Stands where the store's dialer does. While `live` it asks a real server and remembers what it said."""

    def __init__(self, path: str) -> None:
        self.live = True
        self._replies: dict[bytes, bytes] = {}
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(path)
        self._loop = asyncio.get_running_loop()

    async def connect(self, link: asyncio.Protocol) -> None:
        """Make `link` talk to us, as `gateway.store.connection.dial.Dialer.connect` does."""
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


@asynccontextmanager
async def gateway_with(
    policy_file: str,
    heads: Iterator[bytes],
    on_answer: Callable[[bytes], None],
    *,
    answer_bytes: int = 1011,
    at_once: int = 1,
    ticking: bool = False,
) -> AsyncIterator[tuple[Caller, RecordedStore]]:
    """A caller in front of a whole worker, and the store behind it. The policy's upstream is named `up`.

    at_once  how many connections the caller has
    ticking  time passes by how often it is asked for, not by how fast this machine is
    """
    with tempfile.TemporaryDirectory(prefix="gateway-cost-") as folder, _quiet():
        server = EmbeddedServer(server_binary(), Path(folder))
        server.start()
        recorded = RecordedStore(server.url.removeprefix("unix://"))
        redis.Dialer = lambda _url, _known: recorded  # type: ignore[assignment,misc]
        file = Path(folder) / "policy.yaml"
        file.write_text(policy_file)
        try:
            async with _serving(file, answer_bytes, at_once, ticking=ticking) as connections:
                yield Caller(connections, heads, on_answer), recorded
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
async def _serving(
    file: Path, answer_bytes: int, at_once: int, *, ticking: bool
) -> AsyncIterator[Sequence[Connection]]:
    """A running worker, put together as always, and one caller's connections to it."""
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
        measuring = asyncio.current_task()
        assert measuring is not None, "measured in a task"
        give_up = partial(_cancel, measuring)
        running.add_done_callback(give_up)
        listener, gateway = worker.listener, worker.gateway
        gateway.on_crash = _show
        if ticking:
            _let_tick(gateway)
        for _ in range(at_once):
            _keep_a_socket(gateway.upstreams.pools()["up"], ANSWER % (answer_bytes, b"x" * answer_bytes))
        connections = [Connection(listener, asyncio.get_running_loop()) for _ in range(at_once)]
        yield connections
        if not worker.store.up:
            raise SystemExit("calls were decided without the store: what they cost is not what was asked for")
        for connection in connections:
            connection.connection_lost(None)
        running.remove_done_callback(give_up)
        os.kill(os.getpid(), signal.SIGINT)
        await running


def _cancel(measuring: "asyncio.Task[Any]", _running: object) -> None:
    """A worker that was told to end answers no more calls: nobody waits for them."""
    measuring.cancel()


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


def _keep_a_socket(pool: Any, answer: bytes) -> None:
    """Give the pool one idle socket, whose other side answers each request when it has all of it."""
    loop, requests = asyncio.get_running_loop(), Messages()
    exchange = Exchange(pool, loop)
    wire = Wire(lambda data: requests.ends(data) and loop.call_soon(wire.deliver, answer) and None, exchange)
    exchange.connection_made(wire)
    pool.keep(exchange)


def _show(crash: BaseException, _record: object) -> None:
    raise SystemExit(f"a call crashed: {crash!r}") from crash
